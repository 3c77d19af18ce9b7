"""Two that were timed in pairs: how many times as long does one take, and is that within a margin? No I/O."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec

from edge.bench.statistics import ratio_of_turns

Answer = Literal["AGREE", "DIFFER", "UNSURE"]
CONFIDENCE = 0.95


class Ratio(msgspec.Struct, frozen=True):
    """ratio: the median of the pairs' ratios. low, high: what it lies between with CONFIDENCE; None: too few pairs."""

    ratio: float
    low: float | None
    high: float | None
    pairs: int


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Ours over theirs, pair by pair, so that a drift of the machine which hits both falls out."""
    found = ratio_of_turns(ours, theirs, CONFIDENCE)
    if found is None:
        return Ratio(median(a / b for a, b in zip(ours, theirs, strict=True)), None, None, len(ours))
    return Ratio(found.median, found.low, found.high, len(ours))


def fewest_pairs() -> int:
    return next(pairs for pairs in itertools.count(1) if ratio_of_turns([1.0] * pairs, [1.0] * pairs, CONFIDENCE))


def verdict(found: Ratio, within: float) -> Answer:
    """AGREE: the whole interval is within the margin, up or down. DIFFER: none of it is. within: 0.03 is 3 %."""
    if found.low is None or found.high is None:
        return "UNSURE"
    least, most = 1 / (1 + within), 1 + within
    if least <= found.low and found.high <= most:
        return "AGREE"
    return "DIFFER" if found.high < least or found.low > most else "UNSURE"
