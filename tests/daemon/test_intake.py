"""What comes off the bus is placed by number and trigger before anything else is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter_ns

import msgspec
import pytest

from edge.bus.frames import FrameInlet, frame_topic, pack_header
from edge.config import Limits, Line
from edge.daemon.deadline import CaptureClock
from edge.daemon.inspector import Inspector
from edge.daemon.intake import Intake
from edge.daemon.ticket import Belt
from edge.inspection.pipeline import Pipeline
from edge.records import FrameHeader

PIXELS = bytes(16)


@pytest.fixture
def belt(small_line: Line) -> Belt[Inspector]:
    return Belt(64, lambda: None, Inspector(small_line, Pipeline(None, {})))


@pytest.fixture
def intake(small_line: Line, tmp_path: Path, belt: Belt[Inspector]) -> Iterator[Intake]:
    config = msgspec.structs.replace(small_line.config, limits=Limits(frames_per_s=2))
    with closing(FrameInlet(f"ipc://{tmp_path}/frames", config.limits)) as frames:
        yield Intake(config, frames, belt, CaptureClock())


def send(intake: Intake, seq: int) -> None:
    header = FrameHeader(
        session="s",
        seq=seq,
        trigger_id=f"t{seq}",
        shape=(4, 4),
        dtype="uint8",
        pixel_format="Mono8",
        encoding="raw",
        nbytes=len(PIXELS),
    )
    parts = (frame_topic("small", "cam0"), pack_header(header), PIXELS)
    intake.receive([memoryview(part) for part in parts], perf_counter_ns())


def test_a_frame_beyond_the_rate_is_neither_missing_nor_answered_twice(intake: Intake, belt: Belt[Inspector]) -> None:
    for seq in (0, 1, 2, 2, 3, 1):
        send(intake, seq)
    told_off = belt.collect()
    assert [(ticket.header and ticket.header.seq, ticket.inspection.reason) for ticket in told_off] == [
        (2, "overload"),
        (3, "overload"),
    ]
    assert [ticket.missing for ticket in told_off] == [0, 0]
    assert belt.depths() == {"waiting": 2, "ready": 0, "done": 0, "open": 2}
