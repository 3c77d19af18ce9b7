"""A disk that is slow and sound: who has time to wait for it is not refused because others have none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from edge.bus.verdicts import VerdictInlet, VerdictOutlet
from edge.config import Line, read_line
from edge.daemon.deadline import CaptureClock
from edge.daemon.inspector import Inspector
from edge.daemon.publisher import Publisher
from edge.daemon.ticket import Belt
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Inspection
from edge.records import Evaluation, Verdict
from tests.daemon.tickets import journals_on, ticket
from tests.journal.journals import SlowDisk
from tests.lines import DARK, write_line

SYNC_S = 0.015


class Station:
    """A line's belt and last stage in this process; its engines take `service_s` for a frame and find it OK."""

    def __init__(self, belt: Belt[Inspector], publisher: Publisher, service_s: float) -> None:
        self.belt, self.publisher, self.service_s = belt, publisher, service_s
        self.numbers, self.came, self.stopping = count(), Event(), Event()

    def camera(self, name: str, period_s: float, deadline_ms: float) -> None:
        began = time.perf_counter()
        for place in count(1):
            if self.stopping.is_set():
                return
            self.belt.enter(ticket(next(self.numbers), deadline_ms, name))
            self.came.set()
            time.sleep(max(0.0, began + place * period_s - time.perf_counter()))

    def engines(self) -> None:
        while not self.stopping.is_set() or self.belt.depths()["open"]:
            self._decode()
            engines = self.belt.claim()
            while engines and (tickets := self.belt.take(engines)):
                time.sleep(self.service_s * len(tickets))
                self.publisher.finish([(one, Inspection(Evaluation.OK, "ok", only="dark")) for one in tickets])
                self._decode()
            self.came.wait(0.001)
            self.came.clear()

    def _decode(self) -> None:
        while waiting := self.belt.next_waiting():
            waiting.frame = None
            self.belt.offer(waiting)


@contextmanager
def running(
    line: Line, disk: SlowDisk, cameras: dict[str, tuple[float, float]], service_s: float
) -> Iterator[VerdictInlet]:
    """cameras: period in seconds and deadline in milliseconds, by name."""
    came = Event()
    belt = Belt(16, came.set, Inspector(line, open_pipeline(line)))
    with closing(VerdictOutlet(line.config.verdicts)) as outlet:
        publisher = Publisher(line, belt, outlet, CaptureClock())
        station = Station(belt, publisher, service_s)
        publisher.start()
        with closing(VerdictInlet(line.config.verdicts, "small")) as inlet:
            time.sleep(0.3)  # the subscription travels as well
            disk.slow_s = SYNC_S
            threads = [Thread(target=station.camera, args=(name, *its)) for name, its in cameras.items()]
            threads.append(Thread(target=station.engines))
            for thread in threads:
                thread.start()
            try:
                yield inlet
            finally:
                station.stopping.set()
                for thread in threads:
                    thread.join()
                publisher.stop()
                publisher.join(10)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SlowDisk:
    slow = SlowDisk()

    journals_on(slow, tmp_path, monkeypatch)
    return slow


@pytest.fixture
def line(small_line: Line, own_cache: Path, tmp_path: Path) -> Line:
    return read_line(write_line(tmp_path, small_line.bundles, DARK, '[journal]\nfolder = "journal"\n'))


def heard(inlet: VerdictInlet, seconds: float) -> list[Verdict]:
    told, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        if inlet.poll(20):
            told.append(inlet.receive())
    return told


def share_ok(told: list[Verdict]) -> float:
    return sum(made.evaluation == Evaluation.OK for made in told) / len(told)


def test_a_camera_that_is_too_fast_costs_another_none_of_its_parts(line: Line, disk: SlowDisk) -> None:
    cameras = {"hurried": (0.015, 80.0), "patient": (0.015, 200.0)}  # more than engines of 10 ms a frame can do
    with running(line, disk, cameras, 0.010) as inlet:
        told = heard(inlet, 2.5)
    hurried, patient = ([made for made in told if made.camera == name] for name in cameras)
    assert share_ok(hurried) < 0.5, "this is no overload"
    assert share_ok(patient) > 0.8
    assert all(made.durable for made in patient if made.evaluation == Evaluation.OK)


def test_after_a_hiccup_a_disk_that_is_just_fast_enough_is_so_again(line: Line, disk: SlowDisk) -> None:
    with running(line, disk, {"only": (0.020, 45.0)}, 0.010) as inlet:
        assert share_ok(heard(inlet, 0.7)) > 0.5
        disk.slow_s = 0.3
        time.sleep(0.04)
        disk.slow_s = SYNC_S
        assert share_ok(heard(inlet, 0.5)) < 0.8, "nothing was late: this was no hiccup"
        assert share_ok(heard(inlet, 1.5)) > 0.5
