"""A deadline passes for every camera, whatever clock it has or has not, and no clock that is set moves it."""

from __future__ import annotations

import time
from time import perf_counter_ns
from typing import Any

import pytest

from edge.daemon.deadline import CaptureClock
from tests.daemon.tickets import header

HOUR_NS = 3_600_000_000_000
MS = 1_000_000


@pytest.mark.parametrize(
    "stamp", [{}, {"t_capture_ns": 5, "clock": "ptp"}, {"t_capture_ns": time.time_ns() + 1000 * HOUR_NS}]
)
def test_without_a_stamp_that_can_be_read_it_counts_from_arrival(stamp: dict[str, Any]) -> None:
    received = perf_counter_ns()
    assert CaptureClock().deadline_ns(header(deadline_ms=50, **stamp), received, 0) == received + 50 * MS


def test_with_a_stamp_it_counts_from_capture() -> None:
    received = perf_counter_ns()
    due = CaptureClock().deadline_ns(header(deadline_ms=50, t_capture_ns=time.time_ns() - 30 * MS), received, 0)
    assert due is not None and abs(due - (received + 20 * MS)) < 5 * MS


def test_a_frame_that_says_nothing_has_the_lines_and_none_where_that_is_none() -> None:
    received = perf_counter_ns()
    assert CaptureClock().deadline_ns(header(), received, 80) == received + 80 * MS
    assert CaptureClock().deadline_ns(header(), received, 0) is None
    assert CaptureClock().deadline_ns(header(deadline_ms=20), received, 0) == received + 20 * MS


@pytest.mark.parametrize("step", [HOUR_NS, -HOUR_NS])
def test_a_clock_that_is_set_by_an_hour_moves_no_deadline(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = time.time_ns
    clock = CaptureClock()
    before = real() - 10 * MS  # captured, and on its way
    monkeypatch.setattr(time, "time_ns", lambda: real() + step)
    received = perf_counter_ns()
    for captured in (before, real() + step - 10 * MS):
        due = clock.deadline_ns(header(deadline_ms=50, t_capture_ns=captured), received, 0)
        assert due is not None and abs(due - (received + 40 * MS)) < 5 * MS
    monkeypatch.setattr(time, "time_ns", real)
    due = clock.deadline_ns(header(deadline_ms=50, t_capture_ns=real() - 10 * MS), perf_counter_ns(), 0)
    assert due is not None and abs(due - (perf_counter_ns() + 40 * MS)) < 5 * MS
