"""What inspects a frame of a known surface: SegDec, a map, a reconstruction, or the nearest good places."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Protocol

import numpy as np

from edge.bundle import Bundle
from edge.engines.session import Floats
from edge.errors import BundleError, ScoreError
from edge.inspection.model import Model
from edge.records import Defect, Finding, Frame
from edge.vision.boxes import find_defects, worst_place


class Judge(Protocol):
    """What the pipeline asks about a frame: a scorer, or one for each region. threshold: a score above it rejects."""

    model: Model
    threshold: float

    def inspect(self, frame: Frame) -> Finding:
        """Raises ScoreError where the answer is not finite, EngineError, FrameError."""
        ...

    def inspect_all(self, frames: Sequence[Frame]) -> list[Finding]:
        """As `inspect`, in one run where the network takes it."""
        ...


class Scorer(ABC):
    """One bundle of a surface, opened on one engine: each frame's score and map against the bundle's thresholds."""

    def __init__(self, model: Model, threshold: float | None = None) -> None:
        """threshold: the line's own. Raises BundleError where the bundle has none, or is not fit for this judge."""
        self.model = model
        self.threshold = score_threshold(model.bundle, threshold)
        map_threshold(model.bundle)  # refused now rather than at the first defect

    def inspect(self, frame: Frame) -> Finding:
        """See Judge.inspect."""
        return self.inspect_all([frame])[0]

    def inspect_all(self, frames: Sequence[Frame]) -> list[Finding]:
        """See Judge.inspect_all."""
        scored, started = self.score_all(frames), perf_counter_ns()
        found = [
            finding(self.model.bundle, score, self.threshold, scores, frame)
            for frame, (score, scores) in zip(frames, scored, strict=True)
        ]
        self.model.stages["boxes"] = perf_counter_ns() - started
        return found

    @abstractmethod
    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """Each frame's score and `(h, w)` map, one batch where the network takes it. Raises EngineError, FrameError,
        ScoreError."""


class ProbabilityScorer(Scorer):
    """One whose network answers with logits; its score is a probability."""

    def __init__(self, model: Model, threshold: float | None = None) -> None:
        check_probability(model, threshold)
        super().__init__(model, threshold)


def check_probability(model: Model, threshold: float | None) -> None:
    """Raises BundleError for a line's threshold that no probability passes, or every one does."""
    if threshold is not None and not 0 <= threshold < 1:
        raise BundleError(f"{model.bundle.path}: threshold = {threshold} in line.toml; its score lies in 0..1")


def sigmoid(logits: Floats) -> Floats:
    """Logits -> probabilities, without overflow; float32."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits), np.float32)


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
