"""A line's real daemon as a child process, a camera and a subscriber: from the scheduled arrival to the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import cast

from edge.bench.child import Child, daemon, wait_ready, write_line
from edge.bench.load import Case, Times
from edge.bench.open_loop import SPIN_NS, Served
from edge.bus.camera import Camera
from edge.bus.verdicts import VerdictInlet, read_verdict
from edge.config import EngineName, Line
from edge.errors import BusError
from edge.records import Evaluation, Frame, Verdict

GREETINGS, GREETING_S = 5, 2.0  # a subscription that has just begun may miss what is published meanwhile
SILENCE_S = 10.0  # what has no verdict by then is lost
CHECK_MS = 200
THROUGH = "through the bus"


@contextmanager
def bus_case(
    line: Line, alone: Case, frames: Sequence[Frame], cameras: int, say: Callable[[str], None]
) -> Iterator[Case]:
    """The line's daemon, ready, on sockets in a temporary folder; both are gone in the end.

    alone: the same line without a bus, whose engine and targets it takes over, and whose graphs where the verdicts name
    the same. say: told what the daemon logs. Raises BusError; Ended with the daemon's exit code and last words.
    """
    with TemporaryDirectory(prefix="edge-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        config = write_line(line, folder, list(line.config.judges), cast(EngineName, alone.name))
        verdicts = stack.enter_context(closing(VerdictInlet(f"ipc://{folder}/verdicts", line.config.line)))
        child, notified = stack.enter_context(daemon(config, folder))
        wait_ready(child, notified, say)
        senders = [Camera(f"ipc://{folder}/frames", line.config.line, f"bench-{number}") for number in range(cameras)]
        for camera in senders:
            stack.callback(camera.close, 0)  # nobody waits for the verdicts of what is unsent then
        bus = Bus(child, senders, verdicts)
        bus.greet(frames[0])
        ran: dict[str, str] = {}
        for frame in frames:
            ran |= bus.ask(frame).graphs
        models = [model for model in alone.models if ran.get(model.manifest.name) == model.runs_on]
        yield replace(alone, name=f"{alone.name} {THROUGH}", level="bus", look=bus.look, serve=bus.serve, models=models)


class Bus:
    """Sends frames when they are due and takes verdicts as they come, in one thread, so that neither waits for a lock.

    cameras: frames that come at once are theirs in turn.
    """

    def __init__(self, child: Child, cameras: Sequence[Camera], verdicts: VerdictInlet) -> None:
        self._child, self._cameras, self._verdicts = child, cameras, verdicts
        self._sent = 0

    def greet(self, frame: Frame) -> None:
        """Until a first verdict comes. Raises BusError."""
        for _ in range(GREETINGS):
            self._send(frame)
            if self._verdicts.poll(int(1000 * GREETING_S)):
                self._verdicts.receive()
                return
            self._child.check()
        raise BusError(f"the daemon gave no verdict within {GREETINGS * GREETING_S:g} s, though it runs")

    def ask(self, frame: Frame) -> Verdict:
        """One frame's verdict. Raises BusError where none comes, Ended where the daemon is gone."""
        trigger, ends = self._send(frame), time.monotonic() + SILENCE_S
        while time.monotonic() < ends:
            if not self._verdicts.poll(CHECK_MS):
                self._child.check()
            elif (verdict := self._verdicts.receive()).trigger_id == trigger:
                return verdict
        raise BusError(f"no verdict within {SILENCE_S:g} s, though the daemon runs")

    def look(self, frame: Frame) -> Times:
        """A frame's times, as a verdict tells them. Raises as `ask` does."""
        return stages(self.ask(frame))

    def serve(self, frames: Sequence[Frame], instants: Sequence[int]) -> Iterator[Served]:
        """See open_loop.Serve. What has no verdict after ten seconds of silence is lost."""
        waiting: dict[str, int] = {}
        sent, last = 0, perf_counter_ns()
        realtime = time.time_ns() - perf_counter_ns()
        while sent < len(instants) or waiting:
            now = perf_counter_ns()
            if sent < len(instants) and now >= instants[sent]:
                waiting[self._send(frames[sent], sent)] = sent
                sent, last = sent + 1, now
                continue
            milliseconds = _patience_ms(instants[sent] - now if sent < len(instants) else None)
            if self._verdicts.poll(milliseconds):
                body, last = self._verdicts.receive_unread(), perf_counter_ns()
                verdict = read_verdict(body)
                index = waiting.pop(verdict.trigger_id or "", None)
                if index is not None:
                    yield _served(verdict, index, instants[index], last, realtime)
            elif milliseconds:
                self._child.check()
                if waiting and perf_counter_ns() - last > SILENCE_S * 1e9:
                    return

    def _send(self, frame: Frame, number: int = 0) -> str:
        trigger = f"{self._sent}"
        self._sent += 1
        self._cameras[number % len(self._cameras)].send(frame.pixels, trigger)
        return trigger


def _patience_ms(left_ns: int | None) -> int:
    """How long to wait for a verdict. left_ns: until the next frame is due; None: there is none."""
    return CHECK_MS if left_ns is None else min(CHECK_MS, max(0, left_ns - SPIN_NS) // 1_000_000)


def _served(verdict: Verdict, index: int, arrived: int, done: int, realtime: int) -> Served:
    """realtime: what time.time_ns is ahead of perf_counter_ns."""
    made = verdict.t_verdict_ns - realtime
    times = stages(verdict) | {"publish": max(0, done - made)}
    lost = verdict.evaluation == Evaluation.UNDEFINED
    refused = f"{verdict.reason}: {verdict.detail}" if lost else ""
    return Served(index, arrived, made - times["frame"], done, times, refused)


def stages(verdict: Verdict) -> Times:
    """A verdict's times under the names that a line's case gives them; `frame` is the daemon's work on it, without what
    it waited for the engines."""
    times = dict(verdict.times_ns)
    if "judge" in times:
        times[f"judge {verdict.surface}"] = times.pop("judge")
    times["frame"] = times.pop("total") - times.get("queue", 0)
    return times
