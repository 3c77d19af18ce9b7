"""Figures against cases known by hand, scikit-learn, and the plain way to count them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edge.offline.metrics import FPR_LIMIT, PixelScores, image_figures

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn (extra `evaluate`) is not here")


def brute_force_aupro(maps: list[Floats], masks: list[Mask]) -> float:
    """The definition: at every threshold the mean overlap of the regions, against the false-positive rate."""
    regions = []
    for scores, mask in zip(maps, masks, strict=True):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        regions += [scores[labels == label] for label in range(1, count)]
    negatives = np.concatenate([scores[~mask] for scores, mask in zip(maps, masks, strict=True)])
    rates, overlaps = [0.0], [0.0]
    for threshold in np.unique(np.concatenate([scores.ravel() for scores in maps]))[::-1]:
        rates.append(float((negatives >= threshold).mean()))
        overlaps.append(float(np.mean([(region >= threshold).mean() for region in regions])))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(
        zip(rates, overlaps, strict=True), list(zip(rates, overlaps, strict=True))[1:], strict=False
    ):
        if x1 > x0 and x0 < FPR_LIMIT:
            end = min(x1, FPR_LIMIT)
            area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return area / FPR_LIMIT


def collect(maps: list[Floats], masks: list[Mask]) -> tuple[float | None, float | None]:
    pixels = PixelScores()
    for scores, mask in zip(maps, masks, strict=True):
        pixels.add(scores, mask)
    return pixels.figures()


SHAPE = (5, 7)
LEVELS = st.integers(0, 6).map(lambda level: level / 4)  # few levels, so that ties are common


@given(
    st.lists(
        st.tuples(arrays(np.float32, SHAPE, elements=LEVELS), arrays(np.bool_, SHAPE)),
        min_size=1,
        max_size=4,
    )
)
def test_pixel_figures_are_those_of_the_definition(frames: list[tuple[Floats, Mask]]) -> None:
    maps, masks = [scores for scores, _ in frames], [mask for _, mask in frames]
    labels = np.stack(masks).ravel()
    auroc, aupro = collect(maps, masks)
    if labels.all() or not labels.any():
        assert (auroc, aupro) == (None, None)
        return
    assert auroc == pytest.approx(sklearn_metrics.roc_auc_score(labels, np.stack(maps).ravel()), abs=1e-9)
    assert aupro == pytest.approx(brute_force_aupro(maps, masks), abs=1e-9)


def test_a_perfect_map_scores_one_and_a_reversed_one_zero() -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[2:4, 2:4] = True
    assert collect([mask.astype(np.float32)], [mask]) == (1.0, 1.0)
    assert collect([(~mask).astype(np.float32)], [mask]) == (0.0, 0.0)


def test_each_region_counts_the_same_in_aupro_whatever_its_size() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[0:5, 0:5] = True  # 25 pixels, found
    mask[9, 9] = True  # 1 pixel, missed
    scores = np.zeros((10, 10), np.float32)
    scores[0:5, 0:5] = 1
    scores[9, 9] = -1
    auroc, aupro = collect([scores], [mask])
    assert aupro == pytest.approx(0.5)
    assert auroc == pytest.approx(25 / 26)


def test_a_constant_map_is_a_coin() -> None:
    mask = np.zeros((4, 4), np.bool_)
    mask[0, 0] = True
    auroc, aupro = collect([np.ones((4, 4), np.float32)], [mask])
    assert auroc == pytest.approx(0.5)
    assert aupro == pytest.approx(FPR_LIMIT / 2)


def test_image_figures() -> None:
    assert image_figures([False, False, True, True], [0.1, 0.2, 0.3, 0.4]) == (1.0, 1.0)
    auroc, precision = image_figures([False, True, False, True], [0.1, 0.2, 0.3, 0.4])
    assert auroc == pytest.approx(0.75)
    assert precision == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("labels", [[], [True, True], [False]])
def test_one_sort_alone_has_no_image_figures(labels: list[bool]) -> None:
    assert image_figures(labels, [0.5] * len(labels)) == (None, None)
