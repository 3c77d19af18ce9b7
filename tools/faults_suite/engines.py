"""The engine's thread hangs, or is killed, while it has a part: that part is never OK, every part is answered in time,
and the line goes on with engines that were opened anew."""

from __future__ import annotations

import time
from pathlib import Path

from edge.bus.camera import Camera
from edge.daemon.supervisor import MOST_REPLACED
from edge.records import Evaluation
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import GOOD, Ear, camera_on, listening, overdue_ms

DEADLINE_MS, LATE_MS, HANG_MS = 60.0, 20.0, 150
AGAIN_S, STOP_S = 10.0, 15.0
BEHIND = 2  # frames that wait behind the one in the engine
BOUND = "none OK of those in the engine, each answered within its deadline + 20 ms, stops within 15 s"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    times, bounds = scale.of(2, 20, 50), Bounds()
    overdue: list[float] = []
    stopped = 0.0
    for first in range(0, times, MOST_REPLACED):  # more often, and the daemon ends, as it should
        station = Station(models, folder / str(first), f"[limits]\nhang_ms = {HANG_MS}\n", injected=True)
        with running(station), listening(station) as ear, camera_on(station) as camera:
            for number in range(first, min(times, first + MOST_REPLACED)):
                overdue += _strike(station, ear, camera, "die" if number % 2 else "hang", bounds)
                say(f"{number + 1} of {times}: answered {overdue[-1]:+.1f} ms from the deadline")
            heard = ear.verdicts()
            bounds.hold(len(heard) == camera.sent, f"{camera.sent} frames, {len(heard)} verdicts")
            if first + MOST_REPLACED >= times:  # of the last one: stopping takes its time
                station.tell("hang")
            camera.send(GOOD, "while it stops")
            time.sleep(0.03)
            code, seconds = station.stop()
            ear.wait_for(camera.sent, 2)
            bounds.hold(len(ear.heard) == camera.sent, "the frame that was in a hung engine at SIGTERM has no verdict")
            bounds.hold(code == 0 and seconds <= STOP_S, f"SIGTERM: {code} after {seconds:.1f} s with hung engines")
            stopped = max(stopped, seconds)
    worst = max(overdue)
    bounds.hold(worst <= LATE_MS, f"answered {worst:.1f} ms after the deadline")
    return Outcome(
        f"{times} times, a hang and a death in turn",
        f"last answered {worst:+.1f} ms from the deadline; stopped within {stopped:.1f} s",
        BOUND,
        bounds.missed,
        {"overdue_ms": worst, "stop_s": stopped},
    )


def _strike(station: Station, ear: Ear, camera: Camera, how: str, bounds: Bounds) -> list[float]:
    """Milliseconds from each part's deadline to its answer."""
    before = len(ear.heard)
    station.tell(how)
    for number in range(1 + BEHIND):
        camera.send(GOOD, f"{how} {camera.sent}", deadline_ms=DEADLINE_MS)
        if not number:
            time.sleep(0.005)  # the first is in the engine now
    bounds.hold(ear.wait_for(before + 1 + BEHIND, 5), f"a part has no answer 5 s after a {how}")
    heard = sorted(ear.verdicts()[before:], key=lambda entry: entry[1].frame_seq or 0)
    bounds.hold(not heard or heard[0][1].evaluation != Evaluation.OK, f"OK for the part that was in the engine: {how}")
    until = time.monotonic() + AGAIN_S
    while time.monotonic() < until:
        before = len(ear.heard)
        camera.send(GOOD, f"again {camera.sent}")
        ear.wait_for(before + 1, AGAIN_S)
        if ear.verdicts()[-1][1].evaluation == Evaluation.OK:
            break
        time.sleep(0.02)
    else:
        bounds.hold(False, f"no OK within {AGAIN_S:g} s after a {how}")
    return [overdue_ms(verdict) for _, verdict in heard]
