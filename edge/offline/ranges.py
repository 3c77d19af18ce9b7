"""The range of an activation that INT8 spends its 256 steps on: all that was seen, or as much as errs least.

A few values far out make every step wide. Cutting them off errs there and is finer everywhere else; but what lies far
out may be what a defect raises: whoever uses these ranges holds the outputs of both against FP32, and takes the better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import TensorData, TensorsData

from edge.engines.session import Floats
from edge.offline.rounding import with_outputs

STEPS = 255
SHARES = (1.0, *np.geomspace(0.95, 0.2, 20))
IMAGES, VALUES = 32, 10_000  # of each tensor so many values of each image, drawn by the seed
Range = tuple[float, float]


def least_error(values: NDArray[np.float32], whole: Range) -> Range:
    """The share of the whole range, about zero, within which the values are rounded with the least squared error."""
    low, high = whole
    best, found = np.inf, whole
    for share in SHARES:
        step = (high - low) * share / STEPS
        if step <= 0:
            return whole
        zero = np.rint(-low * share / step)
        rounded = (np.clip(np.rint(values / step) + zero, 0, STEPS) - zero) * step
        error = float(np.mean(np.square(rounded - values)))
        if error < best:
            best, found = error, (low * share, high * share)
    return found


def squeeze_onnx(model: onnx.ModelProto, ranges: Any, calibration: Floats, seed: int = 0) -> Any:
    """ONNX Runtime's ranges, each as narrow as errs least; the input's and the outputs' stay."""
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    names = sorted(name for name in ranges.data if name not in kept)  # ONNX Runtime has them in a set
    session, names = with_outputs(model, names)
    entry = session.get_inputs()[0].name
    values = sampled(lambda image: dict(zip(names, session.run(names, {entry: image}), strict=True)), calibration, seed)
    squeezed = {
        name: least_error(values[name], (float(np.min(ranges[name].lowest)), float(np.max(ranges[name].highest))))
        for name in names
    }
    data = {
        name: TensorData(lowest=np.float32(squeezed[name][0]), highest=np.float32(squeezed[name][1]))
        if name in squeezed
        else ranges[name]
        for name in ranges.data
    }
    return TensorsData(CalibrationMethod.MinMax, data)


def squeeze_tflite(graph: bytes, ranges: Mapping[str, Any], calibration: Floats, seed: int = 0) -> dict[str, Any]:
    """ai-edge-quantizer's ranges by tensor name, each as narrow as errs least; the input's and the outputs' stay."""
    interpreter = Interpreter(model_content=graph, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    ends = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    kept = {detail["name"] for detail in ends}
    places = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
    names = [n for n, r in ranges.items() if n in places and n not in kept and "min" in r and np.size(r["min"]) == 1]
    entry = interpreter.get_input_details()[0]

    def run(image: Floats) -> dict[str, Floats]:
        interpreter.set_tensor(entry["index"], np.repeat(image, entry["shape"][0], 0))
        interpreter.invoke()
        return {name: interpreter.get_tensor(places[name]) for name in names}

    values = sampled(run, calibration, seed)
    squeezed = dict(ranges)
    for name in names:
        low, high = least_error(values[name], (float(np.min(ranges[name]["min"])), float(np.max(ranges[name]["max"]))))
        shape = np.shape(ranges[name]["min"])
        squeezed[name] = {"min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}
    return squeezed


def sampled(
    run: Callable[[Floats], Mapping[str, Floats]], calibration: Floats, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Values of each tensor, `(n,)`. run: one image -> its tensors by name."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[NDArray[np.float32]]] = {}
    for number in np.linspace(0, len(calibration) - 1, min(IMAGES, len(calibration))).astype(int):
        for name, tensor in run(calibration[number : number + 1]).items():
            flat = np.asarray(tensor, np.float32).ravel()
            drawn = flat if flat.size <= VALUES else flat[rng.integers(0, flat.size, VALUES)]
            found.setdefault(name, []).append(drawn.copy())
    return {name: np.concatenate(parts) for name, parts in found.items()}
