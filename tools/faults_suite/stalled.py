"""Twenty subscribers that do not read: the others hear as soon as before, and the daemon's memory has an end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bus.camera import Camera
from edge.bus.verdicts import UNREAD
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale, percentile
from tools.faults_suite.station import ROOT, Station, running
from tools.faults_suite.traffic import GOOD, Ear, camera_on, listening, round_trips

SUBSCRIBERS, GROWTH_MB, SLOWER, NOISE_MS = 20, 64.0, 1.10, 0.1
BOUND = f"p99 from sent to heard + 10 % (or {NOISE_MS:g} ms), memory + {GROWTH_MB:g} MB"
STALL = """
import sys, zmq
context = zmq.Context()
sockets = [context.socket(zmq.SUB) for _ in range(int(sys.argv[2]))]
for socket in sockets:
    socket.rcvhwm = 1
    socket.connect(sys.argv[1])
    socket.subscribe(b"")
print("there", flush=True)
sys.stdin.read()
context.destroy(0)
"""


@contextmanager
def stalled(station: Station) -> Iterator[None]:
    """They subscribe, and never receive."""
    command = [sys.executable, "-c", STALL, station.verdicts, str(SUBSCRIBERS)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as child:
        assert child.stdin and child.stdout
        child.stdout.readline()
        time.sleep(0.5)
        try:
            yield
        finally:
            child.kill()


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    bounds, alone, beside = Bounds(), list[float](), list[float]()
    turns, frames = scale.of((2, 150), (6, 300), (20, 2000))
    flood = scale.of(2000, 2 * UNREAD, 10 * UNREAD)
    station = Station(models, folder, "[limits]\nframes_per_s = 1\n")  # told off unseen: a verdict costs little
    quick = Station(models, folder / "quick")
    with running(quick), camera_on(quick) as camera:
        round_trips(quick, camera, 100)
        for number in range(turns):  # in turns, so that the machine's mood hits both alike
            alone.append(percentile(round_trips(quick, camera, frames), 99))
            with stalled(quick):
                round_trips(quick, camera, 300)  # until they are full
                beside.append(percentile(round_trips(quick, camera, frames), 99))
            say(f"turn {number + 1} of {turns}: p99 {alone[-1]:.2f} ms alone, {beside[-1]:.2f} ms beside the stalled")
    with running(station), listening(station) as ear, camera_on(station) as camera:
        _flood(ear, camera, 1000)
        usual = station.resident_mb()
        with stalled(station):
            for number in range(0, flood, 2000):
                _flood(ear, camera, 2000)
                say(f"{number + 2000} of {flood} verdicts nobody reads: {station.resident_mb() - usual:+.0f} MB")
            grown = station.resident_mb() - usual
        code, seconds = station.stop()
        bounds.hold(code == 0 and seconds < 15, f"it ended with {code} after {seconds:.1f} s")
        bounds.hold(len(ear.heard) == camera.sent, f"{camera.sent} frames, {len(ear.heard)} verdicts")
    before, after = percentile(alone, 50), percentile(beside, 50)  # of the turns'
    # A few turns tell no more than how far turns alone lie apart on a machine that does other things too.
    spread = max(alone) if scale is not Scale.HOUR else 0.0
    bounds.hold(after <= max(before * SLOWER, before + NOISE_MS, spread), f"p99 {before:.2f} ms became {after:.2f} ms")
    bounds.hold(grown <= GROWTH_MB, f"memory grew by {grown:.0f} MB over {flood} verdicts")
    return Outcome(
        f"{SUBSCRIBERS} subscribers, {turns * frames} frames timed with and without, {flood} verdicts unread",
        f"p99 {before:.2f} -> {after:.2f} ms, memory {grown:+.0f} MB",
        BOUND,
        bounds.missed,
        {"p99_before_ms": before, "p99_after_ms": after, "grown_mb": grown, "unread": flood},
    )


def _flood(ear: Ear, camera: Camera, frames: int) -> None:
    due = len(ear.heard) + frames
    for number in range(frames):
        camera.send(GOOD, f"t{camera.sent}")
        if number % 50 == 0:
            ear.wait_for(due - frames + number - 500, 5)
    ear.wait_for(due, 30)
