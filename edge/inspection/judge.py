"""What inspects a frame of a known surface: SegDec, a map, a reconstruction, or the nearest good places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from edge.bundle import Bundle
from edge.engines.session import Floats
from edge.errors import BundleError, ScoreError
from edge.inspection.model import Model
from edge.records import Defect, Finding, Frame
from edge.vision.boxes import find_defects, worst_place


class Judge(Protocol):
    """One bundle of a surface, opened on one engine. threshold: a frame's score above it is a rejection."""

    model: Model
    threshold: float

    def inspect(self, frame: Frame) -> Finding:
        """Raises ScoreError where the answer is not finite, EngineError, FrameError."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A judge whose frames can be run as one batch, and whose finding is their score and map against its thresholds
    (`finding` below) and nothing else."""

    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """Each frame's score and `(h, w)` map, not yet looked at. Raises EngineError, FrameError."""
        ...


def one_batch(batches: Sequence[Floats]) -> Floats:
    """Several `(n, c, h, w)` as one; no copy of a single one."""
    return batches[0] if len(batches) == 1 else np.concatenate(batches)


def score_threshold(bundle: Bundle, line_threshold: float | None) -> float:
    """The line's own threshold, or the manifest's. Raises BundleError where neither has one."""
    threshold = bundle.manifest.thresholds.score if line_threshold is None else line_threshold
    if threshold is None or not np.isfinite(threshold):
        raise BundleError(f"{bundle.path}: thresholds.score is missing; set it, or the judge's threshold in line.toml")
    return threshold


def map_threshold(bundle: Bundle) -> float:
    """Raises BundleError where the manifest has none."""
    threshold = bundle.manifest.thresholds.map
    if threshold is None or not np.isfinite(threshold):
        raise BundleError(f"{bundle.path}: thresholds.map is missing; a judge needs it to draw boxes")
    return threshold


def finding(bundle: Bundle, score: float, threshold: float, scores: Floats, frame: Frame) -> Finding:
    """Put a score and its map together. Raises ScoreError where either is not finite."""
    if not np.isfinite(score) or not np.isfinite(scores.sum()):
        raise ScoreError(f"the judge {bundle.manifest.name} answered with a score that is not finite")
    defects: tuple[Defect, ...] = ()
    limit = map_threshold(bundle)
    if score > threshold:
        size = frame.pixels.shape[:2]
        defects = find_defects(scores, limit, size, bundle.manifest.label, bundle.manifest.scoring.least_area)
        defects = defects or (worst_place(scores, size, bundle.manifest.label),)
    stretched = bundle.manifest.scoring.heat == "difference"
    return Finding(score, threshold, defects, scores, limit, stretched=stretched)
