"""An autoencoder taught on good parts alone: what it cannot rebuild was never good (Zouar chapter 4)."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns

import cv2
import numpy as np

from edge.bundle import Scoring
from edge.engines.session import Floats
from edge.inspection.density import read_density
from edge.inspection.judge import Scorer
from edge.inspection.model import Model, one_batch
from edge.records import Frame
from edge.vision.image import InputRule, prepare
from edge.vision.patches import cut, stitch
from edge.vision.similarity import ssim_map


def residual_map(image: Floats, rebuilt: Floats, scoring: Scoring) -> Floats:
    """How two `(h, w)` images differ, smoothed by the manifest's blur: squared difference (Zouar figure 14 before the
    sum), or 1 - SSIM (Bergmann's other autoencoder, Ferrari)."""
    residual = np.square(image - rebuilt) if scoring.measure == "l2" else 1 - ssim_map(image, rebuilt)
    return np.asarray(cv2.GaussianBlur(residual, (0, 0), scoring.blur), np.float32) if scoring.blur else residual


def pooled(scores: Floats, scoring: Scoring, rule: InputRule) -> float:
    """The `(h, w)` map's score; of `worst_patch` the patches are cut as the network saw them."""
    if scoring.pooling == "worst_patch":
        return float(cut(scores, rule.patch, rule.stride).mean((1, 2, 3)).max())
    return float(scores.max() if scoring.pooling == "max" else scores.mean())


class ReconstructionJudge(Scorer):
    def __init__(self, model: Model, threshold: float | None = None) -> None:
        super().__init__(model, threshold)
        self.density = read_density(model.bundle)

    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """Cut, rebuild, stitch, compare; where the network gives its latent code, ask for its density as well, and the
        score is the larger share of a limit (edge.inspection.density)."""
        rule, scoring = self.model.manifest.input, self.model.manifest.scoring
        images = [prepare(frame.pixels, rule, frame.full_scale)[0, 0] for frame in frames]
        rebuilt, *latent = self.model.run(one_batch([cut(image, rule.patch, rule.stride) for image in images]))
        scored = []
        by_frame = rebuilt.reshape(len(images), -1, *rebuilt.shape[1:])
        for number, (image, patches) in enumerate(zip(images, by_frame, strict=True)):
            started = perf_counter_ns()
            whole = stitch(patches, rule.height, rule.width, rule.stride)
            self.model.stages["stitch"] = perf_counter_ns() - started
            scores = residual_map(image, whole, scoring)
            if self.model.graph.gain != 1:
                scores /= np.float32(self.model.graph.gain)
            score = pooled(scores, scoring, rule)
            if self.density:
                score = self.density.score(score, np.split(latent[0], len(images))[number])
            scored.append((score, np.abs(image - whole) if scoring.heat == "difference" else scores))
        return scored
