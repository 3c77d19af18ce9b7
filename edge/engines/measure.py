"""Time one engine on every graph that it reads, in a process of its own: `python -m edge.engines.measure` (internal).

A child process, so that an engine which crashes takes only its own row along, and the daemon's memory holds no engine
that it does not use.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, sleep
from typing import cast, get_args

import numpy as np

from edge.bundle import Bundle, open_bundle
from edge.engines.choose import candidates, to_try
from edge.engines.session import Device, Engine, Floats, Session, open_graph
from edge.errors import EdgeError
from edge.golden import check_golden

WARM_UP, RUNS, BUDGET_NS, ALONE_S = 2, 12, 1_200_000_000, 0.001
NICE = 10  # live frames come first: a bundle that changes is measured beside the running line


@dataclass
class Timed:
    """A graph that is measured, until its row says why not. times: nanoseconds of each run."""

    row: dict[str, object]
    session: Session
    times: list[int]


def example_batch(bundle: Bundle) -> Floats:
    """A batch of the shape that one frame gives, `(n, c, h, w)`, filled with mild noise."""
    rule = bundle.manifest.input
    shape = (rule.batch, rule.channels, rule.height, rule.width)
    if rule.patch:
        shape = (rule.patches, rule.channels, rule.patch, rule.patch)
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def measure(bundle: Bundle, engine: Engine, threads: int, device: Device) -> list[dict[str, object]]:
    """One row for each graph that the engine reads: milliseconds of one frame's batch, or why it has none.

    All are open at once and take turns, so that a box whose pace drifts slows all alike; the lower quartile, because a
    busy neighbour only ever adds.
    """
    rows: list[dict[str, object]] = []
    opened: list[Timed] = []
    for graph in to_try(engine, bundle, device):
        row: dict[str, object] = {"engine": engine, "file": graph.file, "ms": None, "why": ""}
        try:
            session = open_graph(engine, bundle, graph, threads, device)
            if not candidates([graph], session.device):
                session.close()
                continue  # the GPU is none that this engine can use
            check_golden(bundle, graph, session)
            opened.append(Timed(row, session, []))
        except EdgeError as error:
            row["why"] = str(error)
        rows.append(row)
    take_turns(opened, example_batch(bundle))
    for one in opened:
        taken = sorted(one.times[WARM_UP:])
        one.row["ms"] = None if one.row["why"] else taken[len(taken) // 4] / 1e6
        one.session.close()
    return rows


def take_turns(opened: list[Timed], batch: Floats) -> None:
    """Run each as often as the others: RUNS after its warm-up, or fewer, at least 3, once they have spent their budget
    on the average. Each has a millisecond to itself before: ONNX Runtime's threads spin for so long after a run."""
    for turn in range(WARM_UP + RUNS):
        running = [one for one in opened if not one.row["why"]]
        if turn >= WARM_UP + 3 and sum(sum(one.times) for one in running) > BUDGET_NS * len(running):
            return
        for one in running:
            sleep(ALONE_S)
            started = perf_counter_ns()
            try:
                one.session.run(batch)
            except EdgeError as error:
                one.row["why"] = str(error)
            one.times.append(perf_counter_ns() - started)


def main() -> None:
    engine, threads, device, *paths = sys.argv[1:]
    if engine not in get_args(Engine) or device not in get_args(Device):
        raise SystemExit(f"no such engine or device: {engine} {device}")
    os.nice(NICE)  # before there is an engine, whose threads inherit it
    for path in paths:
        rows = measure(open_bundle(Path(path)), cast(Engine, engine), int(threads), cast(Device, device))
        print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    main()
