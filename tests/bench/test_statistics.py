"""The statistics against distributions whose percentiles are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bench.statistics import (
    CONFIDENCE,
    autocorrelation,
    compare,
    drift,
    percentile,
    ratio_of_turns,
    samples_needed,
    steady,
    turns_of,
)
from edge.binomial import upper_bound

SAMPLES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60)


@pytest.mark.parametrize(("q", "needed"), [(0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_samples_needed_are_loadgens(q: float, needed: int) -> None:
    assert samples_needed(q) == needed


def test_percentiles_are_nearest_ranks() -> None:
    samples = [float(value) for value in range(100, 0, -1)]
    assert [percentile(samples, q) for q in (0.5, 0.9, 0.95, 0.99, 1.0)] == [50, 90, 95, 99, 100]


# On a busy box drawing the lists is slow, which says nothing here.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples=SAMPLES, q=st.floats(0.01, 0.99))
def test_a_percentile_is_a_sample_that_enough_others_do_not_exceed(samples: list[float], q: float) -> None:
    found = percentile(samples, q)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= q * len(samples) - 1e-9


def test_the_bound_begins_where_the_largest_sample_will_do() -> None:
    # 0.99^n <= 0.01 first holds at n = 459; from 662 on one slow sample may be set aside.
    assert upper_bound(range(458), 0.99, CONFIDENCE) is None
    assert upper_bound(range(459), 0.99, CONFIDENCE) == 458
    assert upper_bound(range(661), 0.99, CONFIDENCE) == 660
    assert upper_bound(range(662), 0.99, CONFIDENCE) == 660


@pytest.mark.parametrize("n", [662, 1500, 20_000])
def test_the_bound_holds_as_often_as_it_claims(n: int) -> None:
    rng = np.random.default_rng(n)
    runs = 1000 if n < 5000 else 100
    bounds = [upper_bound(np.sort(rng.random(n)).tolist(), 0.99, CONFIDENCE) for _ in range(runs)]
    wrong = sum(bound is not None and bound < 0.99 for bound in bounds)
    # At most 1 % on average; three deviations of slack for the simulation itself.
    assert wrong <= 0.01 * runs + 3 * (0.01 * runs) ** 0.5


def test_a_wrong_pass_is_rare_on_a_long_tail() -> None:
    """The true p99 of a lognormal lies a hair over the target in every run."""
    rng = np.random.default_rng(7)
    true_p99 = float(np.exp(0.5 * 2.3263478740408408))
    answers = [compare(rng.lognormal(0, 0.5, 700).tolist(), 0.99, 0.999 * true_p99) for _ in range(1000)]
    assert answers.count("PASS") <= 10
    assert answers.count("INSUFFICIENT") == 0


def test_a_small_sample_is_insufficient_unless_it_is_hopeless() -> None:
    assert compare([1.0] * 661, 0.99, 2.0) == "INSUFFICIENT"
    assert compare([1.0] * 662, 0.99, 2.0) == "PASS"
    assert compare([1.0] * 661 + [3.0], 0.99, 2.0) == "PASS"
    assert compare([1.0] * 660 + [3.0] * 2, 0.99, 2.0) == "FAIL"
    assert compare([3.0] * 20, 0.99, 2.0) == "FAIL"
    assert compare([1.0] * 19 + [3.0], 0.99, 2.0) == "INSUFFICIENT"
    assert compare([], 0.99, 2.0) == "INSUFFICIENT"


def test_an_early_fail_is_rarely_wrong() -> None:
    rng = np.random.default_rng(3)
    answers = [compare(rng.random(50).tolist(), 0.99, 0.991) for _ in range(2000)]
    assert answers.count("FAIL") <= 0.01 * 2000 + 3 * 20**0.5
    assert "PASS" not in answers


@pytest.mark.parametrize(
    ("windows", "settled"),
    [([5.0, 5.1], False), ([5.0, 5.1, 5.4], True), ([9.0, 5.0, 5.1, 5.4], True), ([9.0, 5.0, 5.1], False), ([], False)],
)
def test_warm_up_ends_when_three_windows_agree(windows: list[float], settled: bool) -> None:
    assert steady(windows) is settled


def test_a_ratio_of_turns_holds_its_interval_as_often_as_it_claims() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(1000):
        drifting = np.linspace(1, 1.5, 60)  # of the machine: both see it
        first, second = (drifting * base * rng.lognormal(0, 0.1, 60) for base in (3.0, 2.0))
        found = ratio_of_turns(first.tolist(), second.tolist())
        assert found is not None and found.low <= found.median <= found.high
        held += found.low <= 1.5 <= found.high
    assert held >= 940


def test_six_turns_are_the_fewest_that_an_interval_needs() -> None:
    assert ratio_of_turns([2.0] * 5, [1.0] * 5) is None and ratio_of_turns([], []) is None
    assert ratio_of_turns([2.0] * 6, [1.0] * 6) == (2.0, 2.0, 2.0)


def test_turns_are_medians_of_whole_ones() -> None:
    assert turns_of([1, 2, 9, 4, 5, 6, 7], 3) == [2.0, 5.0]
    assert turns_of([1, 2], 3) == []


def test_drift_is_said_where_there_is_some_and_hardly_ever_where_there_is_none() -> None:
    rng = np.random.default_rng(9)
    said = [drift(rng.lognormal(0, 0.1, 80).tolist()) is not None for _ in range(1000)]
    assert sum(said) <= 10 + 3 * 10**0.5
    grown = [drift((rng.lognormal(0, 0.1, 80) * np.linspace(1, 1.3, 80)).tolist()) for _ in range(100)]
    assert sum(found is not None and 1.05 < found < 1.3 for found in grown) >= 99
    assert drift([1.0] * 15) is None and drift([1.0] * 80) is None


def test_neighbours_that_are_alike_are_correlated_and_independent_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=2000)
    walk = np.convolve(noise, np.ones(10), "valid")
    assert abs(autocorrelation(noise.tolist())) < 0.1 and autocorrelation(walk.tolist()) > 0.8
    assert autocorrelation([1.0, 2.0]) == 0.0 and autocorrelation([3.0] * 50) <= 1.0
