"""What counts of independent samples prove, whatever their distribution: order statistics and binomial bounds. No I/O.

Each sample lies above the distribution's (1 - a)-quantile with probability a, so how many do is binomial; a bound on a
quantile, on a share, or on a threshold's false rejects is this one fact read in three directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, log, log1p

import numpy as np
from numpy.typing import NDArray

HALVINGS = 60  # of an interval of length 1, down to what a float can tell


def _log_choose(n: int, most: int) -> NDArray[np.float64]:
    """Logarithm of n over i, for i = 0..most."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    chosen: NDArray[np.float64] = log_factorial[n] - log_factorial - log_factorial[::-1]
    return chosen[: most + 1]


@lru_cache(maxsize=64)
def binomial_cdf(n: int, p: float) -> NDArray[np.float64]:
    """P(Bin(n, p) <= i) for i = 0..n, from logarithms, so that large n do not underflow."""
    i = np.arange(n + 1)
    log_pmf = _log_choose(n, n) + i * np.log(p) + (n - i) * np.log1p(-p)
    cdf: NDArray[np.float64] = np.cumsum(np.exp(log_pmf))
    return np.minimum(cdf, 1.0)


def upper_bound(samples: Sequence[float], q: float, confidence: float) -> float | None:
    """A value that the true q-quantile does not exceed, with the given confidence; None where the sample is too small.

    Distribution-free, for independent samples: each lies above the quantile with probability 1 - q, so the quantile
    tops the (d + 1)-th largest sample only if d or fewer lie above it; d is the largest that makes this unlikely.
    """
    above = binomial_cdf(len(samples), 1 - q)
    discarded = int(np.searchsorted(above, 1 - confidence, side="right")) - 1
    return sorted(samples)[-1 - discarded] if discarded >= 0 else None


def fewest(q: float, confidence: float) -> int:
    """The smallest sample that has an `upper_bound`: its largest, which all lie below the quantile with probability
    q ** n."""
    n = max(1, ceil(log1p(-confidence) / log(q)) - 1)
    while q**n > 1 - confidence:
        n += 1
    return n


def share_bound(n: int, found: int, confidence: float) -> float:
    """What share of all there is at most, with the given confidence, where `found` of n independent ones were seen
    (Clopper and Pearson's upper bound)."""
    if found >= n:
        return 1.0
    i = np.arange(found + 1)
    chosen = _log_choose(n, found)
    low, high = found / n, 1.0
    for _ in range(HALVINGS):
        share = (low + high) / 2
        as_few = float(np.exp(chosen + i * np.log(share) + (n - i) * np.log1p(-share)).sum()) if share < 1 else 0.0
        low, high = (share, high) if as_few > 1 - confidence else (low, share)
    return high
