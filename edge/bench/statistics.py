"""Percentiles that can be signed: point estimates, upper bounds by order statistics, samples needed. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Answer = Literal["PASS", "FAIL", "INSUFFICIENT"]

CONFIDENCE = 0.99
PERCENTILES = (0.5, 0.9, 0.95, 0.99)
WINDOWS, AGREEMENT = 3, 1.1


def percentile(samples: Sequence[float], q: float) -> float:
    """The smallest sample that at least a share q of all samples do not exceed (nearest rank)."""
    return sorted(samples)[max(1, ceil(q * len(samples))) - 1]


@lru_cache(maxsize=64)
def _binomial_cdf(n: int, p: float) -> NDArray[np.float64]:
    """P(Bin(n, p) <= i) for i = 0..n, from logarithms, so that large n do not underflow."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    i = np.arange(n + 1)
    log_pmf = log_factorial[n] - log_factorial - log_factorial[::-1] + i * np.log(p) + (n - i) * np.log1p(-p)
    cdf: NDArray[np.float64] = np.cumsum(np.exp(log_pmf))
    return np.minimum(cdf, 1.0)


def upper_bound(samples: Sequence[float], q: float, confidence: float = CONFIDENCE) -> float | None:
    """A value that the true q-quantile does not exceed, with the given confidence; None where the sample is too small.

    Distribution-free, for independent samples: each lies above the quantile with probability 1 - q, so the quantile
    tops the (d + 1)-th largest sample only if d or fewer lie above it; d is the largest that makes this unlikely.
    """
    slow = _binomial_cdf(len(samples), 1 - q)
    discarded = int(np.searchsorted(slow, 1 - confidence, side="right")) - 1
    return sorted(samples)[-1 - discarded] if discarded >= 0 else None


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
        hopeless = slow and 1 - _binomial_cdf(n, 1 - q)[slow - 1] <= 1 - confidence
        return "FAIL" if hopeless else "INSUFFICIENT"
    bound = upper_bound(samples, q, confidence)
    return "PASS" if bound is not None and bound <= target else "FAIL"


def steady(windows: Sequence[float]) -> bool:
    """Warm-up is over once the last three windows' medians agree within 10 % (perf_analyzer's rule)."""
    last = windows[-WINDOWS:]
    return len(last) == WINDOWS and max(last) <= AGREEMENT * min(last)
