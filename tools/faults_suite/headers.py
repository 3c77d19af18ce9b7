"""Hostile headers: each is refused or read, none takes long, and memory stays."""

from __future__ import annotations

from pathlib import Path

from tests.bus.test_fuzz import hammer
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale

GROWN_MB, SLOWEST_S = 16.0, 0.1


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    count, bounds = scale.of(20_000, 500_000, 10_000_000), Bounds()
    grown, slowest, read = hammer(count)
    say(f"{read} of {count} could be read")
    bounds.hold(grown < GROWN_MB * 1e6, f"memory grew by {grown / 1e6:.1f} MB")
    bounds.hold(slowest < SLOWEST_S, f"one took {slowest:.2f} s")
    found = f"{read} read, the rest refused; {grown / 1e6:+.1f} MB, slowest {1000 * slowest:.1f} ms"
    figures = {"grown_mb": grown / 1e6, "slowest_ms": 1000 * slowest}
    return Outcome(f"{count} headers", found, "no crash, no hang, memory + 16 MiB", bounds.missed, figures)
