"""The token bucket: never more than the rate and a second's worth at once, whatever comes when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.bus.rate import MOST_PEERS, Bucket, FrameRate, take

SECOND = 1_000_000_000


@given(st.floats(0.1, 1000), st.lists(st.integers(0, SECOND), max_size=300))
def test_never_more_than_the_rate_and_a_seconds_worth_at_once(per_s: float, gaps: list[int]) -> None:
    rate, now, taken = FrameRate(per_s), 0, 0
    for gap in gaps:
        now += gap
        taken += rate.allows("cam0", now)
        assert taken <= max(1.0, per_s) + per_s * now / SECOND + 1e-6


@given(st.floats(1, 1000), st.integers(1, 500))
def test_an_even_pace_within_the_rate_is_never_refused(per_s: float, frames: int) -> None:
    rate = FrameRate(per_s)
    assert all(rate.allows("cam0", round(number * SECOND / per_s) + number) for number in range(frames))


def test_a_clock_that_goes_back_gives_nothing_for_free() -> None:
    bucket, allowed = take(Bucket(1, 5 * SECOND), 1, 5 * SECOND)
    assert allowed
    bucket, allowed = take(bucket, 1, 0)
    assert not allowed
    assert not take(bucket, 1, 5 * SECOND)[1]


def test_one_that_floods_takes_nothing_from_another() -> None:
    rate = FrameRate(10)
    assert sum(rate.allows("evil", 0) for _ in range(10_000)) == 10
    assert rate.allows("good", 0)


def test_ten_thousand_names_cost_no_memory_and_share_what_is_left() -> None:
    rate = FrameRate(5)
    allowed = sum(rate.allows(f"cam{number}", 0) for number in range(10_000))
    assert allowed == MOST_PEERS + 5 and len(rate._buckets) == MOST_PEERS + 1


def test_no_limit_refuses_nobody() -> None:
    rate = FrameRate(0)
    assert all(rate.allows("cam0", 0) for _ in range(1000))
