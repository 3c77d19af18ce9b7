"""The layers of a TFLite file by the names that their weights have in the ONNX graph of the same network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer.utils import tfl_flatbuffer_utils
from onnx import numpy_helper

from edge.engines.session import Floats
from edge.offline.rounding import LAYERS

# Which of an operation's inputs are its weights.
WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "CONV_2D_TRANSPOSE": 1}
# From ONNX's layout (out, in, h, w), or (in, out, h, w) of a deconvolution, to TFLite's.
LAYOUTS = {"CONV_2D": (0, 2, 3, 1), "DEPTHWISE_CONV_2D": (1, 2, 3, 0), "CONV_2D_TRANSPOSE": (1, 2, 3, 0)}
CLOSE = 1e-3  # of a layer's largest weight: batch norms were folded by another exporter


def with_weights(tflite: bytes, before: onnx.ModelProto, after: onnx.ModelProto) -> tuple[bytes, dict[str, str]]:
    """A TFLite file with the weights of `after` wherever it had those of `before`, and its operations by layer name.

    Returns the file, and for each layer that was found its scope, as ai-edge-quantizer names it."""
    model = tfl_flatbuffer_utils.read_model(tflite)
    old, new = layer_weights(before), layer_weights(after)
    scopes: dict[str, str] = {}
    graph = model.subgraphs[0]
    for operation in graph.operators:
        kind = kind_of(model, operation)
        if kind not in WEIGHTS:
            continue
        tensor = graph.tensors[operation.inputs[WEIGHTS[kind]]]
        there = tfl_flatbuffer_utils.get_tensor_data(tensor, model.buffers)
        name = None if there is None else _named(there, old, kind)
        if name is None:
            continue
        scopes[name] = tfl_flatbuffer_utils.get_op_scope(operation, graph.tensors)
        laid_out = np.ascontiguousarray(new[name].transpose(LAYOUTS[kind]), np.float32)
        model.buffers[tensor.buffer].data = np.frombuffer(laid_out.tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)), scopes


def arithmetic(tflite: bytes) -> list[str]:
    """Scopes of sums with a constant (the floor under a square root): they are no residual sums, and stay float."""
    model = tfl_flatbuffer_utils.read_model(tflite)
    graph = model.subgraphs[0]
    return [
        tfl_flatbuffer_utils.get_op_scope(operation, graph.tensors)
        for operation in graph.operators
        if kind_of(model, operation) == "ADD"
        and any(model.buffers[graph.tensors[place].buffer].data is not None for place in operation.inputs)
    ]


def kind_of(model: Any, operation: Any) -> str:
    """The operation's name, or nothing where the quantiser knows none."""
    code = model.operatorCodes[operation.opcodeIndex].builtinCode
    known = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME.get(code)
    return known.value if known else ""


def layer_weights(model: onnx.ModelProto) -> dict[str, Floats]:
    """Weights of the convolutions and deconvolutions, by layer name."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [n for n in model.graph.node if n.op_type in LAYERS and n.input[1] in found]
    return {layer_name(node): numpy_helper.to_array(found[node.input[1]]) for node in layers}


def layer_name(node: onnx.NodeProto) -> str:
    """A convolution's weights carry the name that its layer has in the torch network."""
    return str(node.input[1]).removesuffix(".weight")


def _named(there: Floats, weights: dict[str, Floats], kind: str) -> str | None:
    for name, values in weights.items():
        laid_out = values.transpose(LAYOUTS[kind])
        if laid_out.shape == there.shape and np.abs(laid_out - there).max() <= CLOSE * np.abs(there).max():
            return name
    return None
