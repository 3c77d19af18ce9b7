"""Convolutions of few channels over two columns at once: by XNNPACK the same bits in less memory and less time.

XNNPACK, which runs LiteRT's graphs, keeps an address for every place of a kernel at every pixel (its indirection), 33
MB for 5 x 5 at 640 x 256, and counts channels by sixteen. `(h, w, c)` lies in memory as `(h, w / 2, 2c)` does: a kernel
that answers for two columns at once needs a third of the addresses, and has zeros where it reaches too far for one of
the two.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_litert.tools.flatbuffer_utils import schema_fb as schema
from ai_edge_quantizer.utils import tfl_flatbuffer_utils
from numpy.typing import NDArray

from edge.offline.cut import forget_data
from edge.offline.tflite_layers import kind_of

MOST = 16  # channels in and out; more fill the processor's lanes by themselves
LEAST = 5  # columns of a kernel; one of three would do twice the work
WORTH = 1 << 20  # bytes of addresses of a layer, eight each
TYPES = (schema.TensorType.FLOAT32, schema.TensorType.INT8)  # zero is a weight of 0 in both
Weights = NDArray[Any]


def in_pairs(tflite: bytes) -> bytes:
    """The file with every such convolution over pairs of columns; as it was where there is none."""
    model = tfl_flatbuffer_utils.read_model(tflite)
    (graph,) = model.subgraphs
    operators = []
    for operator in graph.operators:
        weights = _weights(model, operator)
        operators += [operator] if weights is None else _paired(model, operator, weights)
    if len(operators) == len(graph.operators):
        return tflite
    graph.operators = operators
    used = {int(place) for operator in operators for place in (*operator.inputs, *operator.outputs) if place >= 0}
    forget_data(model, used | {*map(int, graph.inputs), *map(int, graph.outputs)})
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def pair_columns(weights: Weights) -> Weights:
    """`(out, h, w, in)` for one column, w odd -> `(2 out, h, (w + 1) // 4 * 2 + 1, 2 in)` for two beside each other."""
    out, height, width, channels = weights.shape
    middle, reach = width // 2, (width // 2 + 1) // 2  # in columns, in pairs of them
    paired = np.zeros((2, out, height, 2 * reach + 1, 2, channels), weights.dtype)
    for made in (0, 1):
        for column in range(width):
            pair, side = divmod(column - middle + made, 2)
            paired[made, :, :, pair + reach, side] = weights[:, :, column]
    return paired.reshape(2 * out, height, 2 * reach + 1, 2 * channels)


def _weights(model: Any, operator: Any) -> Weights | None:
    """`(out, h, w, in)`, of a convolution that gains by it; None: it is left as it is."""
    kind, how = kind_of(model, operator), operator.builtinOptions
    if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D") or len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return None
    seen, kernel, bias = (model.subgraphs[0].tensors[place] for place in operator.inputs)
    weights, offsets = (tfl_flatbuffer_utils.get_tensor_data(tensor, model.buffers) for tensor in (kernel, bias))
    fixed = seen.shapeSignature is None or -1 not in seen.shapeSignature
    # INT8 weights with a float input would have it scaled anew at each run.
    if weights is None or offsets is None or not fixed or kernel.type != seen.type or kernel.type not in TYPES:
        return None
    if kind == "DEPTHWISE_CONV_2D":
        if seen.shape[3] != 1:
            return None
        weights = weights.transpose(3, 1, 2, 0)  # of one channel it is a convolution like any other
    plain = (how.strideH, how.strideW, how.dilationHFactor, how.dilationWFactor) == (1, 1, 1, 1)
    fits = how.padding == schema.Padding.SAME and seen.shape[2] % 2 == 0 and weights.shape[2] % 2 == 1
    few = max(weights.shape[0], weights.shape[3]) <= MOST and weights.shape[2] >= LEAST
    many = 8 * np.prod(weights.shape[1:3]) * np.prod(seen.shape[1:3]) >= WORTH
    return weights if plain and fits and few and many else None


def _paired(model: Any, operator: Any, weights: Weights) -> list[Any]:
    """Its input seen in pairs, the convolution, and its output seen by single columns again."""
    tensors = model.subgraphs[0].tensors
    seen, kernel, bias = (tensors[place] for place in operator.inputs)
    answered, how = tensors[operator.outputs[0]], operator.builtinOptions
    pairs = _add(model, _like(seen, _halved(seen.shape)))
    kernels = _add(model, _like(kernel, ()), pair_columns(weights), by_output=0)
    biases = _add(model, _like(bias, ()), np.tile(tfl_flatbuffer_utils.get_tensor_data(bias, model.buffers), 2), 0)
    paired = _add(model, _like(answered, _halved(answered.shape)))
    options = schema.Conv2DOptionsT()
    options.padding, options.fusedActivationFunction = how.padding, how.fusedActivationFunction
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    convolve = _operator(model, "CONV_2D", [pairs, kernels, biases], paired, options)
    return [
        _reshape(model, operator.inputs[0], pairs),
        convolve,
        _reshape(model, paired, operator.outputs[0]),
    ]


def _halved(shape: Any) -> tuple[int, ...]:
    n, height, width, channels = (int(side) for side in shape)
    return n, height, width // 2, 2 * channels


def _like(tensor: Any, shape: tuple[int, ...]) -> Any:
    """Another of its type and scale, without a value."""
    other = copy.deepcopy(tensor)
    other.name, other.buffer, other.shapeSignature = tensor.name + b"/pairs", 0, None
    other.shape = np.array(shape, np.int32)
    return other


def _add(model: Any, tensor: Any, value: Weights | None = None, by_output: int | None = None) -> int:
    """The tensor's place in the graph. by_output: the axis along which it has scales, for twice the outputs now."""
    if value is not None:
        data = schema.BufferT()
        data.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        model.buffers.append(data)
        tensor.buffer, tensor.shape = len(model.buffers) - 1, np.array(value.shape, np.int32)
    scales = tensor.quantization
    if by_output is not None and scales is not None and scales.scale is not None:
        scales.quantizedDimension = by_output
        if len(scales.scale) > 1:
            scales.scale, scales.zeroPoint = np.tile(scales.scale, 2), np.tile(scales.zeroPoint, 2)
    tensors = model.subgraphs[0].tensors
    tensors.append(tensor)
    return len(tensors) - 1


def _reshape(model: Any, source: int, target: int) -> Any:
    shape = model.subgraphs[0].tensors[target].shape
    sides = schema.TensorT()
    sides.name, sides.type = b"pairs/shape", schema.TensorType.INT32
    options = schema.ReshapeOptionsT()
    options.newShape = shape
    return _operator(model, "RESHAPE", [source, _add(model, sides, np.array(shape, np.int32))], target, options)


def _operator(model: Any, kind: str, inputs: list[int], output: int, options: Any) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = _code(model, getattr(schema.BuiltinOperator, kind))
    made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    made.builtinOptions = options
    made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    return made


def _code(model: Any, number: int) -> int:
    """Where the file's list of operators has it; it is added where it is not there."""
    for place, code in enumerate(model.operatorCodes):
        if code.builtinCode == number:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
