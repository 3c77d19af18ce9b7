"""A further surface for a gate, from the features of its good images; what the gate knows already stays as it is."""

from __future__ import annotations

import datetime
import io

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.engines.session import Floats
from edge.errors import BundleError
from edge.offline.amend import with_arrays
from edge.offline.clusters import FOLDS, cluster, kept_back, threshold

PER_SURFACE = ("centres", "whiteners", "thresholds")


def teach_gate(gate: Bundle, features: list[Floats], surface: str) -> Bundle:
    """Add a surface to the gate, or teach it anew, and open the new gate.

    features: `(n, f)` of the same n images, one for each graph. Raises BundleError where the bundle is no gate.
    """
    entry = gate.manifest.arrays
    if entry is None:
        raise BundleError(f"{gate.path}: a gate needs [arrays] with its class embeddings")
    arrays = gate.read_arrays(entry)
    known = [str(name) for name in arrays["surfaces"]]
    centre, whitener, limit = learn(arrays, features)
    place = known.index(surface) if surface in known else len(known)
    for name, row in zip(PER_SURFACE, (centre, whitener, np.float64(limit)), strict=True):
        rows = list(arrays[name])
        rows[place : place + 1] = [np.asarray(row, np.float32)]
        arrays[name] = np.stack(rows)
    known[place : place + 1] = [surface]
    arrays["surfaces"] = np.array(known)
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    note = f"edge teach {surface}, {datetime.date.today()}, {len(features[0])} good images"
    return with_arrays(gate, packed.getvalue(), tuple(known), note)


def learn(
    arrays: dict[str, NDArray[np.generic]], features: list[Floats]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Centre, whitener and threshold. What the surfaces share is the mean covariance of those known already."""
    mean, projection = arrays["mean"].astype(np.float64), arrays["projection"].astype(np.float64)
    known = np.linalg.inv(arrays["whiteners"].astype(np.float64))
    shared = np.mean(known @ known.transpose(0, 2, 1), axis=0)
    codes = (np.concatenate(features) - mean) @ projection.T
    image = np.tile(np.arange(len(features[0])), len(features))
    folds = [image % FOLDS == number for number in range(FOLDS)]
    return *cluster(codes, shared), threshold(kept_back(codes, shared, folds), np.zeros(len(codes), np.bool_))
