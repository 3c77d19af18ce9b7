"""INT8 graphs from FP32 ones and a few inputs: convolutions and what lies between them, all else stays float.

All three ways take the least and the largest value that each activation had on the calibration inputs. The averages
that ai-edge-quantizer and NNCF take by themselves cut off what only defects raise (0.46 of the map's range lost on
commutators; a score's error of 0.49 of its deviation in place of 0.02).
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.recipe_manager import AlgorithmName, RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edge.engines.session import Floats
from edge.offline.openvino_file import written

# Not LeakyRelu: with its input quantised apart from its output an autoencoder lost four times as much.
ONNX_OPS = ["Conv", "ConvTranspose", "Relu", "Clip", "MaxPool", "Add"]
ACTIVATIONS = ("Relu", "Clip")
TFLITE_OPS = [
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.CONV_2D_TRANSPOSE,
    TFLOperationName.MAX_POOL_2D,
    TFLOperationName.PAD,
    TFLOperationName.ADD,
    TFLOperationName.RESIZE_NEAREST_NEIGHBOR,
]
PICKING = ("MaxPool", "Pad", "Reshape", "Transpose")
# What OpenVINO calls those that stay float.
OPENVINO_FLOAT = [
    "MatMul",
    "Multiply",
    "ReduceMean",
    "ReduceMax",
    "Sqrt",
    "Subtract",
    "Power",
    "PRelu",
    "Sigmoid",
    "Tanh",
]


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, name: str, images: Floats) -> None:
        self._feeds: Iterator[dict[str, Floats]] = ({name: images[i : i + 1]} for i in range(len(images)))

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._feeds, None)


def ranges_of(model: onnx.ModelProto, calibration: Floats) -> Any:
    """The least and the largest value of every activation, as ONNX Runtime's quantiser takes them.

    calibration: `(n, c, h, w)`, prepared like the network's input."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fp32.onnx"
        onnx.save_model(model, path)
        seen = create_calibrator(
            path, ONNX_OPS, augmented_model_path=f"{folder}/augmented.onnx", calibrate_method=CalibrationMethod.MinMax
        )
        seen.set_execution_providers(["CPUExecutionProvider"])
        seen.collect_data(_Images(model.graph.input[0].name, calibration))
        return seen.compute_data()


def quantize_onnx(model: onnx.ModelProto, ranges: Any, only: Sequence[str] = (), without: Sequence[str] = ()) -> bytes:
    """Static QDQ with INT8 weights per channel, for ONNX Runtime; OpenVINO reads it too.

    ranges: of `ranges_of`. only, without: names of nodes; all that can be where neither is given. After a ReLU
    activations are unsigned; a network with signed ones (LeakyReLU) gets symmetric INT8, since OpenVINO has no fast
    deconvolution with a zero point.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {out for node in model.graph.node if node.op_type == "Constant" for out in node.output}
    # A residual sum is quantised, an arithmetic constant (the floor under a square root) never.
    arithmetic = [n.name for n in model.graph.node if n.op_type == "Add" and constants & set(n.input)]
    signed = any(node.op_type == "LeakyRelu" for node in model.graph.node)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    made = QDQQuantizer(
        copy,
        True,  # per channel
        False,  # of the full range
        QuantType.QInt8,
        QuantType.QInt8 if signed else QuantType.QUInt8,
        ranges,
        list(only),
        [*arithmetic, *without],
        ONNX_OPS,
        {"ActivationSymmetric": signed},
    )
    made.quantize_model()
    return bytes(made.model.model.SerializeToString())


def quantize_openvino(
    graph: bytes, calibration: Floats, probes: Sequence[Floats], allowed: float
) -> tuple[bytes, bytes, list[str]]:
    """OpenVINO's own format by NNCF with accuracy control: the XML, its weights, the layers that it left in float.

    graph: FP32 ONNX. probes: the inputs that accuracy is watched on. allowed: error of the outputs, as a share of their
    deviation, beyond which NNCF gives layers back to float, those first that help most.
    """
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    from openvino.passes import ConstantFolding, Manager

    from edge.engines.openvino import core

    logging.getLogger("nncf").setLevel(logging.ERROR)
    model = core().read_model(graph)
    model.reshape([1, *calibration.shape[1:]])
    folding = Manager()
    folding.register_pass(ConstantFolding())  # else NNCF takes the wrong axis of depthwise weights for the channels
    folding.run_passes(model)
    images = [calibration[i : i + 1] for i in range(len(calibration))]
    expected = outputs_of(core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}), probes)

    def likeness(compiled: Any, numbers: Iterable[int]) -> tuple[float, list[float]]:
        """Of all probes, or of those that NNCF ranks the layers by."""
        looked_at = list(numbers)
        wanted = [expected[n] for n in looked_at]
        own = outputs_of(compiled, [probes[n] for n in looked_at])
        each = [output_error([before], [after]) for before, after in zip(wanted, own, strict=True)]
        return 1 - output_error(wanted, own), [1 - error for error in each]

    present = {operation.get_type_name() for operation in model.get_ops()}
    layers = {name for name in present if "Convolution" in name}
    arithmetic = [
        operation.get_friendly_name()
        for operation in model.get_ops()
        if operation.get_type_name() == "Add"
        and "Constant" in sources_of(operation)
        and not layers & sources_of(operation)
    ]
    found = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(images),
        validation_dataset=nncf.Dataset(range(len(probes)), lambda number: probes[number]),
        validation_fn=likeness,
        max_drop=allowed,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=arithmetic, types=[name for name in OPENVINO_FLOAT if name in present]),
        advanced_quantization_parameters=AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            overflow_fix=OverflowFix.DISABLE,  # it would halve the first layer's range, on which its weights lie
        ),
    )
    in_float = _in_float(found)
    found.reshape([-1, *calibration.shape[1:]])
    return *written(found, half=False), in_float


def sources_of(operation: Any) -> set[str]:
    """Kinds of the operations whose outputs go in; a reshaped constant is one."""
    nodes = [value.get_node() for value in operation.input_values()]
    return {
        node.input_value(0).get_node().get_type_name() if node.get_type_name() == "Reshape" else node.get_type_name()
        for node in nodes
    }


def outputs_of(compiled: Any, images: Sequence[Floats]) -> list[list[Floats]]:
    return [[np.copy(out) for out in compiled(image).values()] for image in images]


def output_error(expected: Sequence[Sequence[Floats]], found: Sequence[Sequence[Floats]]) -> float:
    """Root mean square of what the outputs differ by, as a share of their deviation; of the output that is worst.

    expected, found: for each image, the outputs."""
    errors = []
    for wanted, got in zip(zip(*expected, strict=True), zip(*found, strict=True), strict=True):
        before, after = np.stack(wanted), np.stack(got)
        errors.append(float(np.sqrt(np.mean(np.square(before - after))) / max(float(before.std()), 1e-9)))
    return max(errors)


def _in_float(model: Any) -> list[str]:
    """Convolutions whose data comes from no FakeQuantize, perhaps through what only picks of it."""
    kinds = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")
    layers = [operation for operation in model.get_ordered_ops() if operation.get_type_name() in kinds]
    return [o.get_friendly_name() for o in layers if _source(o).get_type_name() != "FakeQuantize"]


def _source(operation: Any) -> Any:
    node = operation.input_value(0).get_node()
    return _source(node) if node.get_type_name() in PICKING else node


def tflite_rules(without: Sequence[str]) -> RecipeManager:
    """What ai-edge-quantizer is to do. without: see `quantize_tflite`."""
    rules = RecipeManager()
    for operation in TFLITE_OPS:
        rules.add_static_config(regex=".*", operation_name=operation, activation_num_bits=8, weight_num_bits=8)
        for scope in without:
            where = f"^{re.escape(scope)}$"
            if operation is TFLOperationName.CONV_2D:
                rules.add_dynamic_config(where, operation, num_bits=8)
            else:
                rules.add_quantization_config(where, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return rules


def tflite_ranges(graph: bytes, calibration: Floats) -> dict[str, Any]:
    """The least and the largest value of every tensor, by its name. calibration: `(n, c, h, w)`."""
    interpreter = Interpreter(model_content=graph)
    name = interpreter.get_signature_list()["serving_default"]["inputs"][0]
    at_once = interpreter.get_input_details()[0]["shape"][0]
    seen = Calibrator(graph, 2, CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS, min_max_update)
    whole = np.pad(calibration, ((0, -len(calibration) % at_once), (0, 0), (0, 0), (0, 0)), mode="edge")
    batches = [{name: whole[i : i + at_once]} for i in range(0, len(whole), at_once)]
    seen.calibrate({"serving_default": batches}, tflite_rules(()))
    return dict(seen.get_model_qsvs())


def quantize_tflite(graph: bytes, ranges: dict[str, Any], without: Sequence[str] = ()) -> bytes:
    """INT8 weights per channel and INT8 activations; the graph's own input and outputs stay float32.

    ranges: of `tflite_ranges`. without: scopes of the operations that stay float; but of a convolution only the output
    does: its weights are INT8 and its input is scaled anew at each run, which takes a tenth of the time that float does
    beyond INT8.
    """
    made = quantizer.Quantizer(bytearray(graph), tflite_rules(without).get_quantization_recipe())
    return bytes(made.quantize(ranges, enable_progress_report=False).quantized_model)
