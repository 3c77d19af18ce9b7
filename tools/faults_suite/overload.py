"""More frames than the engines can do: each has its verdict, none is OK after its deadline, memory stays, and once it
is over the line is as before."""

from __future__ import annotations

import time
from pathlib import Path

from edge.bus.camera import Camera
from edge.records import Evaluation
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import GOOD, Ear, camera_on, listening, overdue_ms, send_for

SLOW_S = 0.02  # a frame in the engine, as of a line of real networks: some 45 frames a second
DEADLINE_MS, LATE_MS = 200.0, 20.0
GROWTH, BACK_S = 1.10, 5.0
BOUND = "a verdict each, no OK past its deadline, memory + 10 %, normal within 5 s"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    seconds, bounds, figures = scale.of(1.0, 8.0, 60.0), Bounds(), dict[str, float]()
    station = Station(models, folder, injected=True)
    with running(station), listening(station) as ear, camera_on(station) as camera:
        station.tell("slow", value=SLOW_S)
        capacity = _capacity(ear, camera)
        send_for(camera, 1.0, 0.9 * capacity, DEADLINE_MS)
        ear.quiet(0.3)
        usual = station.resident_mb()
        for factor in (2, 5, 10):
            before = len(ear.heard)
            sent = send_for(camera, seconds, factor * capacity, DEADLINE_MS)
            peak = station.resident_mb()
            ear.wait_for(before + len(sent), 10)
            late = _late(ear, sent, before, bounds, factor)
            back = _back(ear, camera, capacity)
            kept = len(sent) / seconds / capacity
            say(f"{factor} times: {len(sent)} frames ({kept:.1f} times), {peak:.0f} MB, normal after {back:.1f} s")
            bounds.hold(kept > 0.9 * factor, f"only {kept:.1f} times could be sent of {factor}")
            bounds.hold(peak <= usual * GROWTH, f"{factor} times: {peak:.0f} MB, {usual:.0f} before")
            bounds.hold(back <= BACK_S, f"{factor} times: not back to normal after {back:.1f} s")
            figures |= {f"frames_{factor}": len(sent), f"peak_mb_{factor}": peak, f"back_s_{factor}": back}
            figures[f"latest_ms_{factor}"] = late
        code, took = station.stop()
        bounds.hold(code == 0, f"it ended with {code} after {took:.1f} s")
    most = max(figures[f"peak_mb_{factor}"] for factor in (2, 5, 10))
    return Outcome(
        f"2, 5, 10 times {capacity:.0f} frames/s, {seconds:g} s each",
        f"{sum(int(figures[f'frames_{f}']) for f in (2, 5, 10))} frames, memory {usual:.0f} to {most:.0f} MB, "
        f"normal after {max(figures[f'back_s_{f}'] for f in (2, 5, 10)):.1f} s, "
        f"OK at most {max(figures[f'latest_ms_{f}'] for f in (2, 5, 10)):+.1f} ms from the deadline",
        BOUND,
        bounds.missed,
        figures | {"capacity": capacity, "usual_mb": usual},
    )


def _capacity(ear: Ear, camera: Camera, frames: int = 40) -> float:
    """Frames a second, one after the other."""
    began = time.monotonic()
    for _ in range(frames):
        before = len(ear.heard)
        camera.send(GOOD, f"t{camera.sent}")
        ear.wait_for(before + 1, 5)
    return frames / (time.monotonic() - began)


def _late(ear: Ear, sent: list[int], before: int, bounds: Bounds, factor: int) -> float:
    """Milliseconds from the deadline to the last OK in the subscriber's hands."""
    heard = ear.verdicts()[before:]
    numbers = sorted(verdict.frame_seq or 0 for _, verdict in heard)
    bounds.hold(len(heard) == len(sent), f"{factor} times: {len(sent)} frames, {len(heard)} verdicts")
    bounds.hold(len(set(numbers)) == len(numbers), f"{factor} times: a frame has two verdicts")
    made = [v for _, v in heard if v.evaluation == Evaluation.OK and v.t_verdict_ns > (v.deadline_ns or 0)]
    bounds.hold(not made, f"{factor} times: {len(made)} OK made after the deadline")
    first = numbers[0] if numbers else 0
    over = [
        (when - sent[(v.frame_seq or 0) - first]) / 1e6 - DEADLINE_MS
        for when, v in heard
        if v.evaluation == Evaluation.OK and (v.frame_seq or 0) - first < len(sent)
    ]
    latest = max(over, default=-DEADLINE_MS)
    bounds.hold(latest <= LATE_MS, f"{factor} times: an OK came {latest:.1f} ms after the deadline")
    answered = max((overdue_ms(v) for _, v in heard), default=0.0)
    bounds.hold(answered <= LATE_MS, f"{factor} times: a part was answered {answered:.1f} ms after its deadline")
    return latest


def _back(ear: Ear, camera: Camera, capacity: float) -> float:
    """Seconds until ten frames at the line's pace are OK one after the other."""
    began = time.monotonic()
    while time.monotonic() - began < 2 * BACK_S:
        before = len(ear.heard)
        send_for(camera, 10 / (capacity / 2), capacity / 2, DEADLINE_MS)
        ear.quiet(0.1)
        if all(verdict.evaluation == Evaluation.OK for _, verdict in ear.verdicts()[before:]):
            return time.monotonic() - began
    return time.monotonic() - began
