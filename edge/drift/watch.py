"""One camera's frames of one surface beside its reference: what has moved, and what that means. No I/O, no clock.

Each feature becomes its rank among the good frames, which is 0.5 on average as long as nothing changes, whatever the
feature looks like. The ranks' exponentially weighted mean (Roberts 1959) leaves 0.5 by more than the limit only where
they moved: the limit is five standard deviations of that mean, for frames that follow one another alike (an
autocorrelation of a half) and for a reference that is itself made of so many frames and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

from edge.drift.features import Features, least_change
from edge.drift.reference import SurfaceReference
from edge.records import DriftReason

SURE = 5.0  # standard deviations
AUTOCORRELATION = 0.5
RANKS = sqrt(1 / 12)  # the standard deviation of what is spread evenly over 0..1
CALM = 0.5  # of the limit: below it a feature is where it was

# By which features a reason shows itself; a product by any.
TELLING: dict[DriftReason, tuple[str, ...]] = {
    "light": ("brightness",),
    "exposure": ("black", "white"),
    "focus": ("focus",),
    "product": (),
}


def limit_of(frames: int, window: int) -> float:
    """How far from 0.5 the mean rank of the last `window` frames may be by chance, beside a reference of `frames`."""
    weight = 2 / (window + 1)
    alike = (1 + AUTOCORRELATION) / (1 - AUTOCORRELATION)
    return SURE * RANKS * sqrt(alike * (weight / (2 - weight) + 1 / frames))


def reason_of(moved: Mapping[str, float]) -> DriftReason:
    """The nearest cause of what moved, and which way (the mean rank less 0.5).

    More light makes a picture lighter; more than the sensor holds also clips it, and blurs what is clipped. Light and
    focus do not fail at once: where both moved the picture shows something else.
    """
    lighter = moved.get("brightness", 0.0)
    if (moved.get("white", 0.0) > 0 and lighter >= 0) or (moved.get("black", 0.0) > 0 and lighter <= 0):
        return "exposure"
    if "brightness" in moved and "focus" not in moved:
        return "light"
    return "focus" if "focus" in moved and "brightness" not in moved else "product"


@dataclass(slots=True)
class Mean:
    """A feature's recent mean, of its ranks (less 0.5) and of itself; since: the time it last was calm."""

    value: float
    rank: float = 0.0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """What is unlike the reference. feature: what tells the reason, of several the one that is farthest off; rank: its
    mean one, 0..1; value: its mean beside the usual one; since: when it began to leave. all: every feature that
    moved."""

    reason: DriftReason
    feature: str
    rank: float
    value: float
    usual: float
    since: int
    all: tuple[str, ...]


@dataclass(slots=True)
class Watch:
    """raised: what stands now, until all is calm again."""

    reference: SurfaceReference
    window: int
    raised: Moved | None = None
    _limit: float = field(init=False)
    _means: dict[str, Mean] = field(default_factory=dict)
    _settling: int = 0

    def __post_init__(self) -> None:
        self._limit = limit_of(self.reference.frames, self.window)

    def add(self, features: Features, now: int) -> Moved | None:
        """One frame more; now: any clock. What was raised or cleared by it: `raised` tells which. None where all is as
        it was."""
        self._average(features, now)
        moved = {name for name in self._means if self._left(name, CALM * self._limit)}
        if self.raised is not None:
            return None if moved else self._clear()
        if not any(self._left(name, self._limit) for name in moved):
            self._settling = 0
            return None
        self._settling += 1
        if self._settling <= self.window // 8:  # what moved with it may be slower to show
            return None
        self.raised = self._describe(moved)
        return self.raised

    def _average(self, features: Features, now: int) -> None:
        weight = 2 / (self.window + 1)
        for name, usual in self.reference.features.items():
            if name not in features:
                continue
            mean = self._means.setdefault(name, Mean(usual.mean, since=now))
            mean.value += weight * (features[name] - mean.value)
            mean.rank += weight * (usual.rank(features[name]) - 0.5 - mean.rank)
            if abs(mean.rank) <= CALM * self._limit:
                mean.since = now

    def _left(self, name: str, limit: float) -> bool:
        usual, mean = self.reference.features[name].mean, self._means[name]
        return abs(mean.rank) > limit and abs(mean.value - usual) > least_change(name, usual)

    def _describe(self, moved: set[str]) -> Moved:
        ways = {name: self._means[name].rank for name in sorted(moved)}
        reason = reason_of(ways)
        telling = [name for name in ways if name in TELLING[reason]] or list(ways)
        feature = max(telling, key=lambda name: abs(ways[name]))
        mean, usual = self._means[feature], self.reference.features[feature].mean
        rank = min(1.0, max(0.0, 0.5 + mean.rank))
        return Moved(reason, feature, rank, mean.value, usual, mean.since, tuple(ways))

    def _clear(self) -> Moved | None:
        cleared, self.raised, self._settling = self.raised, None, 0
        return cleared
