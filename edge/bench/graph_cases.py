"""What is timed of a bare graph file: its network on each engine, device, batch and number of threads asked for."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from edge.bench.ceiling import operations
from edge.bench.graph_file import Run, engines_for, open_file
from edge.bench.load import Asked, Case, Look, Times, lost_case
from edge.engines.session import installed
from edge.errors import EdgeError, MissingExtra
from edge.records import Frame


def file_cases(path: Path, asked: Asked) -> list[Case]:
    """Each with each; all of them have to meet a target. One that cannot run says why, and the others go on. Raises
    DataError for a file that is no graph, MissingExtra where no engine that reads it is installed."""
    read_by = engines_for(path)
    by_name = [engine for engine in asked.named if engine in asked.engines]
    wanted = by_name or [engine for engine in read_by if installed(engine)]
    if not wanted:
        raise MissingExtra(" or ".join(read_by), read_by[0], f"a {path.suffix} file")
    gops = operations(path)
    cases = []
    for engine, device, batch, threads in product(
        wanted, asked.devices or ("auto",), asked.batches or (1,), asked.threads or (2,)
    ):
        end = (f" batch {batch}" if asked.batches else "") + (f", {threads} threads" if len(asked.threads) > 1 else "")
        try:
            run, where = open_file(path, engine, threads, device, batch)
            name = f"{engine}/{where}{end}"
            cases.append(
                Case(name, True, _timed(run, batch), level="graph", gops=gops * batch if gops else None, at_once=batch)
            )
        except EdgeError as error:
            cases.append(lost_case(f"{engine}/{device}{end}", True, error))
    return cases


def _timed(run: Run, batch: int) -> Look:
    """run: the whole batch; frame: an image's share of it."""

    def look(_: Frame) -> Times:
        started = perf_counter_ns()
        run()
        spent = perf_counter_ns() - started
        return {"run": spent, "frame": spent // batch}

    return look


def no_frame() -> Frame:
    """What stands for a frame where a graph makes its own inputs."""
    return Frame(np.zeros((1, 1), np.uint8), 255)
