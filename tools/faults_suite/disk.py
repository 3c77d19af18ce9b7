"""Each of the journal's calls to the disk fails, once, three times, or for a while: no crash, what was published as
durable is kept, what could not be kept is not OK, and the journal's state is published within a second."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from time import perf_counter_ns

from edge.bus.camera import Camera
from edge.bus.verdicts import read_verdict
from edge.journal.reader import read_records
from edge.journal.verify import verify_journal
from edge.records import Evaluation
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.station import NAME, Station, running
from tools.faults_suite.traffic import GOOD, Ear, camera_on, listening

STATE_S, BACK_S = 1.0, 3.0
SHOWS_S = 0.05  # a fast line's disk fails after its verdicts have left
FOR_EVER = 1 << 40
OK = f"verdict/{NAME}/dark/{int(Evaluation.OK)}".encode()
BOUND = "no crash, nothing durable lost, nothing unsure OK, state published within 1 s"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    bounds, told, strikes = Bounds(), list[float](), 0
    lasting = scale.of((1, FOR_EVER), (1, 3, FOR_EVER), (1, 2, 3, 10, FOR_EVER))
    modes = scale.of(("durable",), ("durable", "fast"), ("durable", "fast"))
    for mode in modes:
        station = Station(models, folder / mode, f'[journal]\nfolder = "journal"\nmode = "{mode}"\n', injected=True)
        with running(station), listening(station, "verdict", "journal") as ear, camera_on(station) as camera:
            for number in (errno.ENOSPC, errno.EIO):
                for nth in range(1, scale.of(4, 13, 40)):
                    for count in lasting if nth < 8 else lasting[:-1]:  # that which lasts has struck all kinds by then
                        told += _strike(station, ear, camera, bounds, nth, count, number)
                        strikes += 1
                say(f"{mode}: each of the calls failed with {errno.errorcode[number]}, {strikes} times so far")
            ear.quiet(1.2, 3)
            code, _ = station.stop()
            bounds.hold(code == 0, f"{mode}: it ended with {code}: {station.last_words()}")
        _compare(station, ear, bounds, mode)
    slowest = max(told, default=0.0)
    bounds.hold(slowest <= STATE_S, f"the journal's state was published only after {slowest:.2f} s")
    return Outcome(
        f"{strikes} times, the 1st to the {scale.of(4, 13, 40) - 1}th call, {' and '.join(modes)}",
        f"state published within {1000 * slowest:.0f} ms",
        BOUND,
        bounds.missed,
        {"strikes": strikes, "state_s": slowest},
    )


def _strike(
    station: Station, ear: Ear, camera: Camera, bounds: Bounds, nth: int, count: int, number: int
) -> list[float]:
    """Seconds from the strike to the journal's state `failing`; none where the failure never showed."""
    where = f"{errno.errorcode[number]} at call {nth}, {'for a while' if count == FOR_EVER else f'{count} in a row'}"
    first = len(ear.heard)
    calls, began = station.tell("disk", nth=nth, count=count, number=number), 0
    until = time.monotonic() + (0.3 if count == FOR_EVER else 2.0)
    while time.monotonic() < until and station.alive():
        struck = station.tell("none") - calls >= nth
        began = began or (perf_counter_ns() if struck else 0)
        if struck and count < FOR_EVER:
            break
        _one_part(ear, camera)
    station.tell("disk")
    time.sleep(SHOWS_S)
    bounds.hold(_writes_again(ear, camera), f"{where}: not written {BACK_S:g} s after the disk was sound: {number}")
    bounds.hold(station.alive(), f"{where}: the daemon ended: {station.last_words()}")
    failing = [when for when, topic, _ in ear.heard[first:] if topic.endswith(b"/failing")]
    refused = [when for when, v in ear.verdicts() if v.reason == "not_journaled" and when >= ear.heard[first][0]]
    bounds.hold(bool(failing) or not refused, f"{where}: verdicts are refused, and no state says why")
    return [max(0, failing[0] - min(refused, default=failing[0])) / 1e9] if failing else []


def _one_part(ear: Ear, camera: Camera) -> None:
    """Its verdict is heard, whatever else is said meanwhile."""
    before, until = len(ear.heard), time.monotonic() + 2
    camera.send(GOOD, f"t{camera.sent}")
    while time.monotonic() < until:
        if any(topic.startswith(b"verdict/") for _, topic, _ in ear.heard[before:]):
            return
        time.sleep(0.001)


def _writes_again(ear: Ear, camera: Camera) -> bool:
    until = time.monotonic() + BACK_S
    while time.monotonic() < until:
        _one_part(ear, camera)
        topics = [topic for _, topic, _ in ear.heard[-20:]]
        states = [topic for topic in topics if topic.startswith(b"journal/")]
        passed = [topic for topic in topics if topic.startswith(b"verdict/")][-1:] == [OK]
        if passed and (not states or states[-1].endswith(b"/writing")):
            return True
        time.sleep(0.02)
    return False


def _compare(station: Station, ear: Ear, bounds: Bounds, mode: str) -> None:
    """What was published against what is kept: all of it, byte for byte, where nothing was dropped for want of room."""
    kept = {record.number: record.body for record in read_records(station.journal)}
    bodies = [body for _, topic, body in ear.heard if topic.startswith(b"verdict/")]
    heard = [read_verdict(body) for body in bodies]
    frames = [verdict.frame_seq for verdict in heard]
    bounds.hold(len(frames) == len(set(frames)), f"{mode}: a frame has two verdicts")
    lost = sum(kept.get(v.journal or 0) != body for v, body in zip(heard, bodies, strict=True))
    bounds.hold(not lost, f"{mode}: {lost} of {len(heard)} published verdicts are not in the journal as they were")
    unsure = [v for v in heard if mode == "durable" and v.evaluation == Evaluation.OK and not v.durable]
    bounds.hold(not unsure, f"{len(unsure)} verdicts are OK and not durable")
    faults = verify_journal(station.journal).faults
    bounds.hold(not faults, f"{mode}: the journal has {len(faults)} faults: {faults[:1]}")
