"""A network that answers with the map itself: how likely each pixel is part of a defect (DRAEM, Zavrtanik 2021), or how
odd it is on a scale of its own (an imported network)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.bundle import Scoring
from edge.engines.session import Floats
from edge.errors import BundleError
from edge.inspection.judge import Scorer, check_probability, sigmoid
from edge.inspection.model import Model, one_batch
from edge.records import Frame
from edge.vision.image import prepare

SCORE = "score"


def smoothed_score(scores: Floats, scoring: Scoring) -> float:
    """The frame's score: largest (or mean) value of its `(h, w)` map once that is smoothed (DRAEM 3.3; it takes the
    mean over 21 px, a Gaussian of sigma 6 has the same variance). The map itself is shown as it is."""
    if scoring.blur:
        scores = np.asarray(cv2.GaussianBlur(scores, (0, 0), scoring.blur), np.float32)
    return float(scores.max() if scoring.pooling == "max" else scores.mean())


class ScoreMapJudge(Scorer):
    def __init__(self, model: Model, threshold: float | None = None) -> None:
        """Raises BundleError too where a probability cannot pass the threshold, or the second output is no score."""
        if model.manifest.scoring.answer == "logit":
            check_probability(model, threshold)
        if model.manifest.outputs[1:] not in ((), (SCORE,)):
            raise BundleError(f"{model.bundle.path}: outputs: after the map comes `{SCORE}` or nothing")
        super().__init__(model, threshold)

    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """The graph answers with maps `(n, 1, h, w)` and perhaps each frame's score `(n, 1)`, which else is pooled from
        its map; logits or scores as the manifest's scoring.answer says."""
        rule, scoring = self.model.manifest.input, self.model.manifest.scoring
        batch = one_batch([prepare(frame.pixels, rule, frame.full_scale) for frame in frames])
        answers = self.model.run(batch)
        # copied: the next run overwrites a session's answer
        maps, *own = (sigmoid(found) if scoring.answer == "logit" else found.copy() for found in answers)
        scores = own[0][:, 0] if own else [smoothed_score(found, scoring) for found in maps[:, 0]]
        return [(float(score), found) for score, found in zip(scores, maps[:, 0], strict=True)]
