"""Frames of several cameras go through the engines at once where that gains something and the deadlines allow it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import pytest

from edge.bus.camera import Camera
from edge.bus.frames import FrameInlet
from edge.bus.verdicts import VerdictInlet, VerdictOutlet
from edge.config import Line, read_line
from edge.daemon.deadline import CaptureClock
from edge.daemon.inspector import Inspector
from edge.daemon.intake import Intake
from edge.daemon.publisher import Publisher
from edge.daemon.supervisor import Supervisor
from edge.daemon.ticket import Belt, Ticket
from edge.daemon.worker import Crew
from edge.inspection.assemble import TOGETHER, open_pipeline
from edge.records import Evaluation, Frame, Verdict
from tests.lines import DARK, write_line
from tests.sessions import FaultySession

pytestmark = pytest.mark.usefixtures("own_cache")
GOOD, BAD = np.full((64, 64), 51, np.uint8), np.full((64, 64), 51, np.uint8)
BAD[20:26, 20:26] = 255
ALONE_S = 0.02


def decoded(number: int, within_ms: float | None = None) -> Ticket:
    now = perf_counter_ns()
    deadline = None if within_ms is None else now + int(within_ms * 1e6)
    return Ticket(number, now, deadline_ns=deadline, frame=Frame(GOOD, 255), times_ns={"decode": 0})


@pytest.fixture
def inspector(small_line: Line) -> Inspector:
    """Engines as a GPU's are: frames go together. The gate takes ALONE_S a run."""
    pipeline = replace(open_pipeline(small_line), together=TOGETHER)
    assert pipeline.gate is not None
    session = FaultySession(pipeline.gate.model.session)
    session.slow_s = ALONE_S
    pipeline.gate.model.session = session
    return Inspector(small_line, pipeline)


def test_frames_go_together_only_where_each_would_still_be_in_time(inspector: Inspector) -> None:
    two = [decoded(0), decoded(1)]
    assert not inspector.may_join(two), "nothing is known yet of how long they take"
    inspector.inspect([decoded(2)])
    assert inspector.may_join([decoded(0), decoded(1), decoded(2)])
    assert not inspector.may_join([decoded(number) for number in range(TOGETHER + 1)])
    assert inspector.may_join([decoded(0, 1000), decoded(1, 1000)])
    assert not inspector.may_join([decoded(0, 1000), decoded(1, 1500 * ALONE_S)]), "two may take twice as long as one"
    inspector.inspect([decoded(3), decoded(4)])
    assert inspector.may_join([decoded(0, 1000), decoded(1, 1800 * ALONE_S)]), "by now it is known that they do not"


def test_engines_that_gain_nothing_by_it_get_one_frame_at_a_time(inspector: Inspector) -> None:
    inspector.pipeline = replace(inspector.pipeline, together=1)
    inspector.inspect([decoded(0)])
    assert not inspector.may_join([decoded(1), decoded(2)])


def test_the_belt_gives_those_that_may_join_and_leaves_the_rest_in_their_order() -> None:
    belt = Belt(8, lambda: None, "engines")
    tickets = [decoded(number) for number in range(3)]
    for ticket in tickets:
        belt.enter(ticket)
        belt.next_waiting()
        belt.offer(ticket)
    assert belt.take("engines", lambda joined: len(joined) < 3) == tickets[:2]
    assert belt.take("engines", lambda joined: len(joined) < 3) == tickets[2:]


def test_what_was_answered_meanwhile_is_left_out(inspector: Inspector) -> None:
    gone = decoded(1)
    gone.frame = None
    kept = decoded(0)
    assert [ticket for ticket, _ in inspector.inspect([kept, gone])] == [kept]
    assert inspector.inspect([gone]) == [] and not inspector.tickets


def test_busy_cameras_share_runs_and_each_part_has_its_own_verdict(small_line: Line, tmp_path: Path) -> None:
    """Four cameras at once, every third part defective, and engines that take as long for three as for one."""
    line = read_line(write_line(tmp_path, small_line.bundles, DARK))
    config = line.config
    pipeline = replace(open_pipeline(line), together=TOGETHER)
    assert pipeline.gate is not None
    session = FaultySession(pipeline.gate.model.session)
    session.slow_s = ALONE_S
    pipeline.gate.model.session = session
    frames, outlet = FrameInlet(config.frames, config.limits), VerdictOutlet(config.verdicts)
    belt, clock = Belt(config.limits.waiting, frames.wake, Inspector(line, pipeline)), CaptureClock()
    publisher = Publisher(line, belt, outlet, clock)
    crew = Crew(Intake(config, frames, belt, clock), belt, publisher.finish)
    supervisor = Supervisor(crew, publisher, open_pipeline)
    inlet = VerdictInlet(config.verdicts, config.line)
    frames.open(config.line)
    supervisor.start()
    cameras = {name: Camera(config.frames, config.line, name) for name in ("a", "b", "c", "d")}
    time.sleep(0.3)  # the subscription travels as well
    try:
        for number in range(12):
            for name, camera in cameras.items():
                camera.send(BAD if number % 3 == 2 else GOOD, f"{name}-{number}")
            time.sleep(3 * ALONE_S)
        heard: list[Verdict] = []
        while len(heard) < 48 and inlet.poll(10_000):
            heard.append(inlet.receive())
    finally:
        assert supervisor.stop(1.0) == []
        for close in (*(camera.close for camera in cameras.values()), inlet.close, outlet.close, frames.close):
            close()
    assert len({verdict.trigger_id for verdict in heard}) == 48
    for verdict in heard:
        defective = int((verdict.trigger_id or "").split("-")[1]) % 3 == 2
        assert verdict.evaluation == (Evaluation.NOT_OK if defective else Evaluation.OK)
    assert max(session.batches) == TOGETHER and len(session.batches) < 48
