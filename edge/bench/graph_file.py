"""Any graph file, by its network alone: its inputs as it declares them, filled with noise of a fixed seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.session import PACKAGES, Device, Engine, installed
from edge.errors import DataError, EngineError, MissingExtra

READ_BY: dict[str, tuple[Engine, ...]] = {
    ".onnx": ("onnx", "openvino"),
    ".xml": ("openvino",),
    ".tflite": ("litert",),
}
Run = Callable[[], object]
Array = NDArray[Any]
SEED = 0


def engines_for(path: Path) -> tuple[Engine, ...]:
    """Raises DataError for a file that no engine reads."""
    if path.suffix not in READ_BY:
        raise DataError(f"{path} is no graph; edge-bench reads {', '.join(READ_BY)}, bundles' folders and line.toml")
    return READ_BY[path.suffix]


def open_file(path: Path, engine: Engine, threads: int, device: Device, batch: int) -> tuple[Run, str]:
    """What runs the network once on its inputs, and the device that it really runs on.

    batch: of a first side that is left open. Raises MissingExtra, EngineError where the engine refuses the file, or an
    input's other sides are open.
    """
    if not installed(engine):
        raise MissingExtra(PACKAGES[engine][0], engine, f"the engine {engine}")
    opener = {"onnx": _onnx, "openvino": _openvino, "litert": _litert}[engine]
    try:
        return opener(path, threads, device, batch)
    except (EngineError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"{path} on {engine}: {str(error).strip().splitlines()[0]}") from error


def noise(name: str, shape: Sequence[int | None], kind: np.dtype[Any], batch: int) -> Array:
    """An input. shape: None for a side that is left open. Raises EngineError for any but the first."""
    if any(side is None for side in shape[1:]):
        raise EngineError(f"its input {name} is {list(shape)}: fix all sides but the first, the batch")
    fixed = [batch if side is None else side for side in shape]
    rng = np.random.default_rng(SEED)
    if np.issubdtype(kind, np.floating):
        return rng.random(fixed).astype(kind)
    return rng.integers(0, 2, fixed).astype(kind)


def _onnx(path: Path, threads: int, device: Device, batch: int) -> tuple[Run, str]:
    from edge.engines.onnx import FAULTS, GPU_PROVIDERS, open_native

    try:
        session = open_native(path.read_bytes(), threads, device)
        inputs = {i.name: noise(i.name, _sides(i.shape), _kind(i.type), batch) for i in session.get_inputs()}
        session.run(None, inputs)
    except FAULTS as error:
        raise EngineError(f"it cannot be run: {str(error).strip().splitlines()[0]}") from error
    where = "gpu" if session.get_providers()[0] in GPU_PROVIDERS else "cpu"
    return lambda: session.run(None, inputs), where


def _sides(shape: Sequence[int | str | None]) -> list[int | None]:
    return [side if isinstance(side, int) else None for side in shape]


def _kind(words: str) -> np.dtype[Any]:
    """ONNX Runtime's `tensor(int64)`. Raises EngineError for what numpy has not."""
    name = words.removeprefix("tensor(").removesuffix(")").replace("float16", "half")
    try:
        return np.dtype({"float": "float32", "double": "float64", "half": "float16"}.get(name, name))
    except TypeError as error:
        raise EngineError(f"an input is {words}, which edge-bench cannot make up") from error


def _openvino(path: Path, threads: int, device: Device, batch: int) -> tuple[Run, str]:
    from edge.engines.openvino import core, plugin, settings

    where = plugin(device)
    model = core().read_model(path)
    sides = {port: [s.get_length() if s.is_static else None for s in port.partial_shape] for port in model.inputs}
    inputs = [noise(p.get_any_name(), sides[p], np.dtype(p.get_element_type().to_dtype()), batch) for p in model.inputs]
    model.reshape({port: list(array.shape) for port, array in zip(model.inputs, inputs, strict=True)})
    request = core().compile_model(model, where, settings(where, path.read_bytes(), threads)).create_infer_request()
    return lambda: request.infer(inputs, share_inputs=True, share_outputs=True), where.lower()


def _litert(path: Path, threads: int, device: Device, batch: int) -> tuple[Run, str]:
    from edge.engines.litert import open_native

    if device == "gpu":
        raise EngineError("LiteRT runs on the CPU only")
    interpreter = open_native(path.read_bytes(), threads)
    for given in interpreter.get_input_details():
        signature = [None if side < 0 else int(side) for side in given.get("shape_signature", given["shape"])]
        if None in signature:
            interpreter.resize_tensor_input(
                given["index"], noise(given["name"], signature, np.dtype(given["dtype"]), batch).shape
            )
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    inputs = {d["index"]: noise(d["name"], [int(s) for s in d["shape"]], np.dtype(d["dtype"]), batch) for d in details}
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def run() -> list[Array]:
        for index, array in inputs.items():
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return run, "cpu"
