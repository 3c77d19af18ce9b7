"""What the gate knows of its surfaces: a projection, for each surface a centre, a whitener and a threshold; and how the
class embedding is read off a frame.

The distance stands in for that of Cheng's encoder 2 (3.1.2), which tells unseen surfaces worse (gate_tables): good and
defective images of a surface are one cluster there too, so both are fitted on. Arrays in, arrays out; no torch.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.offline.clusters import apart, cluster, threshold

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Reals = NDArray[np.floating]
Names = NDArray[np.str_]
Booleans = NDArray[np.bool_]

# All these numbers: best harmonic mean of taught frames admitted (folds 0-3, each kept back in turn from fit and
# thresholds; mean over surfaces, good and defective counting half each) and of whole surfaces refused (each taught
# surface left out in turn, projection and all; and the choosing half of tools/unseen_surfaces). More components
# admit a few more defective parts and take in the look-alike: with 192 half of the mono solar cells pass for poly.
COMPONENTS = 64
RIDGE = 1e-3
READ_OUT_RIDGE = 1e-2
UNSEEN = "unseen"


class Embeddings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Class embeddings by hand (Cheng, table 1): the names of the attributes, and each surface's values from 0 to 1."""

    attributes: tuple[str, ...]
    surfaces: dict[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        for name, values in self.surfaces.items():
            if len(values) != len(self.attributes):
                raise ValueError(f"surfaces.{name}: {len(values)} values for {len(self.attributes)} attributes")


def read_embeddings(path: Path, surfaces: tuple[str, ...]) -> Embeddings | None:
    """Those of the surfaces named that the file has; None where it has none of them.

    Raises msgspec.ValidationError naming the field.
    """
    given = msgspec.convert(tomllib.loads(path.read_text()), Embeddings)
    known = {name: values for name, values in given.surfaces.items() if name in surfaces}
    return Embeddings(given.attributes, known) if known else None


@dataclass(frozen=True)
class Fitted:
    """mean `(f,)`; projection `(k, f)`, standardisation folded in; centres `(s, k)`; whiteners `(s, k, k)`, lower
    triangular; thresholds `(s,)`; readout `(a, k)` and readout_offset `(a,)`: from a code to the attributes. f: the
    features of one frame, all views in a row. a: 0 where no taught surface has a class embedding."""

    surfaces: tuple[str, ...]
    attributes: tuple[str, ...]
    mean: Floats
    projection: Floats
    centres: Floats
    whiteners: Floats
    thresholds: Floats
    readout: Floats
    readout_offset: Floats

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As edge.inspection.gate reads them."""
        fields = ["mean", "projection", "centres", "whiteners", "thresholds"]
        arrays = {"surfaces": np.array(self.surfaces)}
        if self.attributes:
            arrays["attributes"] = np.array(self.attributes)
            fields += ["readout", "readout_offset"]
        return {**arrays, **{name: getattr(self, name) for name in fields}}

    def distances(self, features: Floats) -> Doubles:
        """`(n, f)` -> Mahalanobis distance to each surface, `(n, s)`."""
        return self.code_distances(self.project(features))

    def project(self, features: Floats) -> Floats:
        """`(n, f)` -> codes `(n, k)`."""
        return np.asarray((features - self.mean) @ self.projection.T, np.float32)

    def code_distances(self, codes: Floats) -> Doubles:
        """The same from projected features, `(n, k)`."""
        return _distances(codes, self.centres, self.whiteners)

    def called(self, features: Floats) -> Names:
        """What each frame is taken for: the surface with the least distance for its threshold, or UNSEEN."""
        ratio = self.distances(features) / self.thresholds
        return np.where(ratio.min(axis=1) <= 1, np.array(self.surfaces)[ratio.argmin(axis=1)], UNSEEN)


def fit(
    features: Floats,
    surface: Names,
    fold: NDArray[np.int64],
    defective: Booleans,
    surfaces: tuple[str, ...],
    embeddings: Embeddings | None = None,
) -> Fitted:
    """features `(n, f)`, surface, defective `(n,)`, fold `(n,)`: an image's fold, the same for all images of one part.

    Thresholds come from distances of each fold to clusters of the other folds; the clusters handed back know them all.
    Only the projection, which knows no surfaces, is the same for all. Raises DataError for a surface with one fold.
    """
    mean, projection = _principal(features, min(COMPONENTS, *features.shape))
    codes = np.asarray((features - mean) @ projection.T, np.float32)
    kept_back = np.full((len(codes), len(surfaces)), np.nan)
    for number in np.unique(fold):
        out = fold == number
        kept_back[out] = _distances(codes[out], *_clusters(codes[~out], surface[~out], surfaces))
    centres, whiteners = _clusters(codes, surface, surfaces)
    own = [surface == name for name in surfaces]
    thresholds = np.array([threshold(kept_back[rows, i], defective[rows]) for i, rows in enumerate(own)])
    attributes: tuple[str, ...] = ()
    readout, offset = np.empty((0, codes.shape[1])), np.empty(0)
    if embeddings is not None:
        attributes = embeddings.attributes
        readout, offset = _read_out(codes, surface, embeddings)
    parts = (mean, projection, centres, whiteners, thresholds, readout, offset)
    arrays = [np.ascontiguousarray(part, np.float32) for part in parts]
    return Fitted(surfaces, attributes, *arrays)


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
    shared = np.mean([np.cov(own.T, bias=True) for own in members], axis=0)
    shared += RIDGE * np.trace(shared) / len(shared) * np.eye(len(shared))
    known = [cluster(own, shared) for own in members]
    return np.stack([centre for centre, _ in known]), np.stack([whitener for _, whitener in known])


def _distances(codes: Reals, centres: Reals, whiteners: Reals) -> Doubles:
    return np.stack([apart(codes, *known) for known in zip(centres, whiteners, strict=True)], axis=1)


def _read_out(codes: Floats, surface: Names, embeddings: Embeddings) -> tuple[Doubles, Doubles]:
    """Ridge regression of the class embedding on the code, every surface weighing the same: `(a, k)`, `(a,)`."""
    known = np.isin(surface, list(embeddings.surfaces))
    codes, surface = codes[known].astype(np.float64), surface[known]
    names, row = np.unique(surface, return_inverse=True)
    weight = (1 / np.bincount(row) / len(names))[row]
    wanted = np.array([embeddings.surfaces[str(name)] for name in names])[row]
    middle, level = weight @ codes, weight @ wanted
    spread = (codes - middle).T * weight
    covariance = spread @ (codes - middle)
    covariance += READ_OUT_RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    readout = np.linalg.solve(covariance, spread @ (wanted - level)).T
    return readout, level - readout @ middle


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
