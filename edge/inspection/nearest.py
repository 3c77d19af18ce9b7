"""A judge that needs no training: how far is each place of a frame from all that good parts ever looked like?

After PatchCore (Roth et al. 2022): middle features of a network trained on other pictures, averaged over each cell's
neighbours; a memory of good cells; the distance to the nearest. The network is the gate's own, so a frame that the gate
has just looked at costs a matrix product. The cells of the `whole` view are used, whatever other views the input has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.engines.session import Floats
from edge.errors import BundleError, ScoreError
from edge.inspection.judge import Scorer
from edge.inspection.model import Model
from edge.records import Frame

ENLARGED = 4  # the map is drawn this much finer than its cells, so that boxes follow what lies between them


def smooth_cells(cells: Floats) -> Floats:
    """One view's `(d, h, w)` -> `(h, w, d)`, each cell averaged with its neighbours; edges repeated."""
    padded = np.pad(cells.transpose(1, 2, 0), ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9  # type: ignore[no-any-return]  # numpy loses the dtype


@dataclass(frozen=True, slots=True)
class Memory:
    """What good parts look like. scale: `(d,)`, what each number of a cell is multiplied with first; good: `(d, m)`
    good cells, scaled; half: `(m,)`, half of their squared lengths."""

    scale: Floats
    good: Floats
    half: Floats

    def distances(self, cells: Floats) -> Floats:
        """Distance of each of `(n, d)` cells to the nearest good one, `(n,)`."""
        scaled = cells * self.scale
        likeness = scaled @ self.good
        likeness -= self.half
        squared = np.einsum("nd,nd->n", scaled, scaled) - 2 * likeness.max(axis=1)
        return np.sqrt(np.maximum(squared, 0))  # type: ignore[no-any-return]  # numpy loses the dtype


def remember(scale: Floats, scaled: Floats) -> Memory:
    """From `(m, d)` good cells that are scaled already."""
    return Memory(scale, np.ascontiguousarray(scaled.T), 0.5 * np.einsum("md,md->m", scaled, scaled))


def worst_mean(distance: Floats, worst: int) -> float:
    """Mean of the `worst` largest distances."""
    return float(np.partition(distance, -worst)[-worst:].mean())


class NearestJudge(Scorer):
    def __init__(self, model: Model, threshold: float | None = None) -> None:
        """Raises BundleError where the bundle's arrays are missing or make no memory."""
        super().__init__(model, threshold)
        entry, rule = model.manifest.arrays, model.manifest.input
        if entry is None:
            raise BundleError(f"{model.bundle.path}: a nearest judge needs [arrays] with its memory of good cells")
        if "whole" not in rule.views:
            raise BundleError(f"{model.bundle.path}: input.views lacks `whole`, the one that covers the frame")
        self._view = rule.views.index("whole")
        self.memory = _memory(model.bundle.read_arrays(entry), model.bundle.path / entry.file)

    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """The mean of a frame's worst cells, and the distance of each to the nearest good one, drawn finer."""
        return [self._score(frame) for frame in frames]

    def _score(self, frame: Frame) -> tuple[float, Floats]:
        name, worst = self.model.manifest.name, self.model.manifest.scoring.worst
        cells = smooth_cells(self.model.look_again(frame)[1][self._view])
        h, w, d = cells.shape
        if d != len(self.memory.scale) or h * w < worst:
            raise ScoreError(f"the judge {name} answered with {h * w} cells of {d} numbers; its memory is of others")
        found = self.memory.distances(cells.reshape(-1, d))
        fine = cv2.resize(found.reshape(h, w), (w * ENLARGED, h * ENLARGED), interpolation=cv2.INTER_LINEAR)
        return worst_mean(found, worst), np.asarray(fine, np.float32)


def _memory(arrays: dict[str, NDArray[np.generic]], where: Path) -> Memory:
    try:
        scale, good = arrays["scale"].astype(np.float32), arrays["memory"].astype(np.float32)
    except KeyError as error:
        raise BundleError(f"{where} lacks the array {error}") from error
    except ValueError as error:
        raise BundleError(f"{where}: {error}") from error
    if good.ndim != 2 or not len(good) or scale.shape != good.shape[1:]:
        raise BundleError(f"{where}: memory is `(m, d)` and scale `(d,)`, not {good.shape} and {scale.shape}")
    if not (np.isfinite(good).all() and np.isfinite(scale).all()):
        raise BundleError(f"{where}: not every number is finite")
    return remember(scale, good)
