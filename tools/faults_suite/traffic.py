"""Frames that are good or defective, a camera that sends them, a subscriber that notes when each verdict came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread
from time import perf_counter_ns

import numpy as np
import zmq

from edge.bus.camera import Camera, at_rate
from edge.bus.sockets import open_socket
from edge.bus.verdicts import VerdictInlet, read_verdict
from edge.records import Verdict
from tools.faults_suite.station import NAME, NotReady, Station

GOOD = np.full((64, 64), 51, np.uint8)
DEFECTIVE = GOOD.copy()
DEFECTIVE[20:28, 30:38] = 255
SETTLE_S = 0.3  # a subscription travels as well


class Ear(Thread):
    """Takes whatever is published under `topics` off the bus at once; what it says is read afterwards.

    heard: when (perf_counter_ns), topic and body.
    """

    def __init__(self, station: Station, *topics: str) -> None:
        super().__init__(daemon=True)
        self.heard: list[tuple[int, bytes, bytes]] = []
        self._stopping = False
        self._socket = open_socket(zmq.SUB, station.verdicts, bind=False, high_water=1_000_000)
        for topic in topics or ("verdict",):
            self._socket.subscribe(f"{topic}/{NAME}/")

    def run(self) -> None:
        while not self._stopping:
            if self._socket.poll(50):
                topic, body = self._socket.recv_multipart()
                self.heard.append((perf_counter_ns(), topic, body))
        self._socket.close(0)

    def stop(self) -> None:
        self._stopping = True
        self.join()

    def verdicts(self) -> list[tuple[int, Verdict]]:
        return [(when, read_verdict(body)) for when, topic, body in self.heard if topic.startswith(b"verdict/")]

    def wait_for(self, count: int, seconds: float) -> bool:
        """Until so many messages came in all."""
        until = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < until:
            time.sleep(0.002)
        return len(self.heard) >= count

    def quiet(self, seconds: float, most: float = 60.0) -> None:
        """Until nothing has come for so long."""
        until, count, since = time.monotonic() + most, -1, time.monotonic()
        while time.monotonic() < until and time.monotonic() - since < seconds:
            if len(self.heard) != count:
                count, since = len(self.heard), time.monotonic()
            time.sleep(0.01)


@contextmanager
def listening(station: Station, *topics: str) -> Iterator[Ear]:
    ear = Ear(station, *topics)
    ear.start()
    time.sleep(SETTLE_S)
    try:
        yield ear
    finally:
        ear.stop()


@contextmanager
def camera_on(station: Station, name: str = "cam0") -> Iterator[Camera]:
    camera = station.camera(name)
    try:
        yield camera
    finally:
        camera.close(0)


def send_for(camera: Camera, seconds: float, rate: float, deadline_ms: float | None = None) -> list[int]:
    """GOOD frames at a line's pace; when each was sent (perf_counter_ns), by its number among these."""
    began, sent = time.monotonic(), list[int]()
    for _ in at_rate(rate):
        if time.monotonic() - began >= seconds:
            return sent
        sent.append(perf_counter_ns())
        camera.send(GOOD, f"t{camera.sent}", deadline_ms=deadline_ms)
    return sent


def overdue_ms(verdict: Verdict) -> float:
    """From its frame's deadline until it was made, on the daemon's own clock: how soon this process is told of it hangs
    on what else the machine does."""
    return (verdict.t_verdict_ns - (verdict.deadline_ns or 0)) / 1e6


def round_trips(station: Station, camera: Camera, frames: int, rate: float = 0.0) -> list[float]:
    """Milliseconds from sent to heard, one frame after the other, all in this thread. rate: 0 is as fast as it goes."""
    waits = []
    with closing(VerdictInlet(station.verdicts, NAME)) as inlet:
        time.sleep(SETTLE_S)
        for number, _ in zip(range(frames), at_rate(rate), strict=False):
            sent = perf_counter_ns()
            camera.send(DEFECTIVE if number % 5 == 4 else GOOD, f"t{camera.sent}")
            if not inlet.poll(5000):
                raise NotReady(f"no verdict for frame {number} within 5 s; the daemon said: {station.last_words()}")
            inlet.receive()
            waits.append((perf_counter_ns() - sent) / 1e6)
    return waits
