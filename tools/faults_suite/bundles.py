"""Tampered bundles: all of them refused, while the one that was opened before serves."""

from __future__ import annotations

from pathlib import Path

from tests.tampered import make_shop, tamper
from tools.faults_suite.outcome import Outcome, Say, Scale


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    """What does not hold is an AssertionError."""
    folder.mkdir()
    times = scale.of(100, 1000, 10_000)
    refused = tamper(make_shop(models, folder), times)
    say(f"{refused} refused")
    bound = "all refused while the old one serves"
    return Outcome(f"{times} bundles", f"{refused} refused", bound, [], {"refused": refused})
