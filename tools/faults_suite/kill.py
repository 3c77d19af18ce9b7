"""SIGKILL at any moment: no durable verdict is lost, none is doubled, and the line is soon ready again."""

from __future__ import annotations

import random
import time
from pathlib import Path
from threading import Event, Thread

import msgspec

from edge.bus.follow import follow
from edge.errors import EdgeError
from edge.journal.entries import Lost
from edge.journal.reader import read_records
from edge.journal.verify import verify_journal
from edge.records import PartVerdict, Verdict
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale, percentile
from tools.faults_suite.station import NAME, Station
from tools.faults_suite.traffic import GOOD, Ear, camera_on

READY_S = 5.0
BOUND = "no durable verdict lost or doubled, none missed by a follower, ready again within 5 s at p99"


class Follower(Thread):
    """The reference subscriber that misses nothing, from the first position on."""

    def __init__(self, station: Station) -> None:
        super().__init__(daemon=True)
        self.entries: list[Verdict | PartVerdict | Lost] = []
        self.error = ""
        self.stopping = Event()
        self._station = station

    def run(self) -> None:
        try:
            for entry in follow(self._station.verdicts, self._station.replay, NAME, since=0):
                if isinstance(entry, Verdict | PartVerdict | Lost):
                    self.entries.append(entry)
                elif self.stopping.is_set():
                    return
        except EdgeError as error:
            self.error = str(error)


class Feeder(Thread):
    """A camera that never rests, as fast as the daemon takes its frames but no faster than 200 a second."""

    def __init__(self, station: Station) -> None:
        super().__init__(daemon=True)
        self.stopping = Event()
        self._station = station

    def run(self) -> None:
        with camera_on(self._station) as camera:
            while not self.stopping.wait(0.005):
                camera.send(GOOD, f"t{camera.sent}")


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    draw, times = random.Random(7), scale.of(3, 20, 200)
    station = Station(models, folder, f'[journal]\nfolder = "journal"\nreplay = "ipc://{folder}/replay"\n')
    bounds, ready = Bounds(), [station.start()]
    ear, follower, feeder = Ear(station), Follower(station), Feeder(station)
    for thread in (ear, follower, feeder):
        thread.start()
    try:
        for number in range(times):
            time.sleep(draw.uniform(0, 0.5))
            station.kill()
            if number % 4 == 3:  # while it starts, too
                station.launch()
                time.sleep(draw.uniform(0, max(ready)))
                station.kill()
            ready.append(station.start())
            say(f"{number + 1} of {times}: ready after {ready[-1]:.2f} s")
        time.sleep(1.5)
        feeder.stopping.set()
        feeder.join()
        ear.quiet(0.5)
        time.sleep(1.0)
        follower.stopping.set()
        follower.join(5)
        code, _ = station.stop()
        bounds.hold(code == 0, f"it ended with {code} on SIGTERM: {station.last_words()}")
    finally:
        follower.stopping.set()
        feeder.stopping.set()
        ear.stop()
        station.kill()
    journal, durable = _compare(station, ear, follower, bounds)
    took = percentile(ready, 99)
    bounds.hold(took <= READY_S, f"ready again only after {took:.2f} s at p99")
    return Outcome(
        f"{times} kills",
        f"{durable} durable verdicts heard, {journal} in the journal, ready p99 {took:.2f} s",
        BOUND,
        bounds.missed,
        {"durable": durable, "journal": journal, "ready_p99_s": took},
    )


def _compare(station: Station, ear: Ear, follower: Follower, bounds: Bounds) -> tuple[int, int]:
    """What was heard and followed against what is kept; how many are kept, and were heard as durable."""
    kept = {record.number: record.body for record in read_records(station.journal)}
    verdicts = [msgspec.msgpack.decode(body, type=Verdict) for body in kept.values()]
    heard = [(verdict, body) for (_, verdict), (*_, body) in zip(ear.verdicts(), ear.heard, strict=True)]
    lost = [verdict for verdict, body in heard if verdict.durable and kept.get(verdict.journal or 0) != body]
    bounds.hold(not lost, f"{len(lost)} durable verdicts are not in the journal, {lost[0].verdict_id if lost else ''}")
    names = {verdict.verdict_id for verdict in verdicts}
    frames = {(verdict.camera, verdict.frame_session, verdict.frame_seq) for verdict in verdicts}
    bounds.hold(len(names) == len(kept), f"{len(kept) - len(names)} verdicts stand twice in the journal")
    bounds.hold(len(frames) == len(kept), f"{len(kept) - len(frames)} frames have two verdicts in the journal")
    followed = [entry.journal for entry in follower.entries if not isinstance(entry, Lost)]
    bounds.hold(not follower.error, f"the follower ended: {follower.error}")
    bounds.hold(followed == list(kept), f"the follower has {len(followed)} of {len(kept)} in order")
    faults = verify_journal(station.journal).faults
    bounds.hold(not faults, f"the journal has {len(faults)} faults: {faults[:1]}")
    return len(kept), sum(verdict.durable for verdict, _ in heard)
