"""Pictures that are small as files and huge as pixels, or take a decoder for ever: refused from their header."""

from __future__ import annotations

from pathlib import Path

from tests.bus.test_fuzz import BOMBS, refusal_s
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale

MOST_MS = 5.0


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    bounds, slowest = Bounds(), 0.0
    for _ in range(scale.of(1, 5, 100)):
        for name in BOMBS:
            took = 1000 * refusal_s(name)
            slowest = max(slowest, took)
            bounds.hold(took < MOST_MS, f"{name} took {took:.1f} ms")
    say(f"the slowest took {slowest:.2f} ms")
    times = f"{len(BOMBS)} kinds, {scale.of(1, 5, 100)} times"
    return Outcome(times, f"refused within {slowest:.2f} ms", "within 5 ms", bounds.missed, {"slowest_ms": slowest})
