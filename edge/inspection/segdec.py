"""SegDec: a map of the defects and one decision about the frame (Tabernik 2019; Cheng's SBDD)."""

from __future__ import annotations

import numpy as np

from edge.engines.session import Floats
from edge.errors import BundleError
from edge.inspection.judge import finding, map_threshold, score_threshold
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
        """The graph answers with logits: score `(1, 1)` and map `(1, 1, h/8, w/8)`."""
        score, defects = self.model.run(prepare(frame.pixels, self.model.manifest.input, frame.full_scale))
        return finding(self.model.bundle, float(sigmoid(score)[0, 0]), self.threshold, sigmoid(defects)[0, 0], frame)
