"""The statistics against distributions whose percentiles are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bench.statistics import compare, percentile, samples_needed, steady, upper_bound

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
    assert upper_bound(range(458), 0.99) is None
    assert upper_bound(range(459), 0.99) == 458
    assert upper_bound(range(661), 0.99) == 660
    assert upper_bound(range(662), 0.99) == 660


@pytest.mark.parametrize("n", [662, 1500, 20_000])
def test_the_bound_holds_as_often_as_it_claims(n: int) -> None:
    rng = np.random.default_rng(n)
    runs = 1000 if n < 5000 else 100
    bounds = [upper_bound(np.sort(rng.random(n)).tolist(), 0.99) for _ in range(runs)]
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
