"""A line whose daemon's stages run in the test's own process, so that its engines can be told to fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import numpy as np

from edge.bus.camera import Camera
from edge.bus.frames import FrameInlet
from edge.bus.verdicts import VerdictInlet, VerdictOutlet
from edge.config import Line, read_line
from edge.daemon.deadline import CaptureClock
from edge.daemon.inspector import Inspector
from edge.daemon.intake import Intake
from edge.daemon.publisher import Publisher
from edge.daemon.supervisor import Supervisor
from edge.daemon.ticket import Belt
from edge.daemon.worker import Crew
from edge.errors import EdgeError
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Pipeline
from edge.records import Verdict
from tests.lines import DARK, write_line
from tests.sessions import FaultySession

GOOD = np.full((64, 64), 51, np.uint8)
HANG_MS = 150.0


@dataclass
class Station:
    """The daemon's stages in this process, a real camera and a subscriber."""

    supervisor: Supervisor
    belt: Belt[Inspector]
    camera: Camera
    verdicts: VerdictInlet
    faulty: FaultySession
    publisher: Publisher
    opened: list[Pipeline]
    stop: Callable[[float], list[str]] = field(default=lambda _: [])
    ended: list[EdgeError] = field(default_factory=list)

    def send(self, count: int = 1, deadline_ms: float | None = None) -> None:
        for _ in range(count):
            self.camera.send(GOOD, f"t{self.camera.sent}", deadline_ms=deadline_ms)

    def next(self) -> Verdict:
        assert self.verdicts.poll(20_000), "no verdict came"
        return self.verdicts.receive()


@contextmanager
def station_on(
    line: Line, folder: Path, device: str = "", hang_ms: float = HANG_MS, table: str = ""
) -> Iterator[Station]:
    line = read_line(write_line(folder, line.bundles, f"[limits]\nhang_ms = {hang_ms}\n", table, DARK))
    config, opened = line.config, list[Pipeline]()

    def reopen(wanted: Line) -> Pipeline:
        opened.append(open_pipeline(wanted))
        return opened[-1]

    pipeline = open_pipeline(line)
    model = pipeline.judges["dark"].model
    faulty = FaultySession(model.session, device)
    model.session = faulty
    frames, outlet = FrameInlet(config.frames, config.limits), VerdictOutlet(config.verdicts)
    belt, clock = Belt(config.limits.waiting, frames.wake, Inspector(line, pipeline)), CaptureClock()
    publisher = Publisher(line, belt, outlet, clock)
    crew = Crew(Intake(config, frames, belt, clock), belt, publisher.finish)
    supervisor, stopping = Supervisor(crew, publisher, reopen), Event()
    inlet = VerdictInlet(config.verdicts, config.line)
    frames.open(config.line)
    supervisor.start()
    camera = Camera(config.frames, config.line, "cam0")
    time.sleep(0.3)  # the subscription travels as well
    station = Station(supervisor, belt, camera, inlet, faulty, publisher, opened)

    def watch() -> None:
        try:
            supervisor.watch(stopping.is_set)
        except EdgeError as error:
            station.ended.append(error)

    watching = Thread(target=watch, daemon=True)
    watching.start()

    def stop(seconds: float) -> list[str]:
        if stopping.is_set():
            return []
        stopping.set()
        watching.join(10)
        return supervisor.stop(seconds)

    station.stop = stop
    try:
        yield station
    finally:
        faulty.go_on.set()
        assert stop(1.0) == []
        for end in (camera.close, inlet.close, outlet.close, frames.close):
            end()
