"""A torch network becomes a graph file: ONNX for ONNX Runtime and OpenVINO, TFLite for LiteRT."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import litert_torch
import torch
from torch import Tensor, nn

INPUT = "input"
OPSET = 17  # the oldest with all that is needed, so that engines of some age read it too


def to_onnx(module: nn.Module, example: Tensor, outputs: tuple[str, ...]) -> bytes:
    """One self-contained ONNX file with a free batch axis and batch norms folded into the convolutions.

    example: float32 `(n, c, h, w)`; c, h and w are fixed by it. outputs: names, in the order of the module's answer.
    """
    axes = {name: {0: "n"} for name in (INPUT, *outputs)}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        # The older exporter folds batch norm and needs no further package; it warns that it is the older one.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module.eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes=axes,
        )
        return path.read_bytes()


def to_tflite(module: nn.Module, example: Tensor, at_once: int = 1) -> bytes:
    """One TFLite file with float32 `(at_once, c, h, w)` in, as edge.engines.litert opens it.

    example: float32 `(n, c, h, w)`; its first image fixes the shape. at_once: images that it is to run at once; the
    file has no other batch.
    """
    converted = litert_torch.convert(module.eval(), (example[:1].expand(at_once, -1, -1, -1).contiguous(),))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        converted.export(str(path))
        return path.read_bytes()
