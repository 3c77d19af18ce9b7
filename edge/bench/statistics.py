"""Percentiles that can be signed: point estimates, answers by upper bounds (edge.binomial), samples needed. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from edge.binomial import binomial_cdf, upper_bound

Answer = Literal["PASS", "FAIL", "INSUFFICIENT"]

CONFIDENCE = 0.99
PERCENTILES = (0.5, 0.9, 0.95, 0.99)
WINDOWS, AGREEMENT = 3, 1.1
LEAST_HALF, CHANCE = 8, 2.576  # turns; deviations of a normal distribution at 99 %


def percentile(samples: Sequence[float], q: float) -> float:
    """The smallest sample that at least a share q of all samples do not exceed (nearest rank)."""
    return sorted(samples)[max(1, ceil(q * len(samples))) - 1]


def samples_needed(q: float, confidence: float = CONFIDENCE) -> int:
    """The smallest sample that may hold one slow run and still confirm the q-quantile.

    LoadGen's early stopping (MLPerf): 64 for p90, 130 for p95, 662 for p99, 6,636 for p99.9 at 99 % confidence.
    """
    n = 1
    while q**n + n * (1 - q) * q ** (n - 1) > 1 - confidence:
        n += 1
    return n


def compare(samples: Sequence[float], q: float, target: float, confidence: float = CONFIDENCE) -> Answer:
    """Is the true q-quantile at most the target?

    PASS: its upper bound is. FAIL: it is not; or the sample is too small, yet so many of its runs are over the target
    that a box which meets it would show as many with probability 1 - confidence at most.
    """
    n, slow = len(samples), sum(sample > target for sample in samples)
    if n < samples_needed(q, confidence):
        hopeless = slow and 1 - binomial_cdf(n, 1 - q)[slow - 1] <= 1 - confidence
        return "FAIL" if hopeless else "INSUFFICIENT"
    bound = upper_bound(samples, q, confidence)
    return "PASS" if bound is not None and bound <= target else "FAIL"


def steady(windows: Sequence[float]) -> bool:
    """Warm-up is over once the last three windows' medians agree within 10 % (perf_analyzer's rule)."""
    last = windows[-WINDOWS:]
    return len(last) == WINDOWS and max(last) <= AGREEMENT * min(last)


class Ratio(NamedTuple):
    """How many times as long one takes as the other: the median of the turns' ratios, and its interval."""

    median: float
    low: float
    high: float


def ratio_of_turns(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Ratio | None:
    """Medians of the turns that two cases took beside each other -> first / second; None where there are too few turns.

    Turn by turn, so that a drift of the machine is in both. The interval is of order statistics (the sign test's), and
    supposes nothing of how the ratios are distributed.
    """
    ratios = sorted(a / b for a, b in zip(first, second, strict=False))
    outside = int(np.searchsorted(binomial_cdf(len(ratios), 0.5), (1 - confidence) / 2, side="right")) if ratios else 0
    if not outside:
        return None
    return Ratio(float(np.median(ratios)), ratios[outside - 1], ratios[-outside])


def turns_of(samples: Sequence[float], size: int) -> list[float]:
    """The median of each whole turn of so many samples."""
    whole = np.asarray(samples[: len(samples) // size * size]).reshape(-1, size)
    return [float(median) for median in np.median(whole, axis=1)]


def drift(turns: Sequence[float]) -> float | None:
    """The second half's median over the first's, where the halves differ by more than chance (Mann and Whitney's test
    at 99 %); None where they do not, or there are fewer than eight turns each."""
    half = len(turns) // 2
    if half < LEAST_HALF:
        return None
    early, late = np.asarray(turns[:half]), np.asarray(turns[-half:])
    wins = float((late[:, None] > early).sum() + 0.5 * (late[:, None] == early).sum())
    spread = float(np.sqrt(half * half * (2 * half + 1) / 12))
    if abs(wins - half * half / 2) <= CHANCE * spread:
        return None
    return float(np.median(late) / np.median(early))


def autocorrelation(samples: Sequence[float]) -> float:
    """Of each sample's rank with the next one's, -1 to 1; 0 for independent ones, and where there are too few."""
    if len(samples) < 3:
        return 0.0
    ranks = np.argsort(np.argsort(np.asarray(samples), kind="stable"), kind="stable").astype(np.float64)
    centred = ranks - ranks.mean()
    return float((centred[1:] * centred[:-1]).sum() / max(float((centred**2).sum()), 1e-12))
