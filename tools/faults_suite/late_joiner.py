"""A subscriber that joins after ten thousand verdicts, while the line goes on: it has all of them within a second."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event, Thread

from edge.bus.follow import follow
from edge.journal.entries import Lost
from edge.records import Alarm
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.station import NAME, Station, running
from tools.faults_suite.traffic import GOOD, camera_on, listening

RATE, MOST_S = 50.0, 1.0


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    verdicts, times, bounds = scale.of(500, 10_000, 10_000), scale.of(2, 5, 20), Bounds()
    journal = f'[journal]\nfolder = "journal"\nmode = "fast"\nreplay = "ipc://{folder}/replay"\n'
    station, took = Station(models, folder, journal), list[float]()
    with running(station), listening(station) as ear, camera_on(station) as camera:
        for number in range(verdicts):
            camera.send(GOOD, f"t{number}")
            ear.wait_for(number - 40, 10)
        ear.wait_for(verdicts, 10)
        going = Event()

        def line() -> None:
            while not going.wait(1 / RATE):
                camera.send(GOOD, f"t{camera.sent}")

        feeder = Thread(target=line, daemon=True)
        feeder.start()
        for _ in range(times):
            time.sleep(0.5)
            now, began, expected = len(ear.heard), time.monotonic(), 0
            for entry in follow(station.verdicts, station.replay, NAME, since=0, timeout_s=5):
                if isinstance(entry, Lost | Alarm) or (entry and entry.journal != expected):
                    bounds.hold(False, f"a gap at {expected}")
                expected += entry is not None
                if expected >= now:
                    break
            took.append(time.monotonic() - began)
            say(f"{expected} verdicts after {took[-1]:.2f} s")
        going.set()
        feeder.join()
    bounds.hold(max(took) <= MOST_S, f"it had them only after {max(took):.2f} s")
    found = f"without a gap after {sorted(took)[len(took) // 2]:.2f} s, {max(took):.2f} s at worst"
    return Outcome(f"{times} over {verdicts}", found, "gap-free within 1 s", bounds.missed, {"worst_s": max(took)})
