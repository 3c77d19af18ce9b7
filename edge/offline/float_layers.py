"""Which layers INT8 hurts: each is quantised alone, and the worst stay in float as long as that helps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime as ort

from edge.engines.processor import int8_overflows
from edge.engines.session import Floats
from edge.offline.progress import Progress
from edge.offline.quantize import ACTIVATIONS, output_error, quantize_onnx
from edge.offline.rounding import LAYERS
from edge.offline.tflite_layers import layer_name

HELPS = 0.95  # a layer stays in float where the error falls to this share of itself


class Layer(msgspec.Struct, frozen=True):
    """alone: error of the outputs with this layer alone in INT8. after: with all in INT8 but this one, perhaps the one
    before it, and those that were kept already; None where that was not tried. kept: it stays in float."""

    name: str
    alone: float
    after: float | None = None
    kept: bool = False


class Search(msgspec.Struct, frozen=True):
    """whole: the error with every layer in INT8. left: with those kept in float. layers: the worst first."""

    whole: float
    left: float
    layers: tuple[Layer, ...]

    @property
    def kept(self) -> list[str]:
        return [layer.name for layer in self.layers if layer.kept]


def find_float_layers(
    model: onnx.ModelProto,
    ranges: Any,
    expected: list[list[Floats]],
    inputs: Sequence[Floats],
    allowed: float,
    most: int,
    progress: Progress,
) -> Search:
    """Errors are of the outputs, as a share of their deviation (edge.offline.quantize.output_error).

    expected: what the FP32 graph answers to the inputs. allowed: no layer is kept in float once the error is below.
    most: layers that may stay in float.
    """

    def error(only: Sequence[str] = (), without: Sequence[str] = ()) -> float:
        return output_error(expected, run_all(quantize_onnx(model, ranges, only, without), inputs))

    whole = error()
    if whole <= allowed:
        return Search(whole, whole, ())
    nodes = [n for n in model.graph.node if n.op_type in LAYERS]
    alone = []
    for number, node in enumerate(nodes):
        progress("each layer alone", number + 1, len(nodes))
        alone.append((error(only=with_activation(model, node)), node))
    alone.sort(key=lambda pair: -pair[0])
    layers: list[Layer] = []
    kept: set[str] = set()
    left = whole
    for place, (own, node) in enumerate(alone):
        if left <= allowed or place >= most or node.name in kept:
            layers.append(Layer(layer_name(node), own, kept=node.name in kept))
            continue
        tried = {}
        for group in ([node], [*before(model, node), node]):
            names = {*kept, *(n.name for n in group)}
            tried[error(without=in_float(model, names))] = names
        after = min(tried)
        helps = after <= HELPS * left
        if helps:
            left, kept = after, tried[after]
        layers.append(Layer(layer_name(node), own, after, helps))
    layers = [
        msgspec.structs.replace(row, kept=node.name in kept) for row, (_, node) in zip(layers, alone, strict=True)
    ]
    return Search(whole, left, tuple(layers))


def before(model: onnx.ModelProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The layer whose answer, perhaps through an activation, is this one's input; nothing where it is none."""
    made = {output: n for n in model.graph.node for output in n.output}
    source = made.get(node.input[0])
    if source is not None and source.op_type in ACTIVATIONS:
        source = made.get(source.input[0])
    return [source] if source is not None and source.op_type in LAYERS else []


def in_float(model: onnx.ModelProto, layers: Collection[str]) -> list[str]:
    """The names of these layers' nodes and of the activations behind them."""
    return [name for node in model.graph.node if node.name in layers for name in with_activation(model, node)]


def with_activation(model: onnx.ModelProto, node: onnx.NodeProto) -> list[str]:
    """The layer and the activation behind it, which is quantised in its place."""
    behind = [n.name for n in model.graph.node if n.op_type in ACTIVATIONS and n.input[0] == node.output[0]]
    return [node.name, *behind]


def run_all(graph: bytes, inputs: Sequence[Floats]) -> list[list[Floats]]:
    """What a graph answers to each input; INT8 in float arithmetic where the processor's own would overflow."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if int8_overflows():
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(graph, options)
    name = session.get_inputs()[0].name
    return [[np.asarray(out) for out in session.run(None, {name: image})] for image in inputs]
