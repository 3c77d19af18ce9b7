"""A journal cut at each byte of its tail, each of its bytes flipped: what was synced is there, each flip is found."""

from __future__ import annotations

from pathlib import Path

from tests.journal.damage import cut_everywhere, fill_two_segments, flip_everywhere
from tools.faults_suite.outcome import Outcome, Say, Scale


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    """What does not hold is an AssertionError."""
    for name in ("cut", "flipped"):
        fill_two_segments(folder / name)
    cuts = cut_everywhere(folder / "cut")
    say(f"{cuts} cuts")
    flips = flip_everywhere(folder / "flipped", scale.of(1, 1, 8))
    found = "all that was synced is there, each flip found in its record"
    bound = "the synced prefix recovered, every flip found"
    return Outcome(f"{cuts} cuts, {flips} flips", found, bound, [], {"cuts": cuts, "flips": flips})
