"""SegDec: a map of the defects and one decision about the frame (Tabernik 2019; Cheng's SBDD)."""

from __future__ import annotations

from collections.abc import Sequence

from edge.engines.session import Floats
from edge.inspection.judge import ProbabilityScorer, sigmoid
from edge.inspection.model import one_batch
from edge.records import Frame
from edge.vision.image import prepare


class SegDecJudge(ProbabilityScorer):
    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """The graph answers with logits: scores `(n, 1)` and maps `(n, 1, h/8, w/8)`."""
        rule = self.model.manifest.input
        batch = one_batch([prepare(frame.pixels, rule, frame.full_scale) for frame in frames])
        scores, defects = self.model.run(batch)
        return [
            (float(score), found) for score, found in zip(sigmoid(scores)[:, 0], sigmoid(defects)[:, 0], strict=True)
        ]
