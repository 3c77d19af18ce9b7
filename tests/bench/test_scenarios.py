"""Arrival schedules: in order, at the rate that was asked for, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bench.scenarios import (
    Plan,
    frames_a_turn,
    longest_queue,
    paced,
    poisson,
    segment,
    started_late,
)

rates = st.floats(0.5, 5000)
seeds = st.integers(0, 2**32)
bursts = st.integers(1, 16)
jitters = st.floats(0, 50)
plans = st.builds(Plan, st.sampled_from(["server", "line"]), rates, jitters, bursts, st.just(1), seeds)


def ns(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


@given(rates, seeds)
def test_poisson_arrivals_are_in_order_and_come_at_their_rate(rate: float, seed: int) -> None:
    instants = poisson(rate, 4000, seed)
    assert instants.dtype == np.int64
    assert (np.diff(instants) >= 0).all()
    assert instants[-1] / 4000 == pytest.approx(1e9 / rate, rel=0.1)


@given(seeds)
def test_poisson_gaps_vary_as_much_as_they_are_long(seed: int) -> None:
    gaps = np.diff(poisson(100, 4000, seed))
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.15)


@given(rates, st.integers(1, 500), seeds, jitters, bursts)
def test_a_lines_arrivals_are_in_order_and_none_is_before_the_start(
    rate: float, count: int, seed: int, jitter_ms: float, burst: int
) -> None:
    instants = paced(rate, count, seed, jitter_ms, burst)
    assert instants.shape == (count,) and instants.dtype == np.int64
    assert instants[0] >= 0 and (np.diff(instants) >= 0).all()


@given(rates, st.integers(1, 50), seeds, bursts)
def test_a_line_without_jitter_is_even_and_whole_bursts_come_at_once(
    rate: float, count: int, seed: int, burst: int
) -> None:
    instants = paced(rate, count * burst, seed, 0.0, burst).reshape(count, burst)
    assert (instants == instants[:, :1]).all()
    np.testing.assert_allclose(instants[:, 0], np.arange(count) * burst * 1e9 / rate, atol=1)


@given(seeds, bursts)
def test_jitter_is_around_the_due_time_and_its_mean_rate_is_the_lines(seed: int, burst: int) -> None:
    """Two milliseconds where a burst is due every hundred."""
    instants = paced(10.0 * burst, 1000 * burst, seed, 2.0, burst)[::burst]
    late = instants - np.arange(1000) * 1e8
    assert late[1:].std() == pytest.approx(2e6, rel=0.15)
    assert abs(late.mean()) < 0.4e6


@given(plans, st.integers(0, 100), st.integers(1, 200))
def test_a_turn_is_whole_bursts_from_zero_and_the_same_for_the_same_seed(plan: Plan, number: int, frames: int) -> None:
    instants = segment(plan, number, frames)
    assert instants[0] == 0 and (np.diff(instants) >= 0).all()
    assert len(instants) - 1 >= frames and (len(instants) - 1) % plan.burst == 0
    np.testing.assert_array_equal(instants, segment(plan, number, frames))


def test_turns_and_seeds_differ() -> None:
    plan = Plan("server", 100.0)
    assert (segment(plan, 0, 20) != segment(plan, 1, 20)).any()
    assert (segment(plan, 0, 20) != segment(Plan("server", 100.0, seed=1), 0, 20)).any()


@given(rates, st.booleans(), st.integers(1, 10_000), st.floats(0.1, 100))
def test_a_turn_has_half_a_second_or_eight_frames_at_least(rate: float, alone: bool, runs: int, seconds: float) -> None:
    frames = frames_a_turn(Plan("line", rate), alone, runs, seconds)
    assert frames >= 8
    if not alone:
        assert frames >= rate * 0.5


def test_a_frame_is_late_where_it_began_after_the_next_arrival() -> None:
    instants = ns(0, 10, 20, 30)
    assert started_late(instants, ns(0, 1, 2), ns(0, 10, 20)) == 0
    assert started_late(instants, ns(0, 1, 2), ns(0, 21, 31)) == 2
    assert started_late(instants, ns(0, 2), ns(0, 31)) == 1
    assert started_late(instants, ns(), ns()) == 0


def test_frames_of_one_burst_wait_for_one_another_without_being_late() -> None:
    assert started_late(ns(0, 0, 10, 10, 20), ns(0, 1, 2, 3), ns(0, 5, 10, 21)) == 1


def test_the_longest_queue_counts_those_that_wait_behind_the_one_that_begins() -> None:
    assert longest_queue(ns(0, 10, 20, 30), ns(0, 10, 20)) == 0
    assert longest_queue(ns(0, 0, 0, 30), ns(0, 4, 8)) == 2
    assert longest_queue(ns(0, 1, 2, 3, 4), ns(0, 5, 10, 15)) == 2
    assert longest_queue(ns(0, 1), ns()) == 0
