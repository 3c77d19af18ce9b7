"""The box's clock stepped by an hour: deadlines stay where they were. (Its daemon and its camera are told another time;
the machine's own clock stays as it is.)"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns

from edge.bus.camera import Camera
from edge.records import Evaluation
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import GOOD, Ear, camera_on, listening

HOUR_S = 3600.0
SLOW_S, SHORT_MS, LONG_MS = 0.1, 50.0, 400.0
EARLY_MS, LATE_MS = 1.0, 20.0
BOUND = "late at the deadline, not before it and at most 20 ms after it; in time is OK"


@contextmanager
def stamped(ahead_s: float) -> Iterator[None]:
    """This process's camera stamps by a clock that is so far ahead."""
    real = time.time_ns
    time.time_ns = lambda: real() + int(ahead_s * 1e9)
    try:
        yield
    finally:
        time.time_ns = real


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    bounds, off = Bounds(), list[float]()
    station = Station(models, folder, injected=True)
    steps = [HOUR_S, -HOUR_S] * scale.of(1, 5, 50)
    with running(station), listening(station) as ear, camera_on(station) as camera:
        station.tell("slow", value=SLOW_S)
        now = 0.0
        for number, ahead in enumerate(step for hour in steps for step in (hour, 0.0)):
            station.tell("clock", value=ahead)
            for stamp, said in ((now, "before"), (ahead, "after")):  # the step is between stamp and receipt, or not
                with stamped(stamp):
                    off.append(_ask(ear, camera, bounds, f"a stamp made {said} a step to {ahead:+g} s"))
            now = ahead
            say(f"step {number + 1} of {2 * len(steps)}: late {off[-1]:+.1f} ms from the deadline")
    worst, soonest = max(off), min(off)
    bounds.hold(worst <= LATE_MS, f"late is told {worst:.1f} ms after the deadline")
    bounds.hold(soonest >= -EARLY_MS, f"late is told {-soonest:.1f} ms before the deadline")
    return Outcome(
        f"{2 * len(steps)} steps",
        f"late told {soonest:+.1f} to {worst:+.1f} ms from the deadline",
        BOUND,
        bounds.missed,
        {"soonest_ms": soonest, "latest_ms": worst},
    )


def _ask(ear: Ear, camera: Camera, bounds: Bounds, what: str) -> float:
    """One frame that has time enough, one that has not; milliseconds from the latter's deadline to its answer."""
    before = len(ear.heard)
    camera.send(GOOD, f"long {camera.sent}", deadline_ms=LONG_MS)
    ear.wait_for(before + 1, 5)
    sent = perf_counter_ns()
    camera.send(GOOD, f"short {camera.sent}", deadline_ms=SHORT_MS)
    ear.wait_for(before + 2, 5)
    heard = ear.verdicts()[before:]
    told = [(verdict.evaluation, verdict.reason) for _, verdict in heard]
    bounds.hold(told == [(Evaluation.OK, "ok"), (Evaluation.UNDEFINED, "late")], f"{what}: {told}")
    time.sleep(SLOW_S)  # the engines are free again
    return (heard[-1][0] - sent) / 1e6 - SHORT_MS if heard else 0.0
