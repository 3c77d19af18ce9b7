"""What a fault is given and what it answers: how often it is to strike, and what was found against its bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

Value = TypeVar("Value")
Say = Callable[[str], None]


class Scale(Enum):
    """SMOKE: seconds, does it run at all? MINUTES: all faults in about ten. HOUR: as often as a bound is stated for."""

    SMOKE = 0
    MINUTES = 1
    HOUR = 2

    def of(self, smoke: Value, minutes: Value, hour: Value) -> Value:
        return (smoke, minutes, hour)[self.value]


@dataclass(frozen=True, slots=True)
class Outcome:
    """times: how often it struck, in words. found: the figures that count, in words. bound: what they had to keep.
    missed: a sentence for each bound that was not kept; none where all were. figures: for machines."""

    times: str
    found: str
    bound: str
    missed: list[str] = field(default_factory=list)
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.missed


class Bounds:
    """Collects what was missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def hold(self, held: bool, otherwise: str) -> None:
        """otherwise: a sentence of what was found instead; said once."""
        if not held and otherwise not in self.missed:
            self.missed.append(otherwise)


def percentile(values: list[float], percent: float) -> float:
    """0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
