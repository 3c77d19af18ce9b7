"""A torch.export program becomes graph files: ONNX for ONNX Runtime and OpenVINO, OpenVINO's own, TFLite for LiteRT."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edge.errors import BundleError, DataError
from edge.offline.openvino_file import written

INPUT = "input"
OPSET = 18  # the oldest that the exporter writes, so that engines of some age read it too


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters talk of their own deprecations, and of packages that edge does not need."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)


def to_program(module: nn.Module, example: Tensor) -> ExportedProgram:
    """What was trained, as torch.export keeps it (.pt2): without its Python code, for batches of any size.

    example: float32 `(n, c, h, w)`, n above 1; c, h and w are fixed by it.
    """
    with quiet():
        return torch.export.export(module.eval(), (example,), dynamic_shapes=({0: Dim.AUTO},))


def save_program(program: ExportedProgram, path: Path) -> None:
    with quiet():
        torch.export.save(program, path)


def to_onnx(program: ExportedProgram, outputs: Sequence[str]) -> bytes:
    """One self-contained ONNX file with a free batch axis; batch norms and paddings are folded into the convolutions
    before or after them, and what is constant is computed.

    outputs: names, in the order of the program's answer. Raises DataError naming the operator that ONNX does not have,
    BundleError where the program answers with another number of outputs.
    """
    answers = len(program.graph_signature.user_outputs)
    if answers != len(outputs):
        raise BundleError(f"the program answers with {answers} outputs; the manifest names {', '.join(outputs)}")
    try:
        with quiet():
            made = torch.onnx.export(
                program,
                (),
                dynamo=True,
                optimize=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(outputs),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise DataError(f"the program cannot be written as ONNX: {_first_cause(error)}") from error
    assert made is not None
    model = made.model_proto
    _name_batch(model)
    return bytes(model.SerializeToString())


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0]


def _name_batch(model: onnx.ModelProto) -> None:
    """The batch axis is `n` everywhere; the exporter's own name for it changes from run to run."""
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if batch and side.dim_param == batch:
                side.dim_param = "n"


def to_openvino(graph: bytes) -> tuple[bytes, bytes]:
    """OpenVINO's own format from ONNX, weights in half precision, for Intel graphics: the XML and its weights. Raises
    DataError naming the operator that OpenVINO does not have."""
    import openvino as ov

    try:
        model = ov.Core().read_model(graph)
    except RuntimeError as error:
        told = next((line for line in str(error).splitlines() if "operations:" in line), _first_cause(error))
        raise DataError(f"the network cannot be written for OpenVINO: {told.strip(' -')}") from error
    return written(model, half=True)


def to_fp16(graph: bytes) -> bytes:
    """The ONNX graph in half precision, for NVIDIA cards; its input and outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet():
        made = convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True)
    for number, node in enumerate(made.graph.node):
        node.name = f"{node.name}_{number}"  # the converter gives several casts one name
    return bytes(made.SerializeToString())


def to_tflite(program: ExportedProgram, shape: Sequence[int], at_once: int = 1) -> bytes:
    """One TFLite file with float32 `(at_once, c, h, w)` in, as edge.engines.litert opens it.

    shape: of one picture, `(c, h, w)`. at_once: images that it is to run at once; it has no other batch. Raises
    DataError where it cannot be converted.
    """
    import litert_torch

    try:
        with quiet():
            converted = litert_torch.convert(program.module(), (torch.zeros(at_once, *shape),))
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise DataError(f"the program cannot be written as TFLite: {_first_cause(error)}") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        with quiet():
            converted.export(str(path))
        return path.read_bytes()


def fp32_graphs(
    program: ExportedProgram, outputs: Sequence[str], shape: Sequence[int], at_once: int = 1
) -> dict[str, bytes]:
    """The files of a bundle before INT8: FP32 for CPUs, FP16 for graphics. shape, at_once: see `to_tflite`."""
    graph = to_onnx(program, outputs)
    xml, weights = to_openvino(graph)
    half = {"model.fp16.onnx": to_fp16(graph), "model.fp16.xml": xml, "model.fp16.bin": weights}
    return {"model.onnx": graph, "model.tflite": to_tflite(program, shape, at_once), **half}
