"""How good scores are, against labels and masks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FPR_LIMIT = 0.3


def image_figures(defective: Sequence[bool], scores: Sequence[float]) -> tuple[float | None, float | None]:
    """AUROC and average precision by scikit-learn; None unless both good and defective frames are there."""
    if len(set(defective)) < 2:
        return None, None
    from sklearn.metrics import average_precision_score, roc_auc_score

    return float(roc_auc_score(defective, scores)), float(average_precision_score(defective, scores))


def area_under(positives: Floats, weights: Doubles, negatives: Floats, limit: float = 1.0) -> float:
    """Area under weighted hit rate over false-positive rate from 0 to `limit`, over `limit`; exact, without the curve.

    positives, weights: `(p,)`, weights summing to 1. negatives: `(n,)`, sorted upwards. One positive's own curve is 0
    up to the rate of negatives above it, rises in a line over those equal to it, then is 1: an area in closed form.
    """
    count = len(negatives)
    above = (count - np.searchsorted(negatives, positives, side="right")) / count
    reached = (count - np.searchsorted(negatives, positives, side="left")) / count
    # Where the limit cuts through the rise, only the triangle before it counts.
    triangle = np.square(np.maximum(limit - above, 0)) / (2 * np.maximum(reached - above, 0.5 / count))
    areas = np.where(reached <= limit, limit - (above + reached) / 2, triangle)
    return float((weights * areas).sum() / limit)


class PixelScores:
    """Collects score maps and masks of one surface; keeps 4 bytes for each pixel, 12 for a defective one."""

    def __init__(self) -> None:
        self._negatives: list[Floats] = []
        self._positives: list[Floats] = []
        self._weights: list[Doubles] = []
        self._regions = 0

    def add(self, scores: Floats, mask: NDArray[np.bool_]) -> None:
        """One frame: `(h, w)` scores, and where it is defective (8-connected regions, as in Bergmann's evaluation)."""
        self._negatives.append(scores[~mask])
        if not mask.any():
            return
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        self._regions += count - 1
        self._positives.append(scores[mask])
        self._weights.append(1.0 / stats[labels[mask], cv2.CC_STAT_AREA])

    def figures(self) -> tuple[float | None, float | None]:
        """Pixel AUROC, and AUPRO: per-region overlap (Bergmann et al. 2021, 3.3.2) integrated to a false-positive rate
        of 0.3 and divided by it. None where there is no region, or nothing but regions."""
        if not self._regions or not sum(map(len, self._negatives)):
            return None, None
        negatives, positives = np.concatenate(self._negatives), np.concatenate(self._positives)
        negatives.sort()
        per_region = np.concatenate(self._weights) / self._regions
        per_pixel = np.full(len(positives), 1.0 / len(positives))
        return area_under(positives, per_pixel, negatives), area_under(positives, per_region, negatives, FPR_LIMIT)
