"""A case's networks alone: the very batches that its frames make of themselves, run again and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter_ns

import numpy as np

from edge.bench.load import Case, Times
from edge.engines.session import Floats, Session
from edge.errors import ScoreError
from edge.records import Frame

Runs = list[tuple[Session, Floats]]


@dataclass
class Recorder:
    """A session that also keeps what it was given."""

    session: Session
    runs: Runs
    engine: str = field(init=False)
    device: str = field(init=False)
    any_batch: bool = field(init=False)

    def __post_init__(self) -> None:
        self.engine, self.device, self.any_batch = self.session.engine, self.session.device, self.session.any_batch

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        self.runs.append((self.session, batch.copy()))
        return self.session.run(batch)

    def close(self) -> None:
        self.session.close()


def record(case: Case, frame: Frame) -> Runs:
    """The batches that a frame runs, in order, by their session. Raises EngineError."""
    runs: Runs = []
    sessions = [model.session for model in case.models]
    for model in case.models:
        model.session = Recorder(model.session, runs)
    try:
        case.look(frame)
    except ScoreError:
        pass  # what the networks answered is of no account here
    finally:
        for model, session in zip(case.models, sessions, strict=True):
            model.session = session
    return runs


def graph_case(case: Case, frames: Sequence[Frame]) -> Case:
    """The case without its own arithmetic; on the same sessions, which stay its own to close. Raises EngineError."""
    recorded = {id(frame): record(case, frame) for frame in frames}

    def look(frame: Frame) -> Times:
        runs = recorded[id(frame)]
        started = perf_counter_ns()
        for session, batch in runs:
            session.run(batch)
        spent = perf_counter_ns() - started
        return {"run": spent, "frame": spent}

    def batch(size: int) -> Batch:
        return Batch([runs for runs, _ in zip(itertools.cycle(recorded.values()), range(size), strict=False)])

    targets = {stage: ms for stage, ms in case.targets.items() if stage == "patch"}
    return replace(case, name=f"{case.name} graph alone", look=look, targets=targets, level="graph", batch=batch)


def batch_case(case: Case, size: int) -> Case:
    """The networks alone on so many frames at once. case: of `graph_case`. run: all of them; frame: one's share."""
    assert case.batch is not None  # graph_case
    run = case.batch(size)
    gops = case.gops * size if case.gops else None

    def look(_: Frame) -> Times:
        started = perf_counter_ns()
        run()
        spent = perf_counter_ns() - started
        return {"run": spent, "frame": spent // size}

    return replace(
        case, name=f"{case.name}, batch {size}", look=look, patches=0, targets={}, batch=None, gops=gops, at_once=size
    )


class Batch:
    """Several frames' batches, those of one session joined. Called, it runs them."""

    def __init__(self, frames: list[Runs]) -> None:
        by_session: dict[int, Runs] = {}
        for session, batch in itertools.chain.from_iterable(frames):
            by_session.setdefault(id(session), []).append((session, batch))
        self._joined = [(runs[0][0], np.concatenate([batch for _, batch in runs])) for runs in by_session.values()]

    def __call__(self) -> None:
        for session, batch in self._joined:
            session.run(batch)
