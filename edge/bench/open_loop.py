"""Frames served as they come: wait for each one's instant, run it, say when it came, began and was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns, sleep
from typing import NamedTuple

from edge.records import Frame

SPIN_NS = 1_000_000  # a sleep may last this much longer than it was asked to
DRAIN_NS = 10_000_000_000  # after the last arrival, how long a queue may take to empty


class Served(NamedTuple):
    """One frame: when it was to come, when its work began, when it was done (perf_counter_ns), nanoseconds per stage.

    number: which of those that were given. refused: why nothing was decided, where the daemon says so.
    """

    number: int
    arrived: int
    began: int
    done: int
    times: dict[str, int]
    refused: str = ""


# Frames and their instants on perf_counter_ns, in order; those that are served, as they are.
Serve = Callable[[Sequence[Frame], Sequence[int]], Iterator[Served]]


def wait_until(instant: int) -> None:
    """Until perf_counter_ns has reached it: asleep until a millisecond before, then awake."""
    left = instant - perf_counter_ns()
    if left > SPIN_NS:
        sleep((left - SPIN_NS) / 1e9)
    while perf_counter_ns() < instant:
        pass


def in_turn(look: Callable[[Frame], dict[str, int]]) -> Serve:
    """One after the other, in one lane; the queue is as long as it gets. What has not begun ten seconds after the last
    arrival is left."""

    def serve(frames: Sequence[Frame], instants: Sequence[int]) -> Iterator[Served]:
        ends = instants[-1] + DRAIN_NS
        for index, (frame, instant) in enumerate(zip(frames, instants, strict=True)):
            wait_until(instant)
            began = perf_counter_ns()
            if began > ends:
                return
            times = look(frame)
            yield Served(index, instant, began, perf_counter_ns(), times)

    return serve
