"""An autoencoder taught on good parts alone: what it cannot rebuild was never good (Zouar chapter 4)."""

from __future__ import annotations

import cv2
import numpy as np

from edge.bundle import Scoring
from edge.engines.session import Floats
from edge.inspection.judge import finding, map_threshold, score_threshold
from edge.inspection.model import Model
from edge.records import Finding, Frame
from edge.vision.image import prepare
from edge.vision.patches import cut, stitch


def residual_map(image: Floats, rebuilt: Floats, scoring: Scoring) -> Floats:
    """Squared difference of two `(h, w)` images (Zouar figure 14 before the sum), smoothed by the manifest's blur."""
    residual = np.square(image - rebuilt)
    return np.asarray(cv2.GaussianBlur(residual, (0, 0), scoring.blur), np.float32) if scoring.blur else residual


class ReconstructionJudge:
    def __init__(self, model: Model, threshold: float | None = None) -> None:
        self.model = model
        self.threshold = score_threshold(model.bundle, threshold)
        map_threshold(model.bundle)  # refused now rather than at the first defect

    def inspect(self, frame: Frame) -> Finding:
        """Cut, rebuild, stitch, compare."""
        rule = self.model.manifest.input
        image = prepare(frame.pixels, rule, frame.full_scale)[0, 0]
        (rebuilt,) = self.model.run(cut(image, rule.patch, rule.stride))
        scoring = self.model.manifest.scoring
        scores = residual_map(image, stitch(rebuilt, rule.height, rule.width, rule.stride), scoring)
        score = scores.max() if scoring.pooling == "max" else scores.mean()
        return finding(self.model.bundle, float(score), self.threshold, scores, frame)
