"""`edge verify`: does a bundle do on this box what it did where it was made?"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

from edge.bundle import Bundle, Graph
from edge.engines.session import ENGINES, READS, Engine, installed, open_session
from edge.errors import EdgeError
from edge.golden import check_golden, golden_batch, read_golden
from edge.inspection.assemble import inspector
from edge.inspection.model import Model


@dataclass(frozen=True, slots=True)
class GraphCheck:
    """One engine with one graph. error: largest difference as a share of the expected range; milliseconds: one run."""

    engine: Engine
    graph: str
    ok: bool
    detail: str
    error: float | None = None
    milliseconds: float | None = None


def verify_bundle(bundle: Bundle, engines: Iterable[Engine] | None = None, threads: int = 2) -> list[GraphCheck]:
    """Check every file's digest, then each graph on each engine that reads it, on the CPU, and what scores its answer.

    engines: those installed where None. Raises BundleError for a missing or altered file; all else is told in the rows.
    """
    graphs = {graph.file: bundle.read(graph) for graph in bundle.manifest.graph}
    bundle.read(bundle.manifest.golden)
    if bundle.manifest.arrays:
        bundle.read(bundle.manifest.arrays)
    chosen = [engine for engine in ENGINES if installed(engine)] if engines is None else list(engines)
    return [
        _check(bundle, graph, graphs[graph.file], engine, threads)
        for engine in chosen
        for graph in bundle.manifest.graph
        if READS[engine] == graph.format
    ]


def _check(bundle: Bundle, graph: Graph, data: bytes, engine: Engine, threads: int) -> GraphCheck:
    try:
        with closing(open_session(engine, data, threads, "cpu", bundle.manifest.input.at_once)) as session:
            error = check_golden(bundle, graph, session)
            inspector(Model(bundle, graph, session), threshold=0.0)  # where the manifest has none the line has
            batch = golden_batch(read_golden(bundle, graph)[0], bundle.manifest.input)
            started = time.perf_counter_ns()
            session.run(batch)
            elapsed = (time.perf_counter_ns() - started) / 1e6
    except EdgeError as trouble:
        return GraphCheck(engine, graph.file, False, str(trouble))
    return GraphCheck(engine, graph.file, True, "as expected", error, elapsed)
