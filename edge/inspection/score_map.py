"""A network that answers with the map itself: how likely each pixel is part of a defect (DRAEM, Zavrtanik 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.bundle import Scoring
from edge.engines.session import Floats
from edge.inspection.judge import ProbabilityScorer, one_batch, sigmoid
from edge.records import Frame
from edge.vision.image import prepare


def smoothed_score(scores: Floats, scoring: Scoring) -> float:
    """The frame's score: largest (or mean) value of its `(h, w)` map once that is smoothed (DRAEM 3.3; it takes the
    mean over 21 px, a Gaussian of sigma 6 has the same variance). The map itself is shown as it is."""
    if scoring.blur:
        scores = np.asarray(cv2.GaussianBlur(scores, (0, 0), scoring.blur), np.float32)
    return float(scores.max() if scoring.pooling == "max" else scores.mean())


class ScoreMapJudge(ProbabilityScorer):
    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """The graph answers with logits, maps `(n, 1, h, w)`."""
        rule, scoring = self.model.manifest.input, self.model.manifest.scoring
        (maps,) = self.model.run(one_batch([prepare(frame.pixels, rule, frame.full_scale) for frame in frames]))
        return [(smoothed_score(scores, scoring), scores) for scores in sigmoid(maps)[:, 0]]
