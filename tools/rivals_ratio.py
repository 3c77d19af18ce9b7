"""Two that were timed in pairs: how many times as long does one take, and is that within a margin? No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from statistics import median
from typing import Literal

import msgspec

Answer = Literal["AGREE", "DIFFER", "UNSURE"]
CONFIDENCE = 0.95


class Ratio(msgspec.Struct, frozen=True):
    """ratio: the median of the pairs' ratios. low, high: what it lies between with CONFIDENCE; None: too few pairs."""

    ratio: float
    low: float | None
    high: float | None
    pairs: int


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Ours over theirs, pair by pair, so that a drift of the machine which hits both falls out.

    The interval is of order statistics: it asks nothing of the ratios but that they are independent, and one pair that
    a neighbour disturbed does not widen it. Each ratio lies below the true median with probability one half.
    """
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    cut = trimmed(len(ratios))
    low, high = (None, None) if cut is None else (ratios[cut], ratios[-1 - cut])
    return Ratio(median(ratios), low, high, len(ratios))


def trimmed(pairs: int, confidence: float = CONFIDENCE) -> int | None:
    """How many to leave out at each end, so that those between hold the median with this confidence; None: too few."""
    cut, outside = None, 0.0
    for index in range(pairs // 2):
        outside += 2 * comb(pairs, index) / 2**pairs
        if outside > 1 - confidence:
            break
        cut = index
    return cut


def fewest_pairs(confidence: float = CONFIDENCE) -> int:
    pairs = 1
    while trimmed(pairs, confidence) is None:
        pairs += 1
    return pairs


def verdict(found: Ratio, within: float) -> Answer:
    """AGREE: the whole interval is within the margin, up or down. DIFFER: none of it is. within: 0.03 is 3 %."""
    if found.low is None or found.high is None:
        return "UNSURE"
    least, most = 1 / (1 + within), 1 + within
    if least <= found.low and found.high <= most:
        return "AGREE"
    return "DIFFER" if found.high < least or found.low > most else "UNSURE"
