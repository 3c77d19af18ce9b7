"""A network as far as its last answer, without the layers that only the others need: the same bits in less time."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.bundle import Format


def cut_short(form: Format, graph: bytes, weights: bytes = b"") -> tuple[bytes, bytes]:
    """The file, and its weights where they lie apart. Nothing is computed otherwise than before."""
    return {"onnx": _onnx, "openvino": _openvino, "tflite": _tflite}[form](graph, weights)


def _onnx(graph: bytes, _: bytes) -> tuple[bytes, bytes]:
    import onnx
    from onnx.utils import Extractor

    model = onnx.load_from_string(graph)
    given, answers = model.graph.input, model.graph.output
    return Extractor(model).extract_model([given[0].name], [answers[-1].name]).SerializeToString(), b""


def _openvino(graph: bytes, weights: bytes) -> tuple[bytes, bytes]:
    import openvino as ov

    from edge.offline.openvino_file import written

    model = ov.Core().read_model(graph, weights)
    short = ov.Model(model.get_results()[-1:], model.get_parameters(), "cut")
    return written(short, half=False)


def _tflite(graph: bytes, _: bytes) -> tuple[bytes, bytes]:
    from ai_edge_litert.tools import flatbuffer_utils
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(graph)
    (network,), (signature,) = model.subgraphs, model.signatureDefs
    signature.outputs = sorted(signature.outputs, key=lambda answer: bytes(answer.name))[-1:]
    wanted = {int(signature.outputs[0].tensorIndex)}
    network.outputs = np.array(sorted(wanted), np.int32)
    operators = []
    for operator in reversed(network.operators):
        if wanted & set(operator.outputs):
            operators.append(operator)
            wanted |= {int(place) for place in operator.inputs if place >= 0}
    network.operators = operators[::-1]
    forget_data(model, wanted)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)), b""


def forget_data(model: Any, wanted: set[int]) -> None:
    """The tensors keep their places; those that nobody asks for any more lose their numbers."""
    (network,) = model.subgraphs
    kept = {network.tensors[place].buffer for place in wanted} | {entry.buffer for entry in model.metadata or ()}
    for place, buffer in enumerate(model.buffers):
        if place not in kept:
            buffer.data = None
