"""SegDec: a map of the defects and one decision about the frame (Tabernik 2019; Cheng's SBDD)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.session import Floats
from edge.errors import BundleError
from edge.inspection.judge import finding, map_threshold, one_batch, score_threshold
from edge.inspection.model import Model
from edge.records import Finding, Frame
from edge.vision.image import prepare


def sigmoid(logits: Floats) -> Floats:
    """Logits -> probabilities, without overflow; float32."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits), np.float32)


class SegDecJudge:
    def __init__(self, model: Model, threshold: float | None = None) -> None:
        if threshold is not None and not 0 <= threshold < 1:
            raise BundleError(f"{model.bundle.path}: threshold = {threshold} in line.toml; its score lies in 0..1")
        self.model = model
        self.threshold = score_threshold(model.bundle, threshold)
        map_threshold(model.bundle)  # refused now rather than at the first defect

    def inspect(self, frame: Frame) -> Finding:
        """See Judge.inspect."""
        ((score, defects),) = self.score_all([frame])
        return finding(self.model.bundle, score, self.threshold, defects, frame)

    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """The graph answers with logits: scores `(n, 1)` and maps `(n, 1, h/8, w/8)`."""
        rule = self.model.manifest.input
        batch = one_batch([prepare(frame.pixels, rule, frame.full_scale) for frame in frames])
        scores, defects = self.model.run(batch)
        return [
            (float(score), found) for score, found in zip(sigmoid(scores)[:, 0], sigmoid(defects)[:, 0], strict=True)
        ]
