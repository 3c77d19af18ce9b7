"""One graph in a closed loop, in a process of its own: `python -m tools.rivals_child` (internal).

Given a JSON of `Loop` it prints a JSON of what it took. `ours` runs edge's session; `plain` and `spinning` run ONNX
Runtime by itself, without a line of edge's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Literal

Who = Literal["ours", "plain", "spinning"]
WARM_UP_S = 1.5  # three sides may share it


@dataclass(frozen=True)
class Loop:
    """What to run. bundle, file: of `ours` the graph by its bundle; path: the same file. shape: the batch's,
    `(n, c, h, w)`. percentile: of the runs, 1..100, by nearest rank as benchmark_app's."""

    who: Who
    engine: str
    bundle: str
    file: str
    path: str
    shape: tuple[int, ...]
    threads: int
    seconds: float
    percentile: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def nearest_rank(values: list[float], percent: int) -> float:
    """The smallest value that at least so many percent of all do not exceed."""
    return sorted(values)[ceil(len(values) * percent / 100) - 1]


def timed(run: Callable[[], object], seconds: float) -> list[float]:
    """Milliseconds of each run."""
    spent: list[float] = []
    ends = perf_counter_ns() + seconds * 1e9
    while not spent or perf_counter_ns() < ends:
        began = perf_counter_ns()
        run()
        spent.append((perf_counter_ns() - began) / 1e6)
    return spent


def ours(loop: Loop, batch: Any) -> Callable[[], object]:
    from edge.bundle import open_bundle
    from edge.engines.session import ENGINES, open_graph

    bundle = open_bundle(Path(loop.bundle))
    (graph,) = [graph for graph in bundle.manifest.graph if graph.file == loop.file]
    (engine,) = [engine for engine in ENGINES if engine == loop.engine]
    session = open_graph(engine, bundle, graph, loop.threads, "cpu")
    return lambda: session.run(batch)


def bare(loop: Loop, batch: Any) -> Callable[[], object]:
    """What onnxruntime_perf_test does, its threads spinning as edge's do or as ONNX Runtime has it."""
    import onnxruntime

    from edge.engines.onnx import SPINNING

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = loop.threads
    options.inter_op_num_threads = 1
    for key, value in SPINNING.items() if loop.who != "spinning" else ():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(loop.path, options, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: batch}
    return lambda: session.run(None, fed)


def main() -> None:
    import numpy as np

    given = json.loads(sys.stdin.read())
    loop = Loop(**{**given, "shape": tuple(given["shape"])})
    batch = np.random.default_rng(0).random(loop.shape, dtype=np.float32)
    run = (ours if loop.who == "ours" else bare)(loop, batch)
    timed(run, WARM_UP_S)
    spent = timed(run, loop.seconds)
    print(json.dumps({"ms": nearest_rank(spent, loop.percentile), "runs": len(spent)}))


if __name__ == "__main__":
    main()
