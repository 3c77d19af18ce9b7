"""When frames come: MLPerf's scenarios and a line's own pace, as pure functions of a seed. No clock, no I/O."""

from __future__ import annotations

from math import ceil
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Scenario = Literal["single", "multi", "server", "offline", "line"]
Instants = NDArray[np.int64]

TURN = 8  # frames, or queries, of one case before the next has its turn
TURN_S, ALONE_S = 0.5, 5.0  # of an open loop: a turn among several cases, and of a case alone


class Plan(msgspec.Struct, frozen=True):
    """How frames come, in the terms of MLPerf inference.

    single: the next once the last is done. multi: one from each of `cameras` at once, the next once all are done.
    server: Poisson arrivals, `rate` frames a second on average. offline: all at hand. line: `rate` frames a second,
    `burst` of them at once, each burst `jitter_ms` (the standard deviation) around its time, in order.
    """

    scenario: Scenario = "single"
    rate: float = 0.0
    jitter_ms: float = 0.0
    burst: int = 1
    cameras: int = 1
    seed: int = 0

    @property
    def open_loop(self) -> bool:
        return self.scenario in ("server", "line")

    @property
    def described(self) -> str:
        return {
            "single": "single stream",
            "multi": f"multi stream, {self.cameras} cameras",
            "server": f"server, Poisson at {self.rate:g} frames/s",
            "offline": "offline",
            "line": f"line at {self.rate:g} frames/s, jitter {self.jitter_ms:g} ms, bursts of {self.burst}",
        }[self.scenario]


def poisson(rate: float, count: int, seed: int | tuple[int, ...]) -> Instants:
    """`(count,)` int64 nanoseconds in order, exponential gaps of 1 / rate seconds on average."""
    gaps = np.random.default_rng(seed).exponential(1e9 / rate, count)
    return np.cumsum(gaps).astype(np.int64)


def paced(rate: float, count: int, seed: int | tuple[int, ...], jitter_ms: float = 0.0, burst: int = 1) -> Instants:
    """`(count,)` int64 nanoseconds in order, `burst` of them at once every burst / rate seconds, none below 0."""
    bursts = ceil(count / burst)
    due = np.arange(bursts) * (burst * 1e9 / rate) + np.random.default_rng(seed).normal(0.0, jitter_ms * 1e6, bursts)
    in_order: NDArray[np.float64] = np.maximum.accumulate(np.maximum(due, 0.0))
    return np.repeat(in_order, burst)[:count].astype(np.int64)


def segment(plan: Plan, number: int, frames: int) -> Instants:
    """The number-th turn of an open loop: at least so many frames, whole bursts of them, the first at 0.

    `(n + 1,)` int64 nanoseconds; the last is no frame, but when the next one would come.
    """
    frames, seed = ceil(frames / plan.burst) * plan.burst, (plan.seed, number)
    if plan.scenario == "server":
        instants = poisson(plan.rate, frames + 1, seed)
    else:
        instants = paced(plan.rate, frames + 1, seed, plan.jitter_ms, plan.burst)
    return np.asarray(instants - instants[0], np.int64)


def frames_a_turn(plan: Plan, alone: bool, runs: float, seconds: float) -> int:
    """Of an open loop: half a second's and at least eight; of a case alone more, for its queue to grow as it would."""
    if not alone:
        return max(TURN, ceil(TURN_S * plan.rate))
    return max(TURN, ceil(min(ALONE_S * plan.rate, runs, seconds * plan.rate)))


def started_late(instants: Instants, index: Instants, began: Instants) -> int:
    """How many frames began after the next arrival. instants: as `segment` gives them; index: which of them began."""
    later = np.searchsorted(instants, instants[index], side="right")
    return int((began > instants[np.minimum(later, len(instants) - 1)]).sum())


def longest_queue(instants: Instants, began: Instants) -> int:
    """The most frames that waited when one began, itself left out. instants: as `segment` gives them."""
    if not len(began):
        return 0
    came = np.searchsorted(instants[:-1], np.sort(began), side="right")
    return int(max(0, (came - np.arange(len(began)) - 1).max()))
