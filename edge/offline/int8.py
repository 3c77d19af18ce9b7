"""The INT8 graphs of a network, one for each engine, from its FP32 graphs and calibration inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from edge.engines.session import Floats
from edge.offline.export import quiet
from edge.offline.float_layers import Search, find_float_layers, run_all
from edge.offline.quantize import quantize_onnx, quantize_openvino, quantize_tflite, ranges_of
from edge.offline.rounding import round_weights
from edge.offline.tflite_layers import arithmetic, with_weights
from edge.vision.image import InputRule

ALLOWED = 0.05
MOST = 3
PROBES = 24  # inputs that the search looks at

Progress = Callable[[str, int, int], None]
STEPS = ("ONNX Runtime", "OpenVINO", "LiteRT")


@dataclass(frozen=True)
class Made:
    """files: by the names that a bundle has for them. float_layers: by engine. unnamed: convolutions whose weights were
    not found in the TFLite file, so that they are rounded to the nearest there."""

    files: dict[str, bytes]
    search: Search
    float_layers: dict[str, list[str]]
    unnamed: int


def make_int8(
    fp32: bytes,
    tflite: bytes | None,
    calibration: Floats,
    progress: Progress,
    allowed: float = ALLOWED,
    most: int = MOST,
    formats: Sequence[str] = ("onnx", "openvino", "tflite"),
) -> Made:
    """fp32, tflite: the same network. calibration: `(n, c, h, w)`, prepared as on the line. allowed, most: see
    `find_float_layers`. formats: those that are wanted."""
    before = onnx.load_from_string(fp32)
    rounded = round_weights(fp32, calibration, progress)
    model = onnx.load_from_string(rounded)
    progress("ranges", 0, 1)
    ranges = ranges_of(model, calibration)
    probes = [calibration[n : n + 1] for n in np.linspace(0, len(calibration) - 1, PROBES).astype(int)]
    found = find_float_layers(model, ranges, run_all(fp32, probes), probes, allowed, most, progress)
    nodes = [n.name for n in model.graph.node if n.input[1:2] and n.input[1].removesuffix(".weight") in found.kept]
    files: dict[str, bytes] = {}
    floats: dict[str, list[str]] = {}
    unnamed = 0
    if "onnx" in formats:
        progress(STEPS[0], 0, 1)
        files["model.int8.onnx"] = quantize_onnx(model, ranges, without=nodes)
        floats["onnx"] = found.kept
    if "openvino" in formats:
        progress(STEPS[1], 0, 1)
        with quiet():
            xml, weights, floats["openvino"] = quantize_openvino(rounded, calibration, probes, max(allowed, found.left))
        files |= {"model.int8.xml": xml, "model.int8.bin": weights}
    if "tflite" in formats and tflite is not None:
        progress(STEPS[2], 0, 1)
        on_grid, scopes = with_weights(tflite, before, model)
        unnamed = sum(n.op_type in ("Conv", "ConvTranspose") for n in model.graph.node) - len(scopes)
        without = arithmetic(on_grid) + [scopes[name] for name in found.kept if name in scopes]
        with quiet():
            files["model.int8.tflite"] = quantize_tflite(on_grid, calibration, without)
        floats["litert"] = [name for name in found.kept if name in scopes]
    return Made(files, found, floats, unnamed)


def full_range(inputs: Floats, rule: InputRule) -> Floats:
    """The same inputs, with one corner of the first black and one white: INT8's input range is then the sensor's, and
    an 8-bit camera's values lie on its grid."""
    widened = inputs.copy()
    widened[0, :, 0, 0], widened[0, :, -1, -1] = -rule.mean / rule.std, (1 - rule.mean) / rule.std
    return widened
