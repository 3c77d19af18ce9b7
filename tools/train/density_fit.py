"""What a judge by reconstruction error and latent density needs besides its network (Galacz 4.2)."""

from __future__ import annotations

import io

import numpy as np

from edge.bundle import Scoring, Thresholds
from edge.engines.session import Floats, Session
from edge.errors import DataError
from edge.inspection.density import rarity
from edge.inspection.reconstruction import pooled, residual_map
from edge.vision.image import prepare
from edge.vision.patches import cut, stitch
from tools.train.data import Sample, read_grey
from tools.train.recipe import Recipe


def good_ones(samples: list[Sample]) -> list[Sample]:
    return [s for s in samples if s.split == "train" and not s.defective]


def own_bandwidth(codes: Floats) -> float:
    """The spread of a good code around its nearest other one, per dimension: the paper names none."""
    if len(codes) < 2:
        raise DataError("a density of latent codes needs at least two good images")
    apart = np.stack([np.square(codes - code).sum(1) for code in codes])
    np.fill_diagonal(apart, np.inf)
    return float(np.sqrt(np.median(apart.min(1)) / codes.shape[1]))


def fit_density(
    session: Session, recipe: Recipe, scoring: Scoring, training: list[Sample], validation: list[Sample]
) -> tuple[bytes, Thresholds]:
    """The bundle's arrays as an .npz, and its thresholds.

    The codes are whole, 8192 numbers for 128 px: against some two hundred good ones that takes half a millisecond;
    a projection would lose what is new about a defect. session: the FP32 graph.
    """
    rule = recipe.input

    def answer(sample: Sample) -> tuple[Floats, float, Floats]:
        """Score map, its pooled error, the flat codes of the patches."""
        image = prepare(read_grey(sample.path), rule)[0, 0]
        rebuilt, latent = session.run(cut(image, rule.patch, rule.stride))
        scores = residual_map(image, stitch(rebuilt, rule.height, rule.width, rule.stride), scoring)
        return scores, pooled(scores, scoring, rule), latent.reshape(len(latent), -1).copy()

    codes = np.concatenate([answer(s)[2] for s in good_ones(training)])
    bandwidth = own_bandwidth(codes)
    seen = [answer(s) for s in good_ones(validation)]
    errors = [error for _, error, _ in seen]
    unusual = [rarity(latent, codes, bandwidth).max() for _, _, latent in seen]
    # Both may reject: each lets half of what pass_good gives away go.
    share = (1 + recipe.pass_good) / 2
    limits = {"error_limit": np.quantile(errors, share), "rarity_limit": np.quantile(unusual, share)}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, codes=codes, bandwidth=np.float64(bandwidth), **limits)
    how = (
        f"score: the larger share of two limits, reconstruction error {limits['error_limit']:.4g} and rarity of the "
        f"latent code {limits['rarity_limit']:.4g}; {share:.0%} of {len(seen)} good images of the validation fold stay "
        f"below each; map: {share:.0%} of their worst pixels stay below"
    )
    worst = float(np.quantile([scores.max() for scores, _, _ in seen], share))
    return packed.getvalue(), Thresholds(score=1.0, map=worst, how=how)
