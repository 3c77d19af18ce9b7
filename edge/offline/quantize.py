"""INT8 graphs from FP32 ones and a few images: convolutions and what lies between them, all else stays float.

Both ways take the least and the largest value that each activation had on the calibration images. The running average
that ai-edge-quantizer takes by itself cut off what only defects raise (0.46 of the map's range lost on commutators).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.recipe_manager import AlgorithmName, RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

Floats = NDArray[np.float32]

# Not LeakyRelu: with its input quantised apart from its output an autoencoder lost four times as much.
ONNX_OPS = ["Conv", "ConvTranspose", "Relu", "Clip", "MaxPool", "Add"]
TFLITE_OPS = [
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.CONV_2D_TRANSPOSE,
    TFLOperationName.MAX_POOL_2D,
    TFLOperationName.PAD,
]


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, name: str, images: Floats) -> None:
        self._feeds: Iterator[dict[str, Floats]] = ({name: images[i : i + 1]} for i in range(len(images)))

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._feeds, None)


def quantize_onnx(graph: bytes, calibration: Floats, keep: Sequence[str] = ()) -> bytes:
    """Static QDQ with INT8 weights per channel; one file that ONNX Runtime and OpenVINO both run in INT8.

    calibration: `(n, c, h, w)`, prepared like the network's input. keep: torch's names of the layers that stay float,
    such as `decoder.8`. After a ReLU activations are unsigned; a network
    with signed ones (LeakyReLU) gets symmetric INT8, since OpenVINO has no fast deconvolution with a zero point.
    """
    model = onnx.load_from_string(graph)
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {out for node in model.graph.node if node.op_type == "Constant" for out in node.output}
    # A residual sum is quantised, an arithmetic constant (the floor under a square root) never.
    arithmetic = [n.name for n in model.graph.node if n.op_type == "Add" and constants & set(n.input)]
    kept = [n.name for n in model.graph.node if any(f"/{layer}/" in n.name for layer in keep)]
    signed = any(node.op_type == "LeakyRelu" for node in model.graph.node)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            _Images(model.graph.input[0].name, calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=ONNX_OPS,
            nodes_to_exclude=arithmetic + kept,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": signed},
        )
        return path.read_bytes()


def quantize_tflite(graph: bytes, calibration: Floats, keep: Sequence[str] = ()) -> bytes:
    """INT8 weights per channel and INT8 activations; the graph's own input and outputs stay float32.

    calibration, keep: as for quantize_onnx; but of a convolution that is kept only the output stays float: its weights
    are INT8 and its input is scaled anew at each run, which takes a tenth of the time that float does beyond INT8.
    """
    rules = RecipeManager()
    for operation in TFLITE_OPS:
        rules.add_static_config(regex=".*", operation_name=operation, activation_num_bits=8, weight_num_bits=8)
        for layer in keep:
            block, _, index = layer.rpartition(".")
            where = rf"_{re.escape(block)}/[^;]*_{index};"
            if operation is TFLOperationName.CONV_2D:
                rules.add_dynamic_config(where, operation, num_bits=8)
            else:
                rules.add_quantization_config(where, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
    interpreter = Interpreter(model_content=graph)
    name = interpreter.get_signature_list()["serving_default"]["inputs"][0]
    at_once = interpreter.get_input_details()[0]["shape"][0]
    seen = Calibrator(graph, 2, CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS, min_max_update)
    whole = np.pad(calibration, ((0, -len(calibration) % at_once), (0, 0), (0, 0), (0, 0)), mode="edge")
    batches = [{name: whole[i : i + at_once]} for i in range(0, len(whole), at_once)]
    seen.calibrate({"serving_default": batches}, rules)
    made = quantizer.Quantizer(bytearray(graph), rules.get_quantization_recipe())
    return bytes(made.quantize(seen.get_model_qsvs(), enable_progress_report=False).quantized_model)
