"""A deadline passes for every camera, whatever clock it has or has not."""

from __future__ import annotations

import time
from time import perf_counter_ns
from typing import Any

import numpy as np
import pytest

from edge.bus.frames import pack_header
from edge.config import Line
from edge.daemon.answer import Answerer
from edge.inspection.assemble import open_pipeline
from edge.records import Evaluation, FrameHeader

PIXELS = np.full((64, 64), 51, np.uint8)


@pytest.fixture(scope="module")
def answerer(small_line: Line, cache_folder: Any) -> Answerer:
    return Answerer(small_line, open_pipeline(small_line))


@pytest.mark.parametrize(
    "clock",
    [
        {},
        {"t_capture_ns": 5, "clock": "ptp"},
        {"t_capture_ns": time.time_ns() + 10**12},
        {"t_capture_ns": time.time_ns() - 10**12},
    ],
)
def test_a_frame_that_waited_past_its_deadline_is_undefined(answerer: Answerer, clock: dict[str, Any]) -> None:
    header = FrameHeader(
        session="s",
        seq=0,
        trigger_id="t",
        shape=PIXELS.shape,
        dtype="uint8",
        pixel_format="Mono8",
        encoding="raw",
        nbytes=PIXELS.nbytes,
        deadline_ms=50,
        **clock,
    )
    parts = [memoryview(b"frame/small/cam0"), memoryview(pack_header(header)), memoryview(PIXELS.tobytes())]
    verdict = answerer.answer(parts, perf_counter_ns() - 60_000_000)
    assert (verdict.evaluation, verdict.reason) == (Evaluation.UNDEFINED, "late")
    assert verdict.fail_safe and verdict.deadline_ns is not None
