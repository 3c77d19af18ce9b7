"""The manifest's scale and shift as part of the first convolution, where that changes nothing.

A convolution of (x - mean) / std is one of x with weights / std and a bias less mean / std times their sum, as long as
no border is padded: there zeros stand for the mean, and with the shift folded they would stand for black. So a shift is
folded into an unpadded convolution alone; a scale without a shift into any. Weights that another layer uses too stay.
"""

from __future__ import annotations

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch.export import ExportedProgram

from edge.offline.rounding import attribute
from edge.vision.image import InputRule

Weights = NDArray[np.float32]
PLAIN = (0.0, 1.0)


def folded(weights: Weights, bias: Weights, rule: InputRule) -> tuple[Weights, Weights]:
    """`(out, in, h, w)` and `(out,)` for inputs in 0..1 in place of (x - mean) / std."""
    scaled = weights / np.float32(rule.std)
    return scaled, bias - np.float32(rule.mean) * scaled.sum((1, 2, 3))


def fold_into_onnx(graph: bytes, rule: InputRule) -> tuple[bytes, InputRule]:
    """The graph and the rule that now goes with it; both as they were where folding would not be exact."""
    model = onnx.load_from_string(graph)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    first = [node for node in model.graph.node if model.graph.input[0].name in node.input]
    if (rule.mean, rule.std) == PLAIN or len(first) != 1 or first[0].op_type != "Conv" or len(first[0].input) < 3:
        return graph, rule
    layer = first[0]
    by_engine = any(a.name == "auto_pad" and a.s.startswith(b"SAME") for a in layer.attribute)
    padded = by_engine or any(attribute(layer, "pads", [0]))
    used = [name for node in model.graph.node for name in node.input]
    alone = all(name in weights and used.count(name) == 1 for name in layer.input[1:3])
    if (rule.mean and padded) or not alone:
        return graph, rule
    tensors = [weights[name] for name in layer.input[1:3]]
    values = folded(numpy_helper.to_array(tensors[0]), numpy_helper.to_array(tensors[1]), rule)
    for tensor, value in zip(tensors, values, strict=True):
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, np.float32), tensor.name))
    return bytes(model.SerializeToString()), msgspec.structs.replace(rule, mean=0.0, std=1.0)


def fold_into_program(program: ExportedProgram, rule: InputRule) -> InputRule:
    """As `fold_into_onnx`, in the program's own weights."""
    entry = next(n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs)
    users = list(entry.users)
    if (rule.mean, rule.std) == PLAIN or len(users) != 1 or users[0].target != torch.ops.aten.conv2d.default:
        return rule
    _, weight, bias, *rest = [*users[0].args, None, None][:5]
    padding = rest[1] if len(rest) > 1 else None
    names = program.graph_signature.inputs_to_parameters
    if bias is None or not {weight.name, bias.name} <= names.keys() or (rule.mean and any(padding or [0])):
        return rule
    if len(weight.users) > 1 or len(bias.users) > 1:
        return rule
    tensors = [program.state_dict[names[node.name]] for node in (weight, bias)]
    with torch.no_grad():
        for tensor, value in zip(tensors, folded(tensors[0].numpy(), tensors[1].numpy(), rule), strict=True):
            tensor.copy_(torch.from_numpy(np.asarray(value, np.float32)))
    return msgspec.structs.replace(rule, mean=0.0, std=1.0)
