"""The gate (SBAD): which surface is this, and was it ever taught? (Cheng 3.1.2)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.engines.session import Floats
from edge.errors import BundleError, ScoreError
from edge.inspection.attributes import open_read_out
from edge.inspection.model import Model
from edge.records import Admission, Frame


class Gate:
    """Texture statistics, projected; the distance to each taught surface against that surface's threshold.

    Cheng's dissimilarity is between the class embedding that encoder 2 reads off a frame and the surface's own; it
    tells unseen surfaces worse than this Mahalanobis distance does (tools/train/gate_tables.py). The class embedding
    is read off all the same, linearly: for the person who wants to know why.
    """

    def __init__(self, model: Model) -> None:
        """Raises BundleError where the bundle's arrays are missing or make no gate."""
        self.model = model
        entry = model.manifest.arrays
        if entry is None:
            raise BundleError(f"{model.bundle.path}: a gate needs [arrays] with its class embeddings")
        arrays, where = model.bundle.read_arrays(entry), model.bundle.path / entry.file
        try:
            self._mean = arrays["mean"].astype(np.float32)
            self._projection = arrays["projection"].astype(np.float32)
            self._centres = arrays["centres"].astype(np.float32)
            self._whiteners = arrays["whiteners"].astype(np.float32)
            self._thresholds = arrays["thresholds"].astype(np.float32)
            self.surfaces = tuple(str(name) for name in arrays["surfaces"])
            self._check(where)
            self._read_out = open_read_out(arrays, self._centres, self.surfaces)
        except KeyError as error:
            raise BundleError(f"{where} lacks the array {error}") from error
        except (TypeError, ValueError) as error:
            raise BundleError(f"{where}: {error}") from error

    def _check(self, where: Path) -> None:
        if self.surfaces != self.model.manifest.surfaces:
            raise BundleError(f"{where} knows other surfaces than the manifest: {', '.join(self.surfaces)}")
        if self._projection.ndim != 2 or self._whiteners.ndim != 3:
            raise BundleError(f"{where}: projection is a matrix, whiteners are one for each surface")
        known, (kept, given) = len(self.surfaces), self._projection.shape
        shapes = {"mean": (given,), "centres": (known, kept), "thresholds": (known,)}
        shapes["whiteners"] = (known, self._whiteners.shape[1], kept)
        for name, shape in shapes.items():
            if getattr(self, f"_{name}").shape != shape:
                raise BundleError(f"{where}: {name} has not the shape {shape}")
        if not ((self._thresholds > 0) & np.isfinite(self._thresholds)).all():
            raise BundleError(f"{where}: a threshold is not positive and finite")

    def project(self, features: Floats) -> Floats:
        """One frame's `(views, d)` features -> its code, `(k,)`."""
        return self._projection @ (features.reshape(-1) - self._mean)

    def distances(self, code: Floats) -> Floats:
        """Distance of a code `(k,)` to every surface, `(s,)`."""
        whitened = np.einsum("sij,sj->si", self._whiteners, code - self._centres)
        return np.sqrt((whitened * whitened).sum(axis=1))  # type: ignore[no-any-return]  # numpy loses the dtype

    def admit(self, frame: Frame) -> Admission:
        """Raises ScoreError where the backbone's answer is not finite or of another size, EngineError, FrameError."""
        return self.admit_all([frame])[0]

    def admit_all(self, frames: Sequence[Frame]) -> list[Admission]:
        """As `admit`, all in one run."""
        return [self.admission(answer[0]) for answer in self.model.look_all(frames)]

    def admission(self, features: Floats) -> Admission:
        """What one frame's `(views, d)` features come to. Raises ScoreError."""
        if features.size != self._mean.size:
            raise ScoreError(f"the gate {self.model.manifest.name} answered with {features.size} numbers")
        code = self.project(features)
        distances = self.distances(code)
        if not np.isfinite(distances).all():
            raise ScoreError(f"the gate {self.model.manifest.name} answered with a distance that is not finite")
        nearest = int((distances / self._thresholds).argmin())
        surface, distance = self.surfaces[nearest], float(distances[nearest])
        admission = Admission(surface, distance, float(self._thresholds[nearest]))
        if self._read_out is None:
            return admission
        values = self._read_out.read(code)
        why = "" if admission.seen else self._read_out.why(values, surface)
        return replace(admission, attributes=self._read_out.named(values), why=why)
