"""The timing itself: warm up until steady, then take turns, so that a drift of the machine hits all cases alike."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from time import monotonic, perf_counter_ns

from edge.bench.load import Case
from edge.bench.statistics import steady
from edge.errors import EdgeError
from edge.records import Frame

TURN = 8  # frames of one case before the next has its turn; the first of a turn, on cold caches, is not counted
WINDOW, MOST_WINDOWS, WARM_UP_S = 10, 30, 10.0


@dataclass
class Samples:
    """One case's timings: nanoseconds per stage, one value a frame. at: when each frame began, nanoseconds of the
    monotonic clock. why: set where it could not go on."""

    case: Case
    warm_up: int = 0
    steady: bool = False
    frames: int = 0
    stages: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    at: list[int] = field(default_factory=list)
    why: str = ""


@dataclass(frozen=True)
class Budget:
    """Ends once every case had `runs` frames or `seconds` have passed, whichever comes first."""

    runs: float
    seconds: float


def take(cases: list[Case], frames: list[Frame], budget: Budget, tell: Callable[[str, float], None]) -> list[Samples]:
    """Time the cases beside each other. tell: what is being done and the share that is done, 0..1.

    A case that fails keeps what it had, says why, and leaves the others alone.
    """
    taken = [(Samples(case, why=case.why), itertools.cycle(frames)) for case in cases]
    for samples, source in taken:
        tell(f"warming up {samples.case.name}", 0.0)
        _guarded(_warm_up, samples, source)
    began = monotonic()
    while going := [pair for pair in taken if not pair[0].why]:
        for samples, source in going:
            _guarded(_turn if len(going) == 1 else _turn_from_cold, samples, source)
        share = max((monotonic() - began) / budget.seconds, min(s.frames for s, _ in going) / budget.runs)
        tell("measuring", min(1.0, share))
        if share >= 1.0:
            break
    return [samples for samples, _ in taken]


def _guarded(work: Callable[[Samples, Iterator[Frame]], None], samples: Samples, frames: Iterator[Frame]) -> None:
    if not samples.why:
        try:
            work(samples, frames)
        except EdgeError as error:
            samples.why = str(error)


def _warm_up(samples: Samples, frames: Iterator[Frame]) -> None:
    """Windows of ten frames until three medians agree, or the cap."""
    ends = monotonic() + WARM_UP_S
    windows: list[float] = []
    while not steady(windows) and len(windows) < MOST_WINDOWS and monotonic() < ends:
        windows.append(median(samples.case.look(next(frames))["frame"] for _ in range(WINDOW)))
    samples.warm_up, samples.steady = WINDOW * len(windows), steady(windows)


def _turn(samples: Samples, frames: Iterator[Frame]) -> None:
    for _ in range(TURN):
        began = perf_counter_ns()
        for stage, spent in samples.case.look(next(frames)).items():
            samples.stages[stage].append(spent)
        samples.at.append(began)
        samples.frames += 1


def _turn_from_cold(samples: Samples, frames: Iterator[Frame]) -> None:
    samples.case.look(next(frames))
    _turn(samples, frames)
