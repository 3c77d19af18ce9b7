"""A surface as the gate knows it: a centre, a whitener, a threshold. For whoever teaches it, here or on the line."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Reals = NDArray[np.floating]

# All chosen as tools/train/gate_fit.py says.
# The covariance that all surfaces share counts as much as this many images of a surface's own: it holds the fabrics
# with forty images in shape.
SHARED_WEIGHT = 30.0
# Threshold: 1.4 times what 90 of 100 kept-back images stay below, good and defective ones counting half each: with
# plain counts every good bottle came in and every third broken one did not. A higher quantile is the tail's own, and
# the far tail of one surface takes in its neighbour's parts.
QUANTILE, MARGIN = 0.9, 1.4


# Thresholds are set on images that a cluster, or a memory, of the other folds' was not made of.
FOLDS = 5


def cluster(codes: Reals, shared: Doubles) -> tuple[Doubles, Doubles]:
    """Centre `(k,)` and whitener `(k, k)` of one surface's codes `(n, k)`; its covariance is drawn towards `shared`."""
    own = codes.astype(np.float64)
    blend = (len(own) * np.cov(own.T, bias=True) + SHARED_WEIGHT * shared) / (len(own) + SHARED_WEIGHT)
    return own.mean(axis=0), np.linalg.inv(np.linalg.cholesky(blend))


def apart(codes: Reals, centre: Reals, whitener: Reals) -> Doubles:
    """Mahalanobis distance of codes `(n, k)` to one surface, `(n,)`."""
    return np.asarray(np.linalg.norm((codes - centre) @ whitener.T, axis=1), np.float64)


def kept_back(codes: Reals, shared: Doubles, folds: Iterable[NDArray[np.bool_]]) -> Doubles:
    """Each code's distance to the cluster of those outside its own fold, `(n,)`. folds: masks that cover all."""
    distances = np.full(len(codes), np.nan)
    for out in folds:
        distances[out] = apart(codes[out], *cluster(codes[~out], shared))
    return distances


def threshold(distances: Doubles, defective: NDArray[np.bool_]) -> float:
    """From the distances of kept-back images `(n,)`: good and defective ones weigh half each, all the same where there
    is one kind alone."""
    weight = np.ones(len(distances))
    for kind in (defective, ~defective):
        weight[kind] /= max(1, kind.sum())
    order = np.argsort(distances)
    below = np.cumsum(weight[order])
    return float(distances[order][np.searchsorted(below, QUANTILE * below[-1])] * MARGIN)
