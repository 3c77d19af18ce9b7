"""Surgery on an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edge.bundle import Format, Precision
from edge.engines.session import EXTERNAL_DATA
from edge.errors import BundleError
from edge.offline.foreign import FRONT, TAIL, Answer, Given, Step, precision_of

ARITHMETIC = {"multiply": "Mul", "subtract": "Sub", "divide": "Div"}
LEARNT = {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MatMul", "Gemm", "Shape"}  # Shape: no pixels pass it
PASSING = {"Where", "Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze"}


class OnnxNetwork:
    """See Network."""

    form: Format = "onnx"

    def __init__(self, data: bytes, where: Path) -> None:
        """Raises BundleError naming the file, and the tensor whose weights lie in another one."""
        self._where = where
        try:
            self._model = onnx.load_from_string(data)
        except DecodeError as error:
            raise BundleError(f"{where} is no ONNX file, or was cut short: {error}") from error
        self._graph = self._model.graph
        if not self._graph.output or not self._model.opset_import:
            raise BundleError(f"{where} is no ONNX file, or was cut short: it holds no graph with an output")
        if EXTERNAL_DATA in data:
            raise BundleError(
                f"{where} keeps {_apart(self._graph)} in another file; bring it as one: "
                "onnx.save(onnx.load(PATH), PATH)"
            )

    def given(self) -> Given:
        value = self._input()
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.elem_type:
            raise BundleError(f"{self._where}: the input {value.name} is no array; a network takes pictures")
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        return Given(value.name, tuple(side.dim_value for side in tensor.shape.dim), dtype)

    def _input(self) -> onnx.ValueInfoProto:
        constants = {tensor.name for tensor in self._graph.initializer}
        inputs: list[onnx.ValueInfoProto] = [value for value in self._graph.input if value.name not in constants]
        if len(inputs) != 1:
            names = ", ".join(value.name for value in inputs)
            raise BundleError(f"{self._where} has {len(inputs)} inputs ({names}); one is needed, the picture")
        return inputs[0]

    def answers(self) -> list[str]:
        return [value.name for value in self._graph.output]

    def precision(self) -> Precision:
        kinds = {helper.tensor_dtype_to_np_dtype(t.data_type).name for t in self._graph.initializer if len(t.dims) > 1}
        return precision_of(kinds)

    def put_in_front(self, steps: Sequence[Step], fed: tuple[int, ...], sides: tuple[int, ...]) -> None:
        value = self._input()
        if [side.dim_value for side in value.type.tensor_type.shape.dim] != list(sides):
            del self._graph.value_info[:]  # shapes noted for free sides contradict fixed ones
        kind = value.type.tensor_type.elem_type
        if not steps:
            value.CopyFrom(_value(value.name, kind, sides))
            return
        nodes, before = [], FRONT
        for number, step in enumerate(steps):
            after = value.name if number == len(steps) - 1 else f"{FRONT}_{number}"
            nodes.append(self._node(step, before, after))
            before = after
        value.CopyFrom(_value(FRONT, TensorProto.FLOAT, fed))
        kept = list(self._graph.node)
        del self._graph.node[:]
        self._graph.node.extend([*nodes, *kept])

    def _node(self, step: Step, before: str, after: str) -> NodeProto:
        operation, how = step
        if operation == "transpose":
            return helper.make_node("Transpose", [before], [after], perm=how)
        if operation == "convert":
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(str(how)))
            return helper.make_node("Cast", [before], [after], to=kind)
        if operation == "round":
            return helper.make_node("Round", [before], [after])
        if operation == "cut":
            top, left, height, width = (int(side) for side in how)
            bounds = ([top, left], [top + height, left + width], [2, 3])
            names = [self._constant(f"{after}_{n}", np.array(bound, np.int64)) for n, bound in enumerate(bounds)]
            return helper.make_node("Slice", [before, *names], [after])
        constant = self._constant(f"{after}_by", np.asarray(how, np.float32))
        return helper.make_node(ARITHMETIC[operation], [before, constant], [after])

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def keep(self, answers: Sequence[Answer]) -> None:
        values = [self._brought(answer) for answer in answers]
        del self._graph.output[:]
        self._graph.output.extend(values)
        self._prune()

    def _brought(self, answer: Answer) -> onnx.ValueInfoProto:
        name, sides = answer.name, answer.sides
        if not answer.as_it_is:
            top, left, bottom, right = answer.border
            shape = self._constant(f"{TAIL}{answer.role}_shape", np.array([-1, *answer.inner()], np.int64))
            self._graph.node.append(self._node(("convert", "float32"), name, f"{TAIL}{answer.role}_float"))
            name = f"{TAIL}{answer.role}"
            made = f"{name}_inner" if any(answer.border) else name
            self._graph.node.append(helper.make_node("Reshape", [f"{name}_float", shape], [made]))
            if any(answer.border):
                pads = self._constant(f"{name}_pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
                self._graph.node.append(helper.make_node("Pad", [made, pads], [name]))
        return _value(name, TensorProto.FLOAT, (answer.batch, *sides))

    def _prune(self) -> None:
        """Not by onnx.utils.Extractor, which loses what only the branches of an If or a Loop read."""
        graph = self._graph
        made = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
        wanted, kept = [value.name for value in graph.output], set()
        while wanted:
            number = made.get(wanted.pop())
            if number is not None and number not in kept:
                kept.add(number)
                wanted += _reads(graph.node[number])
        nodes = [graph.node[number] for number in sorted(kept)]
        read = {name for node in nodes for name in _reads(node)} | {value.name for value in graph.output}
        constants = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(nodes)
        graph.initializer.extend(constants)

    def _maker(self, name: str) -> NodeProto | None:
        return next((node for node in self._graph.node if name in node.output), None)

    def compared_with(self, answer: str) -> float | None:
        node = self._maker(answer)
        while node is not None and node.op_type in ("Cast", "Identity"):
            node = self._maker(node.input[0])
        if node is None or node.op_type not in ("Greater", "GreaterOrEqual"):
            return None
        name, maker = node.input[1], self._maker(node.input[1])
        tensors = [attribute.t for attribute in maker.attribute] if maker and maker.op_type == "Constant" else []
        tensors += [tensor for tensor in self._graph.initializer if tensor.name == name]
        values = [numpy_helper.to_array(tensor) for tensor in tensors]
        return float(values[0].item()) if values and values[0].size == 1 else None

    def clamped(self, answer: str) -> bool:
        names = [answer]
        while names:
            node = self._maker(names.pop())
            if node is not None and node.op_type == "Clip":
                return True
            names += node.input if node is not None and node.op_type in PASSING else []
        return False

    def cuts_the_picture(self) -> bool:
        seen = {self._input().name}
        for node in self._graph.node:
            if seen.intersection(node.input) and node.op_type not in LEARNT:
                if node.op_type == "Slice":
                    return True
                seen |= set(node.output)
        return False

    def dump(self) -> tuple[bytes, bytes]:
        return bytes(self._model.SerializeToString()), b""

    def unknown_operators(self) -> list[str]:
        """Nodes whose operator ONNX does not define: an extension of some engine's, or of none."""

        named = ((node.name or f"before {node.output[0]}", node) for node in self._graph.node)
        own = {(function.name, function.domain) for function in self._model.functions}
        return [
            f"{name} ({node.domain or 'ai.onnx'}.{node.op_type})"
            for name, node in named
            if (node.op_type, node.domain) not in own and not _defined(node)
        ]


def _defined(node: NodeProto) -> bool:
    try:
        return bool(onnx.defs.has(node.op_type, node.domain))
    except TypeError:  # a name that is no UTF-8
        return False


def _value(name: str, kind: int, sides: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [side or "n" for side in sides])


def _reads(node: NodeProto) -> Iterator[str]:
    """Names that a node takes, in its branches too."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for branch in [attribute.g, *attribute.graphs]:
            yield from (value.name for value in branch.output)
            for inner in branch.node:
                yield from _reads(inner)


def _apart(graph: onnx.GraphProto) -> str:
    """The first tensor whose weights lie in another file, and that file."""
    for tensor in graph.initializer:
        places = [entry.value for entry in tensor.external_data if entry.key == "location"]
        if places:
            return f"the weights of {tensor.name} ({places[0]})"
    return "weights"
