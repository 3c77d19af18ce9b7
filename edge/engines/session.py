"""The one protocol behind which the three engines stand."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge.bundle import Format
from edge.errors import EngineError, MissingExtra

Engine = Literal["onnx", "openvino", "litert"]
Device = Literal["auto", "cpu", "gpu"]
Floats = NDArray[np.float32]

ENGINES: tuple[Engine, ...] = ("onnx", "openvino", "litert")
READS: dict[Engine, Format] = {"onnx": "onnx", "openvino": "onnx", "litert": "tflite"}
PACKAGES: dict[Engine, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert", "tflite_runtime"),
}
# How an ONNX file names another that holds its weights: OpenVINO would take it, unverified, from the current folder.
EXTERNAL_DATA = b"\x0a\x08location\x12"


class Session(Protocol):
    """One graph, opened and ready.

    engine, device: what it really runs on, read back from the engine, not what was asked for.
    """

    engine: Engine
    device: str

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        """`(n, c, h, w)` float32 -> the graph's outputs, each `(n, ...)`; they may be the engine's own memory and are
        valid until the next run. Raises EngineError."""
        ...

    def close(self) -> None:
        """Give the engine's memory back; the session is of no use afterwards."""
        ...


def in_turns(run: Callable[[Floats], tuple[Floats, ...]], images: Floats, size: int) -> tuple[Floats, ...]:
    """So many images at a time, with the memory of so many; an incomplete last turn is filled up with its last image.

    images: `(n, ...)`. Returns what `run` answers, each output `(n, ...)`.
    """
    if len(images) == size:
        return run(images)
    answers: list[Floats] = []
    for first in range(0, len(images), size):
        turn = images[first : first + size]
        lacking = size - len(turn)
        outputs = run(np.concatenate([turn, turn[-1:].repeat(lacking, 0)]) if lacking else turn)
        answers = answers or [np.empty((len(images), *out.shape[1:]), np.float32) for out in outputs]
        for answer, out in zip(answers, outputs, strict=True):
            answer[first : first + size] = out[: len(turn)]
    return tuple(answers)


def installed(engine: Engine) -> bool:
    return any(find_spec(package) for package in PACKAGES[engine])


def open_session(engine: Engine, graph: bytes, threads: int, device: Device = "auto", at_once: int = 1) -> Session:
    """Open a graph's bytes. at_once: images that a CPU runs at once, where the graph leaves it open; a manifest's rule
    knows. Raises MissingExtra where the engine is not installed, EngineError where it refuses."""
    if not installed(engine):
        raise MissingExtra(PACKAGES[engine][0], engine, f"the engine {engine}")
    if READS[engine] == "onnx" and EXTERNAL_DATA in graph:
        raise EngineError(f"{engine} is not given a graph that keeps weights in another file; export it as one file")
    try:
        module = import_module(f"edge.engines.{engine}")
    except (ImportError, OSError, AttributeError) as error:  # AttributeError: built for another numpy
        raise EngineError(f"the engine {engine} is installed but cannot be loaded: {error}") from error
    # numpy's own threads spin beside the engine's and take its cores: frames of 7 ms took 20, and one in a hundred 100.
    threadpool_limits(limits=1, user_api="blas")
    try:
        session: Session = module.open_graph(graph, threads, device, at_once)
    except (RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"{engine} cannot open the graph: {error}") from error
    return session
