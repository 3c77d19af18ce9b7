"""The INT8 graphs of a network, one for each engine, from its FP32 graphs and calibration inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from edge.bundle import Format
from edge.engines.processor import int8_overflows
from edge.engines.session import Floats, open_session
from edge.errors import EngineError
from edge.offline.calibrate import ALLOWED, MOST
from edge.offline.export import quiet
from edge.offline.float_layers import Search, find_float_layers, in_float, run_all
from edge.offline.progress import Progress
from edge.offline.quantize import (
    output_error,
    quantize_onnx,
    quantize_openvino,
    quantize_tflite,
    ranges_of,
    tflite_ranges,
)
from edge.offline.ranges import squeeze_onnx, squeeze_tflite
from edge.offline.rounding import LAYERS, round_weights
from edge.offline.tflite_layers import arithmetic, layer_name, with_weights
from edge.offline.tflite_pairs import in_pairs
from edge.vision.image import InputRule

PROBES = 24  # inputs that the search looks at
NO_FORMAT = (
    "a processor without VNNI makes INT8 for LiteRT alone, and there is no TFLite graph: quantise on one with VNNI, or "
    "export the bundle from its .pt2"
)
FORMATS: tuple[Format, ...] = ("onnx", "openvino", "tflite")


@dataclass(frozen=True)
class Made:
    """files: by the names that a bundle has for them. float_layers: by engine. unnamed: convolutions whose weights were
    not found in the TFLite file, so that they are rounded to the nearest there. left_out: formats that were wanted, but
    whose INT8 this processor cannot run, so that nobody could say what it answers."""

    files: dict[str, bytes]
    search: Search
    float_layers: dict[str, list[str]]
    unnamed: int
    left_out: tuple[Format, ...] = ()


def make_int8(
    fp32: bytes,
    tflite: bytes | None,
    calibration: Floats,
    progress: Progress,
    allowed: float = ALLOWED,
    most: int = MOST,
    formats: Sequence[Format] = FORMATS,
) -> Made:
    """fp32, tflite: the same network. calibration: `(n, c, h, w)`, prepared as on the line. allowed, most: see
    `find_float_layers`. formats: those that are wanted. Raises EngineError where none of them can run here."""
    left_out = tuple(form for form in formats if form != "tflite") if int8_overflows() else ()
    formats = [form for form in formats if form not in left_out and (form != "tflite" or tflite is not None)]
    if not formats:
        raise EngineError(NO_FORMAT)
    before = onnx.load_from_string(fp32)
    rounded = round_weights(fp32, calibration, progress)
    model = onnx.load_from_string(rounded)
    progress("ranges", 0, 1)
    probes = [calibration[n : n + 1] for n in np.linspace(0, len(calibration) - 1, PROBES).astype(int)]
    expected = run_all(fp32, probes)
    ranges = ranges_of(model, calibration)
    narrow = squeeze_onnx(model, ranges, calibration)
    errors = [output_error(expected, run_all(quantize_onnx(model, r), probes)) for r in (ranges, narrow)]
    ranges = narrow if errors[1] < errors[0] else ranges
    found = find_float_layers(model, ranges, expected, probes, allowed, most, progress)
    kept = {n.name for n in model.graph.node if n.op_type in LAYERS and layer_name(n) in found.kept}
    nodes = in_float(model, kept)
    files: dict[str, bytes] = {}
    floats: dict[str, list[str]] = {}
    unnamed = 0
    if "onnx" in formats:
        progress("ONNX Runtime", 0, 1)
        files["model.int8.onnx"] = quantize_onnx(model, ranges, without=nodes)
        floats["onnx"] = found.kept
    if "openvino" in formats:
        progress("OpenVINO", 0, 1)
        with quiet():
            xml, weights, floats["openvino"] = quantize_openvino(rounded, calibration, probes, max(allowed, found.left))
        files |= {"model.int8.xml": xml, "model.int8.bin": weights}
    if "tflite" in formats and tflite is not None:
        progress("LiteRT", 0, 1)
        on_grid, scopes = with_weights(tflite, before, model)
        unnamed = sum(n.op_type in LAYERS for n in model.graph.node) - len(scopes)
        without = arithmetic(on_grid) + [scopes[name] for name in found.kept if name in scopes]
        with quiet():
            files["model.int8.tflite"] = in_pairs(best_tflite(on_grid, calibration, probes, expected, without))
        floats["litert"] = [name for name in found.kept if name in scopes]
    return Made(files, found, floats, unnamed, left_out)


def best_tflite(
    graph: bytes, calibration: Floats, probes: Sequence[Floats], expected: list[list[Floats]], without: list[str]
) -> bytes:
    """In INT8 by the ranges whose outputs are nearer to what is expected of the probes."""
    ranges = tflite_ranges(graph, calibration)
    made = [quantize_tflite(graph, r, without) for r in (ranges, squeeze_tflite(graph, ranges, calibration))]
    errors = []
    for data in made:
        session = open_session("litert", data, 2, "cpu")
        errors.append(output_error(expected, [[np.copy(out) for out in session.run(probe)] for probe in probes]))
        session.close()
    return made[int(np.argmin(errors))]


def full_range(inputs: Floats, rule: InputRule) -> Floats:
    """The same inputs, with one corner of the first black and one white: INT8's input range is then the sensor's, and
    an 8-bit camera's values lie on its grid."""
    widened = inputs.copy()
    widened[0, :, 0, 0], widened[0, :, -1, -1] = -rule.mean / rule.std, (1 - rule.mean) / rule.std
    return widened
