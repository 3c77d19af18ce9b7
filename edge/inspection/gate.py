"""The gate (SBAD): which surface is this, and was it ever taught? (Cheng 3.1.2)"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.engines.session import Floats
from edge.errors import BundleError, ScoreError
from edge.inspection.model import Model
from edge.records import Admission, Frame
from edge.vision.image import prepare


class Gate:
    """Texture statistics, projected; the distance to each taught surface against that surface's threshold.

    Not yet the paper's encoder: its class embedding is here the surface's mean in the projected statistics, its
    dissimilarity the Mahalanobis distance to it.
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
        except KeyError as error:
            raise BundleError(f"{where} lacks the array {error}") from error
        except ValueError as error:
            raise BundleError(f"{where}: {error}") from error
        self._check(where)

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

    def distances(self, features: Floats) -> Floats:
        """Distance of one frame's `(views, d)` features to every surface, `(s,)`."""
        code = self._projection @ (features.reshape(-1) - self._mean)
        whitened = np.einsum("sij,sj->si", self._whiteners, code - self._centres)
        return np.sqrt((whitened * whitened).sum(axis=1))  # type: ignore[no-any-return]  # numpy loses the dtype

    def admit(self, frame: Frame) -> Admission:
        """Raises ScoreError where the backbone's answer is not finite or of another size, EngineError, FrameError."""
        (features,) = self.model.run(prepare(frame.pixels, self.model.manifest.input, frame.full_scale))
        if features.size != self._mean.size:
            raise ScoreError(f"the gate {self.model.manifest.name} answered with {features.size} numbers")
        distances = self.distances(features)
        if not np.isfinite(distances).all():
            raise ScoreError(f"the gate {self.model.manifest.name} answered with a distance that is not finite")
        nearest = int((distances / self._thresholds).argmin())
        return Admission(self.surfaces[nearest], float(distances[nearest]), float(self._thresholds[nearest]))
