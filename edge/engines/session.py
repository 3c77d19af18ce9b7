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


def one_by_one(run_one: Callable[[Floats], tuple[Floats, ...]], batch: Floats) -> tuple[Floats, ...]:
    """A batch image by image, with the memory of one: on a CPU at most a fifth slower than by fours."""
    if len(batch) == 1:
        return run_one(batch)
    answers = [tuple(out.copy() for out in run_one(batch[i : i + 1])) for i in range(len(batch))]
    return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))


def installed(engine: Engine) -> bool:
    return any(find_spec(package) for package in PACKAGES[engine])


def open_session(engine: Engine, graph: bytes, threads: int, device: Device = "auto") -> Session:
    """Open a graph's bytes. Raises MissingExtra where the engine is not installed, EngineError where it refuses."""
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
        session: Session = module.open_graph(graph, threads, device)
    except (RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"{engine} cannot open the graph: {error}") from error
    return session
