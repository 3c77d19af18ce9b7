"""Surgery on an OpenVINO graph."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from edge.bundle import Format, Precision
from edge.errors import BundleError
from edge.offline.foreign import FRONT, TAIL, Answer, Given, Step, precision_of

LEARNT = {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul", "ShapeOf"}  # ShapeOf: see ONNX's
PASSING = {"Select", "Convert", "Reshape", "Squeeze", "Unsqueeze"}
CUTTING = {"Slice", "StridedSlice", "Crop", "VariadicSplit"}


class OpenvinoNetwork:
    """See Network."""

    form: Format = "openvino"

    def __init__(self, graph: bytes, weights: bytes, where: Path) -> None:
        """graph: OpenVINO's XML, or ONNX without weights. Raises BundleError naming the file."""
        self._where = where
        try:
            self._model = ov.Core().read_model(graph, weights) if weights else ov.Core().read_model(graph)
        except RuntimeError as error:
            raise BundleError(
                f"{where} cannot be read by OpenVINO; is it, or the .bin beside it, cut short? {error}"
            ) from error

    def given(self) -> Given:
        if len(self._model.inputs) != 1:
            names = ", ".join(_name(port) for port in self._model.inputs)
            raise BundleError(
                f"{self._where} has {len(self._model.inputs)} inputs ({names}); one is needed, the picture"
            )
        port = self._model.input()
        shape = port.partial_shape
        if shape.rank.is_dynamic:
            return Given(_name(port), (), port.element_type.to_dtype().name)
        sides = tuple(side.get_length() if side.is_static else 0 for side in shape)
        return Given(_name(port), sides, port.element_type.to_dtype().name)

    def answers(self) -> list[str]:
        return [_name(port) for port in self._model.outputs]

    def precision(self) -> Precision:
        constants = (node for node in self._model.get_ops() if node.get_type_name() == "Constant")
        weights = [node.get_element_type().get_type_name() for node in constants if len(node.get_output_shape(0)) > 1]
        return precision_of({NAMES.get(kind, kind) for kind in weights})

    def put_in_front(self, steps: Sequence[Step], fed: tuple[int, ...], sides: tuple[int, ...]) -> None:
        try:
            self._model.reshape(_partial(sides))
        except RuntimeError as error:
            raise BundleError(f"{self._where} cannot take an input of {sides}: {error}") from error
        if not steps:
            return
        old = self._model.get_parameters()[0]
        fresh = ops.parameter(_partial(fed), np.float32, FRONT)
        fresh.output(0).get_tensor().set_names({FRONT})
        value = fresh
        for step in steps:
            value = _applied(step, value)
        for taker in old.output(0).get_target_inputs():
            taker.replace_source_output(value.output(0))
        self._model = ov.Model(self._model.get_results(), self._model.get_sinks(), [fresh], self._model.get_name())

    def keep(self, answers: Sequence[Answer]) -> None:
        by_name = dict(zip(self.answers(), self._model.get_results(), strict=True))
        results = [_brought(answer, by_name[answer.name].input_value(0)) for answer in answers]
        self._model = ov.Model(results, self._model.get_parameters(), self._model.get_name())

    def _maker(self, answer: str) -> ov.Node:
        return self._model.get_results()[self.answers().index(answer)].input_value(0).get_node()

    def compared_with(self, answer: str) -> float | None:
        node = self._maker(answer)
        while node.get_type_name() == "Convert":
            node = node.input_value(0).get_node()
        if node.get_type_name() not in ("Greater", "GreaterEqual"):
            return None
        asked = node.input_value(1).get_node()
        while asked.get_type_name() == "Convert":  # weights kept in FP16
            asked = asked.input_value(0).get_node()
        values = asked.data if asked.get_type_name() == "Constant" else np.empty(0)
        return float(values.item()) if values.size == 1 else None

    def clamped(self, answer: str) -> bool:
        nodes = [self._maker(answer)]
        while nodes:
            node = nodes.pop()
            if node.get_type_name() == "Clamp":
                return True
            nodes += [v.get_node() for v in node.input_values()] if node.get_type_name() in PASSING else []
        return False

    def cuts_the_picture(self) -> bool:
        seen = {self._model.get_parameters()[0].get_friendly_name()}
        for node in self._model.get_ordered_ops():
            before = {value.get_node().get_friendly_name() for value in node.input_values()}
            if before & seen and node.get_type_name() not in LEARNT:
                if node.get_type_name() in CUTTING:
                    return True
                seen.add(node.get_friendly_name())
        return False

    def dump(self) -> tuple[bytes, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            graph, weights = Path(folder) / "model.xml", Path(folder) / "model.bin"
            ov.serialize(self._model, graph, weights)
            return graph.read_bytes(), weights.read_bytes()


NAMES = {"i8": "int8", "u8": "uint8", "i4": "int4", "u4": "uint4", "f16": "float16", "bf16": "bfloat16"}


def _name(port: ov.Output) -> str:
    return str(port.get_any_name() if port.get_names() else port.node.get_friendly_name())


def _partial(sides: tuple[int, ...]) -> ov.PartialShape:
    return ov.PartialShape([side or -1 for side in sides])


def _applied(step: Step, value: ov.Node) -> ov.Node:
    operation, how = step
    if operation == "transpose":
        return ops.transpose(value, np.array(how, np.int64))
    if operation == "convert":
        return ops.convert(value, str(how).replace("float", "f").replace("uint", "u").replace("int", "i"))
    if operation == "round":
        return ops.round(value, "half_to_even")
    if operation == "cut":
        top, left, height, width = (int(side) for side in how)
        start, stop = np.array([top, left], np.int64), np.array([top + height, left + width], np.int64)
        return ops.slice(value, start, stop, np.array([1, 1], np.int64), np.array([2, 3], np.int64))
    constant = np.asarray(how, np.float32)
    return {"multiply": ops.multiply, "subtract": ops.subtract, "divide": ops.divide}[operation](value, constant)


def _brought(answer: Answer, value: ov.Output) -> ov.Node:
    if answer.as_it_is:
        return ops.result(value)
    top, left, bottom, right = answer.border
    inner = answer.inner()
    made = ops.reshape(ops.convert(value, "f32"), np.array([-1, *inner], np.int64), False)
    if any(answer.border):
        begin, end = np.array([0, 0, top, left], np.int64), np.array([0, 0, bottom, right], np.int64)
        made = ops.pad(made, begin, end, "constant", np.float32(0))
    made.output(0).get_tensor().set_names({f"{TAIL}{answer.role}"})
    return ops.result(made)
