"""What a verdict costs that is on the disk before it is published, beside one that is published first; and how many a
second this disk takes."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

from edge.bus.camera import at_rate
from edge.config import JournalConfig
from edge.journal.writer import Journal
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale, percentile
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import camera_on, round_trips

DEARER_MS, PER_S = 2.0, 1000.0
AT_ONCE = 10  # verdicts that wait when the disk is done with the ones before
RATE = 100.0
JOURNAL = '[journal]\nfolder = "journal"\nmode = "{mode}"\npictures_mb = 0\n'
BOUND = "durable at most 2 ms dearer at p99 (or what this disk alone takes), 1,000 verdicts a second"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    turns, frames = scale.of((1, 100), (4, 200), (20, 2000))
    waits: dict[str, list[float]] = {"fast": [], "durable": []}
    alone: list[float] = []
    with ExitStack() as stack:
        lines = []
        for mode in waits:
            station = Station(models, folder / mode, JOURNAL.format(mode=mode))
            lines.append((mode, stack.enter_context(running(station)), stack.enter_context(camera_on(station))))
        for number in range(turns):
            for mode, station, camera in lines:
                round_trips(station, camera, 20)
                waits[mode].append(percentile(round_trips(station, camera, frames, RATE), 99))
            alone.append(percentile(_disk_alone(folder / "alone", frames), 99))
            p99 = f"{waits['fast'][-1]:.2f} ms fast, {waits['durable'][-1]:.2f} durable, the disk alone {alone[-1]:.2f}"
            say(f"turn {number + 1} of {turns}: p99 {p99}")
    # The median of the turns: what else uses this disk hits a turn, not all of them.
    fast, durable = percentile(waits["fast"], 50), percentile(waits["durable"], 50)
    disk = percentile(alone, 50)
    rate, bounds = _rate(folder / "rate", scale.of(0.5, 3.0, 60.0)), Bounds()
    bounds.hold(durable - fast <= max(DEARER_MS, disk), f"durable costs {durable - fast:.2f} ms more at p99")
    bounds.hold(rate >= PER_S, f"only {rate:.0f} verdicts a second")
    return Outcome(
        f"{turns} turns of {frames} frames",
        f"p99 {fast:.2f} ms fast, {durable:.2f} durable ({durable - fast:+.2f}), the disk alone {disk:.2f}; "
        f"{rate:.0f} verdicts/s",
        BOUND,
        bounds.missed,
        {"fast_p99_ms": fast, "durable_p99_ms": durable, "disk_p99_ms": disk, "per_s": rate},
    )


def _disk_alone(path: Path, times: int) -> list[float]:
    """Milliseconds of a write and an fdatasync, at the line's pace."""
    took, file = [], os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    for _, _ in zip(range(times), at_rate(RATE), strict=False):
        began = time.perf_counter()
        os.write(file, bytes(1500))
        os.fdatasync(file)
        took.append(1000 * (time.perf_counter() - began))
    os.close(file)
    return took


def _rate(folder: Path, seconds: float) -> float:
    """Verdicts of 1,500 bytes that a journal takes a second, as the daemon commits them under load."""
    journal, began = Journal(folder, "rate", JournalConfig(".")), time.monotonic()
    while time.monotonic() - began < seconds:
        for _ in range(AT_ONCE):
            journal.append(b"verdict/rate/-/1", bytes(1500))
        journal.commit()
    took = time.monotonic() - began
    journal.close()
    return journal.durable / took
