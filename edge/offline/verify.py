"""`edge verify`: does a bundle do on this box what it did where it was made, and is what its engines build built?"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from edge.bundle import Bundle, Graph
from edge.engines.choose import candidates
from edge.engines.measure import example_batch
from edge.engines.session import ENGINES, Device, Engine, Floats, installed, open_graph, readable
from edge.errors import EdgeError
from edge.golden import check_golden, golden_batch, read_golden
from edge.inspection.assemble import TOGETHER, inspector
from edge.inspection.model import Model


@dataclass(frozen=True, slots=True)
class GraphCheck:
    """One engine with one graph. error: largest difference as a share of the expected range; milliseconds: one run.

    device: what it really ran on. cold_s, warm_s: seconds of the first and the second opening, see `seconds_to_open`.
    """

    engine: Engine
    graph: str
    ok: bool
    detail: str
    error: float | None = None
    milliseconds: float | None = None
    device: str | None = None
    cold_s: float | None = None
    warm_s: float | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """How graphs are opened. warm: twice, for what an engine builds and keeps, ready for `batch` images at once."""

    threads: int = 2
    device: Device = "cpu"
    warm: bool = False
    batch: int = 1


ON_CPU = Opening()


def verify_bundle(
    bundle: Bundle, engines: Iterable[Engine] | None = None, opening: Opening = ON_CPU
) -> list[GraphCheck]:
    """Check every file's digest, then each graph on each engine that reads it, and what scores its answer.

    engines: those installed where None. Raises BundleError for a missing or altered file; all else is told in the rows.
    """
    for file in bundle.files:
        bundle.read(file)
    chosen = [engine for engine in ENGINES if installed(engine)] if engines is None else list(engines)
    return [
        _check(bundle, graph, engine, opening)
        for engine in chosen
        for graph in candidates(readable(engine, bundle.manifest.graph), opening.device)
    ]


def seconds_to_open(bundle: Bundle, graph: Graph, engine: Engine, opening: Opening) -> float:
    """Until a frame's batch and one of `opening.batch` were answered: TensorRT builds at the first run of a size, for
    all sizes from the smallest to the largest that it saw. Raises EngineError."""
    batch = example_batch(bundle)
    started = time.perf_counter()
    with closing(open_graph(engine, bundle, graph, opening.threads, opening.device)) as session:
        for size in sorted({1, len(batch), TOGETHER * len(batch), opening.batch}):
            session.run(_sized(batch, size))
    return time.perf_counter() - started


def _sized(batch: Floats, size: int) -> Floats:
    """`(n, c, h, w)` -> `(size, c, h, w)`, repeated or cut."""
    return np.resize(batch, (size, *batch.shape[1:]))


def _check(bundle: Bundle, graph: Graph, engine: Engine, opening: Opening) -> GraphCheck:
    try:
        seconds = [seconds_to_open(bundle, graph, engine, opening) for _ in range(2)] if opening.warm else [None, None]
        with closing(open_graph(engine, bundle, graph, opening.threads, opening.device)) as session:
            error = check_golden(bundle, graph, session)
            inspector(Model(bundle, graph, session), threshold=0.0)  # where the manifest has none the line has
            batch = golden_batch(read_golden(bundle, graph)[0], bundle.manifest.input)
            started = time.perf_counter_ns()
            session.run(batch)
            elapsed = (time.perf_counter_ns() - started) / 1e6
    except EdgeError as trouble:
        return GraphCheck(engine, graph.file, False, str(trouble))
    return GraphCheck(engine, graph.file, True, "as expected", error, elapsed, session.device, *seconds)
