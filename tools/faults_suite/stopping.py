"""SIGTERM in the middle of each fault: the daemon answers what it has and ends within 15 s."""

from __future__ import annotations

import errno
import time
from pathlib import Path

from edge.bus.camera import Camera
from edge.daemon.supervisor import MOST_REPLACED
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.stalled import stalled
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import GOOD, Ear, camera_on, listening

MOST_S = 15.0
JOURNAL = '[journal]\nfolder = "journal"\n'
STATES = ("idle", "overload", "hung engines", "dead disk", "slow disk", "stalled subscribers")


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    bounds, took = Bounds(), dict[str, float]()
    for state in scale.of(("overload", "slow disk"), STATES, STATES):
        station = Station(models, folder / state.replace(" ", ""), "[limits]\nhang_ms = 150\n", JOURNAL, injected=True)
        with running(station), listening(station) as ear, camera_on(station) as camera:
            camera.send(GOOD, "first")
            ear.wait_for(1, 5)
            if state == "stalled subscribers":
                with stalled(station):
                    code, seconds, frames = _stop_in(state, station, ear, camera)
            else:
                code, seconds, frames = _stop_in(state, station, ear, camera)
            ear.quiet(0.3)
        took[state] = seconds
        bounds.hold(code == 0 and seconds <= MOST_S, f"{state}: {code} after {seconds:.1f} s: {station.last_words()}")
        numbers = {verdict.frame_seq for _, verdict in ear.verdicts()}
        bounds.hold(len(numbers) == len(ear.heard), f"{state}: a frame has two verdicts")
        # What is still on its way to the daemon when it stops stays with ZeroMQ; what came in earlier has an answer.
        bounds.hold(len(ear.heard) >= frames, f"{state}: {frames} frames came in, {len(ear.heard)} verdicts")
        say(f"{state}: {seconds:.1f} s, {len(ear.heard)} verdicts for {camera.sent} frames")
    slowest = max(took, key=lambda state: took[state])
    found = f"{took[slowest]:.1f} s at most ({slowest})"
    return Outcome(", ".join(took), found, "ends within 15 s, what came in is answered", bounds.missed, took)


def _stop_in(state: str, station: Station, ear: Ear, camera: Camera) -> tuple[int | None, float, int]:
    """Exit code, seconds, frames that had certainly come in."""
    send = camera.send
    match state:
        case "overload":
            station.tell("slow", value=0.05)
        case "hung engines":
            for number in range(MOST_REPLACED):
                before = len(ear.heard)
                station.tell("hang")
                send(GOOD, f"hang {number}")
                ear.wait_for(before + 1, 5)
                time.sleep(0.7)  # they are opened anew
            station.tell("hang")
        case "dead disk":
            station.tell("disk", nth=1, count=1 << 40, number=errno.EIO)
        case "slow disk":
            station.tell("slow_disk", value=1.0)
    for number in range(0 if state == "idle" else 20):
        send(GOOD, f"last {number}")
    time.sleep(0.05)
    code, seconds = station.stop()
    return code, seconds, camera.sent
