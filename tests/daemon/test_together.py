"""Frames of several cameras go through the engines at once where that gains something and the deadlines allow it."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import pytest

from edge.bus.camera import Camera
from edge.config import Line
from edge.daemon.inspector import Inspector
from edge.daemon.ticket import READY, Belt, Ticket
from edge.engines.session import Floats
from edge.errors import EngineError
from edge.inspection.assemble import TOGETHER, open_pipeline, warm_up
from edge.inspection.pipeline import Pipeline
from edge.records import Evaluation, Frame
from tests.sessions import FaultySession
from tests.stations import GOOD, station_on

pytestmark = pytest.mark.usefixtures("own_cache")
BAD = GOOD.copy()
BAD[20:26, 20:26] = 255
ALONE_S = 0.02


class FailsAtWhite(FaultySession):
    def run(self, batch: Floats) -> tuple[Floats, ...]:
        if batch.max() > 0.9:
            raise EngineError("it fails at white")
        return super().run(batch)


def decoded(number: int, within_ms: float | None = None) -> Ticket:
    now = perf_counter_ns()
    deadline = None if within_ms is None else now + int(within_ms * 1e6)
    return Ticket(number, now, deadline_ns=deadline, frame=Frame(GOOD, 255), times_ns={"decode": 0})


def slowed(pipeline: Pipeline) -> FaultySession:
    """Its gate's session, which takes ALONE_S however many frames there are."""
    assert pipeline.gate is not None
    session = FaultySession(pipeline.gate.model.session)
    session.slow_s = ALONE_S
    pipeline.gate.model.session = session
    return session


@pytest.fixture
def inspector(small_line: Line) -> Inspector:
    """Engines as a GPU's are: frames go together. The gate takes ALONE_S a run."""
    pipeline = replace(open_pipeline(small_line), together=TOGETHER)
    slowed(pipeline)
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


def test_what_takes_any_batch_is_warm_for_each_number_of_frames(small_line: Line) -> None:
    pipeline = open_pipeline(small_line)
    session = FaultySession(pipeline.judges["dark"].model.session)
    warm_up(session, np.zeros((4, 1, 32, 32), np.float32))
    assert session.batches == [4]
    session.any_batch = True
    warm_up(session, np.zeros((4, 1, 32, 32), np.float32))
    assert session.batches[1:] == [4, 8, 12] and TOGETHER <= READY


def test_engines_that_gain_nothing_by_it_get_one_frame_at_a_time(inspector: Inspector) -> None:
    inspector.pipeline = replace(inspector.pipeline, together=1)
    inspector.inspect([decoded(0)])
    assert not inspector.may_join([decoded(1), decoded(2)])


@pytest.mark.parametrize("bad", ["unreadable", "engine"])
def test_a_bad_frame_costs_the_others_nothing_but_time(inspector: Inspector, bad: str) -> None:
    tickets = [decoded(number) for number in range(3)]
    if bad == "unreadable":
        tickets[1].frame = Frame(np.zeros((64, 64), np.float32), 255)  # type: ignore[arg-type]  # that it is wrong is the point
        reasons = ["ok", "bad_frame", "ok"]
    else:
        model = inspector.pipeline.judges["dark"].model
        model.session = FailsAtWhite(model.session)
        tickets[1].frame = Frame(BAD, 255)
        reasons = ["ok", "engine_failed", "ok"]
    found = inspector.inspect(tickets)
    assert [ticket for ticket, _ in found] == tickets
    assert [inspection.reason for _, inspection in found] == reasons


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
    with station_on(small_line, tmp_path, hang_ms=4000) as station, ExitStack() as stack:
        engines = station.belt.engines
        engines.pipeline = replace(engines.pipeline, together=TOGETHER)
        session = slowed(engines.pipeline)
        address, line = engines.line.config.frames, engines.line.config.line
        cameras = {name: stack.enter_context(closing(Camera(address, line, name))) for name in ("a", "b", "c", "d")}
        for number in range(12):
            for name, camera in cameras.items():
                camera.send(BAD if number % 3 == 2 else GOOD, f"{name}-{number}")
            time.sleep(3 * ALONE_S)
        heard = [station.next() for _ in range(48)]
    assert len({verdict.trigger_id for verdict in heard}) == 48
    for verdict in heard:
        defective = int((verdict.trigger_id or "").split("-")[1]) % 3 == 2
        assert verdict.evaluation == (Evaluation.NOT_OK if defective else Evaluation.OK)
    assert max(session.batches) == TOGETHER and len(session.batches) < 48
