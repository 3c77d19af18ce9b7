"""The one protocol behind which the three engines stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge.bundle import Bundle, Format, Graph
from edge.engines.processor import int8_overflows
from edge.errors import EngineError, MissingExtra

Engine = Literal["onnx", "openvino", "litert"]
Device = Literal["auto", "cpu", "gpu"]
Floats = NDArray[np.float32]

ENGINES: tuple[Engine, ...] = ("onnx", "openvino", "litert")
# Of the formats that an engine reads, the one that suits it best comes first.
READS: dict[Engine, tuple[Format, ...]] = {"onnx": ("onnx",), "openvino": ("openvino", "onnx"), "litert": ("tflite",)}
PACKAGES: dict[Engine, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert", "tflite_runtime"),
}
# Those whose INT8 is wrong on some processors (edge.engines.processor).
OVERFLOWING: tuple[Engine, ...] = ("onnx", "openvino")
# How an ONNX file names another that holds its weights: OpenVINO would take it, unverified, from the current folder.
EXTERNAL_DATA = b"\x0a\x08location\x12"


class Session(Protocol):
    """One graph, opened and ready.

    engine, device: what it really runs on, read back from the engine, not what was asked for. any_batch: it takes any
    number of images in one run; else they run a few at a time, and more of them gain nothing.
    """

    engine: str
    device: str
    any_batch: bool

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


def readable(engine: Engine, graphs: Iterable[Graph]) -> list[Graph]:
    """Those that the engine is to read here: of each precision in the format that suits it best, and INT8 only where
    it is right on this processor."""
    unfit = engine in OVERFLOWING and int8_overflows()
    right = [g for g in graphs if not (unfit and g.precision == "int8")]
    ranked = [g for form in READS[engine] for g in right if g.format == form]
    return [
        g
        for place, g in enumerate(ranked)
        if g.precision not in {b.precision for b in ranked[:place] if b.format != g.format}
    ]


def installed(engine: Engine) -> bool:
    return any(find_spec(package) for package in PACKAGES[engine])


def open_graph(engine: Engine, bundle: Bundle, graph: Graph, threads: int, device: Device = "auto") -> Session:
    """Open what a bundle runs of its graph, from its verified bytes. Raises BundleError, and as `open_session`."""
    graph, at_once = bundle.runs(graph), bundle.manifest.input.at_once
    return open_session(engine, bundle.read(graph), threads, device, bundle.read_weights(graph), at_once)


def open_session(
    engine: Engine, graph: bytes, threads: int, device: Device = "auto", weights: bytes = b"", at_once: int = 1
) -> Session:
    """Open a graph's bytes. weights: those of OpenVINO's own format. at_once: images that a CPU runs at once, where the
    graph leaves it open; a manifest's rule knows. Raises MissingExtra where the engine is not installed, EngineError
    where it refuses."""
    if not installed(engine):
        raise MissingExtra(PACKAGES[engine][0], engine, f"the engine {engine}")
    if "onnx" in READS[engine] and not weights and EXTERNAL_DATA in graph:
        raise EngineError(f"{engine} is not given a graph that keeps weights in another file; export it as one file")
    try:
        module = import_module(f"edge.engines.{engine}")
    except (ImportError, OSError, AttributeError) as error:  # AttributeError: built for another numpy
        raise EngineError(f"the engine {engine} is installed but cannot be loaded: {error}") from error
    # numpy's own threads spin beside the engine's and take its cores: frames of 7 ms took 20, and one in a hundred 100.
    threadpool_limits(limits=1, user_api="blas")
    try:
        session: Session = module.open_graph(graph, weights, threads, device, at_once)
    except (RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"{engine} cannot open the graph: {error}") from error
    return session
