"""What the gate knows of its surfaces: a projection, and for each surface a centre, a whitener and a threshold.

Stands in for the class embedding of Cheng 3.1.2: good and defective images of a surface are one cluster there too, so
both are fitted on. Arrays in, arrays out; torch is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Reals = NDArray[np.floating]
Names = NDArray[np.str_]
Booleans = NDArray[np.bool_]

# All four numbers: best harmonic mean of taught frames admitted (folds 0-3, each kept back in turn from fit and
# thresholds) and of whole surfaces refused (each taught surface left out in turn, projection and all). More components
# admit a few more defective parts and take in the look-alike: with 192 half of the mono solar cells pass for poly.
COMPONENTS = 64
# The covariance that all surfaces share counts as much as this many images of a surface's own: it holds the fabrics
# with forty images in shape.
SHARED_WEIGHT = 30.0
RIDGE = 1e-3
# Threshold: half as much again as what 90 of 100 kept-back images stay below. A higher quantile is the tail's own, and
# the far tail of one surface takes in its neighbour's parts.
QUANTILE, MARGIN = 0.9, 1.5
UNSEEN = "unseen"


@dataclass(frozen=True)
class Fitted:
    """mean `(f,)`; projection `(k, f)`, standardisation folded in; centres `(s, k)`; whiteners `(s, k, k)`, lower
    triangular; thresholds `(s,)`. f: the features of one frame, all views in a row."""

    surfaces: tuple[str, ...]
    mean: Floats
    projection: Floats
    centres: Floats
    whiteners: Floats
    thresholds: Floats

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As edge.inspection.gate reads them."""
        fields = ("mean", "projection", "centres", "whiteners", "thresholds")
        return {"surfaces": np.array(self.surfaces), **{name: getattr(self, name) for name in fields}}

    def distances(self, features: Floats) -> Doubles:
        """`(n, f)` -> Mahalanobis distance to each surface, `(n, s)`."""
        codes = (features - self.mean) @ self.projection.T
        return _distances(codes, self.centres, self.whiteners)

    def called(self, features: Floats) -> Names:
        """What each frame is taken for: the surface with the least distance for its threshold, or UNSEEN."""
        ratio = self.distances(features) / self.thresholds
        return np.where(ratio.min(axis=1) <= 1, np.array(self.surfaces)[ratio.argmin(axis=1)], UNSEEN)


def fit(
    features: Floats, surface: Names, fold: NDArray[np.int64], surfaces: tuple[str, ...], components: int = COMPONENTS
) -> Fitted:
    """features `(n, f)`, surface `(n,)`, fold `(n,)`: an image's fold, the same for all images of one part.

    Thresholds come from distances of each fold to clusters of the other folds; the clusters handed back know them all.
    Only the projection, which knows no surfaces, is the same for all. Raises DataError for a surface with one fold.
    """
    mean, projection = _principal(features, min(components, *features.shape))
    codes = (features - mean) @ projection.T
    kept_back = np.full((len(codes), len(surfaces)), np.nan)
    for number in np.unique(fold):
        out = fold == number
        kept_back[out] = _distances(codes[out], *_clusters(codes[~out], surface[~out], surfaces))
    own = [kept_back[surface == name, index] for index, name in enumerate(surfaces)]
    centres, whiteners = _clusters(codes, surface, surfaces)
    thresholds = np.array([_threshold(distances) for distances in own])
    parts = (mean, projection, centres, whiteners, thresholds)
    return Fitted(surfaces, *(np.ascontiguousarray(part, np.float32) for part in parts))


def _principal(features: Floats, components: int) -> tuple[Floats, Floats]:
    """Mean and the principal components of the standardised features, the standardisation folded in."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    standard = (features - mean) / spread
    _, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    return mean, vectors[:, ::-1][:, :components].T / spread


def _clusters(codes: Reals, surface: Names, surfaces: tuple[str, ...]) -> tuple[Doubles, Doubles]:
    """Centres and whiteners; each covariance is drawn towards the mean of all."""
    members = [codes[surface == name].astype(np.float64) for name in surfaces]
    for name, own in zip(surfaces, members, strict=True):
        if len(own) < 2:
            raise DataError(f"{name} has {len(own)} images outside one of its folds; it needs two folds at least")
    covariances = [np.cov(own.T, bias=True) for own in members]
    shared = np.mean(covariances, axis=0)
    shared += RIDGE * np.trace(shared) / len(shared) * np.eye(len(shared))
    whiteners = []
    for own, covariance in zip(members, covariances, strict=True):
        blend = (len(own) * covariance + SHARED_WEIGHT * shared) / (len(own) + SHARED_WEIGHT)
        whiteners.append(np.linalg.inv(np.linalg.cholesky(blend)))
    return np.stack([own.mean(axis=0) for own in members]), np.stack(whiteners)


def _distances(codes: Reals, centres: Reals, whiteners: Reals) -> Doubles:
    pairs = zip(centres, whiteners, strict=True)
    columns = [np.linalg.norm((codes - centre) @ whitener.T, axis=1) for centre, whitener in pairs]
    return np.stack(columns, axis=1).astype(np.float64)


def _threshold(distances: Doubles) -> float:
    return float(np.quantile(distances, QUANTILE) * MARGIN)


def figures(surface: Names, called: Names, defective: Booleans, surfaces: tuple[str, ...]) -> dict[str, object]:
    """Shares of frames called rightly: of taught surfaces (`seen`), of others (`unseen`), their harmonic mean."""
    taught = np.isin(surface, surfaces)
    right = np.where(taught, called == surface, called == UNSEEN)
    seen, unseen = float(right[taught].mean()), float(right[~taught].mean())
    each, confusion = {}, {}
    for name in np.unique(surface).tolist():
        own = surface == name
        good, bad = right[own & ~defective], right[own & defective]
        each[name] = {"n": int(own.sum()), "right": _share(right[own]), "good": _share(good), "defective": _share(bad)}
        values, counts = np.unique(called[own], return_counts=True)
        confusion[name] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    harmonic = 2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0
    head = {"seen": round(seen, 4), "unseen": round(unseen, 4), "harmonic_mean": round(harmonic, 4)}
    return {**head, "seen_defective": _share(right[taught & defective]), "surfaces": each, "confusion": confusion}


def _share(right: Booleans) -> float | None:
    return round(float(right.mean()), 4) if len(right) else None
