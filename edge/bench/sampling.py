"""The timing itself: warm up until steady, then take turns, so that a drift of the machine hits all cases alike."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import monotonic, perf_counter_ns

import numpy as np

from edge.bench.load import Case
from edge.bench.open_loop import Serve, Served, in_turn
from edge.bench.scenarios import TURN, Instants, Plan, Scenario, frames_a_turn, longest_queue, segment, started_late
from edge.bench.statistics import steady
from edge.errors import EdgeError, EngineError
from edge.records import Frame

# In closed loops a turn is TURN frames; the first of one, on cold caches, is not counted.
WINDOW, MOST_WINDOWS, WARM_UP_S = 10, 30, 10.0
AT_ONCE = 64  # frames that are given to a daemon at once where all are at hand
BATCHES, BATCH_RUNS = (1, 2, 4, 8, 16, 32), 3
LEAD_NS = 2_000_000  # before a schedule's first arrival
SINGLE = Plan()


@dataclass
class Samples:
    """One case's timings: nanoseconds per stage, one value a frame. at: when each frame began, nanoseconds of the
    monotonic clock. why: set where it could not go on. interrupted: by Ctrl-C.

    `latency` is a stage of open loops (from the scheduled arrival to done), of multi stream (a query's last frame) and
    of the bus. rate: frames a second that came; 0 in closed loops. missed: frames that began after the next arrival, or
    never. lost: those without a verdict; refused: those that a daemon could not decide, detail: why, of the first.
    queue: the most frames that waited. throughput: frames a second, the draining of queues included. batch: frames at
    once.
    """

    case: Case
    warm_up: int = 0
    steady: bool = False
    frames: int = 0
    stages: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    at: list[int] = field(default_factory=list)
    why: str = ""
    interrupted: bool = False
    scenario: Scenario = "single"
    rate: float = 0.0
    missed: int = 0
    lost: int = 0
    refused: int = 0
    detail: str = ""
    queue: int = 0
    throughput: float = 0.0
    batch: int = 1
    turns: int = 0
    elapsed_ns: int = 0
    offered_ns: int = 0

    @property
    def rate_kept(self) -> bool:
        """Did the frames take no longer than the schedule gave them? If not, the queue grows for as long as it runs."""
        return not self.rate or sum(self.stages.get("frame", ())) <= self.offered_ns

    def add(self, one: Served) -> None:
        for stage, spent in one.times.items():
            self.stages[stage].append(spent)
        self.at.append(one.began)
        self.frames += 1
        if one.refused:
            self.refused += 1
            self.detail = self.detail or one.refused

    def took(self, elapsed_ns: int) -> None:
        self.elapsed_ns += elapsed_ns
        shown = self.frames * self.case.at_once
        self.throughput = shown / (self.elapsed_ns / 1e9) if self.elapsed_ns > 0 else 0.0


@dataclass(frozen=True)
class Budget:
    """Ends once every case had `runs` frames or `seconds` have passed, whichever comes first; a case's warm-up after
    `warm_up_s` at the latest."""

    runs: float
    seconds: float
    warm_up_s: float = WARM_UP_S


Turn = Callable[[Samples, Iterator[Frame]], None]


def take(
    cases: list[Case], frames: list[Frame], budget: Budget, tell: Callable[[str, float], None], plan: Plan = SINGLE
) -> list[Samples]:
    """Time the cases beside each other. tell: what is being done and the share that is done, 0..1.

    A case that fails keeps what it had, says why, and leaves the others alone. Ctrl-C ends the run; what was measured
    until then is kept.
    """
    rate = plan.rate if plan.open_loop else 0.0
    taken = [
        (Samples(case, why=case.why, scenario=plan.scenario, rate=rate), itertools.cycle(frames)) for case in cases
    ]
    try:
        _measure(taken, budget, tell, plan)
    except KeyboardInterrupt:
        for samples, _ in taken:
            samples.interrupted = True
            if not samples.frames and not samples.why:
                samples.why = "stopped before it was measured"
    return [samples for samples, _ in taken]


def _measure(
    taken: Sequence[tuple[Samples, Iterator[Frame]]], budget: Budget, tell: Callable[[str, float], None], plan: Plan
) -> None:
    for samples, source in taken:
        tell(f"warming up {samples.case.name}", 0.0)
        _guarded(partial(_warm_up, budget.warm_up_s), samples, source)
        if plan.scenario == "offline":
            _guarded(_best_batch, samples, source)
    began = monotonic()
    while going := [pair for pair in taken if not pair[0].why]:
        alone = len(going) == 1
        turn = _turn_of(plan, frames_a_turn(plan, alone, budget.runs, budget.seconds))
        for samples, source in going:
            _guarded(turn if alone else partial(_from_cold, turn), samples, source)
        share = max((monotonic() - began) / budget.seconds, min(s.frames for s, _ in going) / budget.runs)
        tell("measuring", min(1.0, share))
        if share >= 1.0:
            break


def _guarded(work: Turn, samples: Samples, frames: Iterator[Frame]) -> None:
    if not samples.why:
        try:
            work(samples, frames)
        except EdgeError as error:
            samples.why = str(error)


def _warm_up(most_s: float, samples: Samples, frames: Iterator[Frame]) -> None:
    """Windows of ten frames until three medians agree, or the cap."""
    ends = monotonic() + most_s
    windows: list[float] = []
    while not steady(windows) and len(windows) < MOST_WINDOWS and monotonic() < ends:
        windows.append(median(samples.case.look(next(frames))["frame"] for _ in range(WINDOW)))
    samples.warm_up, samples.steady = WINDOW * len(windows), steady(windows)


def _turn_of(plan: Plan, frames: int) -> Turn:
    """frames: of an open loop's turn."""
    if plan.open_loop:
        return partial(_segment, plan, frames)
    if plan.scenario == "multi":
        return partial(_queries, plan.cameras)
    return _offline if plan.scenario == "offline" else _single


def _from_cold(turn: Turn, samples: Samples, frames: Iterator[Frame]) -> None:
    samples.case.look(next(frames))
    turn(samples, frames)


def _serve(case: Case) -> Serve:
    return case.serve or in_turn(case.look)


def _single(samples: Samples, frames: Iterator[Frame]) -> None:
    if samples.case.serve:
        _queries(1, samples, frames)
    else:
        _one_after_the_other(samples, frames)


def _one_after_the_other(samples: Samples, frames: Iterator[Frame]) -> None:
    started = perf_counter_ns()
    for _ in range(TURN):
        began = perf_counter_ns()
        for stage, spent in samples.case.look(next(frames)).items():
            samples.stages[stage].append(spent)
        samples.at.append(began)
        samples.frames += 1
    samples.took(perf_counter_ns() - started)


def _queries(cameras: int, samples: Samples, frames: Iterator[Frame]) -> None:
    """As many frames at once, the next ones once all are done. latency: one value a query."""
    for _ in range(TURN):
        began, served = _at_once(cameras, samples, frames)
        if len(served) == cameras:
            samples.stages["latency"].append(max(one.done for one in served) - began)


def _at_once(count: int, samples: Samples, frames: Iterator[Frame]) -> tuple[int, list[Served]]:
    """When they were given, and what came of them."""
    shown = [next(frames) for _ in range(count)]
    began = perf_counter_ns()
    served = []
    for one in _serve(samples.case)(shown, [began] * count):
        samples.add(one)
        served.append(one)
    samples.lost += count - len(served)
    samples.took(perf_counter_ns() - began)
    return began, served


def _best_batch(samples: Samples, _: Iterator[Frame]) -> None:
    """The batch that gives most frames a second; a graph made for one size takes no other, and that is no failure."""
    if samples.case.batch is None:
        return
    best = 0.0
    for size in BATCHES:
        run = samples.case.batch(size)
        try:
            run()  # engines set themselves up for a shape they have not met
            rate = size / min(_spent(run) for _ in range(BATCH_RUNS))
        except EngineError:
            return
        if rate > best:
            best, samples.batch = rate, size


def _spent(run: Callable[[], None]) -> int:
    began = perf_counter_ns()
    run()
    return max(1, perf_counter_ns() - began)


def _offline(samples: Samples, frames: Iterator[Frame]) -> None:
    """All frames at hand. Where several run at once, `frame` is a frame's share of its batch, one value a batch."""
    if samples.case.serve:
        _at_once(AT_ONCE, samples, frames)
    elif samples.case.batch is None:
        _one_after_the_other(samples, frames)
    else:
        run = samples.case.batch(samples.batch)
        for _ in range(TURN):
            began = perf_counter_ns()
            run()
            spent = perf_counter_ns() - began
            samples.stages["frame"].append(spent // samples.batch)
            samples.at.append(began)
            samples.frames += samples.batch
            samples.took(spent)


def _segment(plan: Plan, frames: int, samples: Samples, source: Iterator[Frame]) -> None:
    """A turn of an open loop. Its queue is empty in the end, so that no case waits for another's frames."""
    schedule = segment(plan, samples.turns, frames)
    samples.turns += 1
    instants = schedule + (perf_counter_ns() + LEAD_NS)
    arrivals = instants[:-1].tolist()
    shown = list(itertools.islice(source, len(arrivals)))
    served: list[Served] = []
    latency = samples.stages["latency"]
    try:
        for one in _serve(samples.case)(shown, arrivals):
            samples.add(one)
            latency.append(one.done - one.arrived)
            served.append(one)
        left = len(arrivals) - len(served)
        if samples.case.serve:
            samples.lost += left
        else:
            samples.missed += left
    finally:
        _account(samples, instants, served)


def _account(samples: Samples, instants: Instants, served: list[Served]) -> None:
    """What a turn's frames tell together, whether or not all of them were served."""
    if not served:
        return
    came = max(one.number for one in served) + 1  # in order, but for those that are lost
    began = np.array([one.began for one in served], np.int64)
    own = np.array([one.number for one in served], np.int64)
    samples.missed += started_late(instants, own, began)
    samples.queue = max(samples.queue, longest_queue(instants, began))
    samples.offered_ns += int(instants[came] - instants[0])
    samples.took(int(max(instants[came], max(one.done for one in served)) - instants[0]))
