"""Bounds against what they claim, on distributions whose truth is known."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.binomial import binomial_cdf, fewest, share_bound, upper_bound


@pytest.mark.parametrize(
    ("share", "confidence", "n"), [(1e-4, 0.95, 29_956), (1e-3, 0.95, 2_995), (0.01, 0.95, 299), (0.01, 0.99, 459)]
)
def test_the_fewest_samples_are_those_whose_largest_will_do(share: float, confidence: float, n: int) -> None:
    assert fewest(1 - share, confidence) == n
    assert upper_bound(range(n), 1 - share, confidence) == n - 1
    assert upper_bound(range(n - 1), 1 - share, confidence) is None


@given(n=st.integers(1, 60), p=st.floats(0.01, 0.99))
def test_the_binomial_is_the_sum_of_its_terms(n: int, p: float) -> None:
    exact = np.cumsum([comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(n + 1)])
    assert binomial_cdf(n, p) == pytest.approx(exact, abs=1e-9)


@settings(deadline=None)
@given(n=st.integers(1, 400), found=st.integers(0, 400), confidence=st.floats(0.5, 0.999))
def test_a_share_at_its_bound_shows_as_few_with_what_is_left_of_the_confidence(
    n: int, found: int, confidence: float
) -> None:
    bound = share_bound(n, min(found, n), confidence)
    if found >= n:
        assert bound == 1
    else:
        assert found / n < bound < 1
        assert binomial_cdf(n, bound)[found] == pytest.approx(1 - confidence, rel=1e-6)


def test_none_of_three_hundred_leaves_one_in_a_hundred() -> None:
    assert share_bound(299, 0, 0.95) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert share_bound(299, 0, 0.95) < 0.01 < share_bound(298, 0, 0.95)


def test_bounds_of_a_million_samples_neither_underflow_nor_wait() -> None:
    assert share_bound(1_000_000, 10, 0.95) == pytest.approx(1.6962e-5, rel=1e-4)
