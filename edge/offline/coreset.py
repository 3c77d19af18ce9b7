"""A few rows that stand for many: each next one is the farthest from those chosen so far (PatchCore, algorithm 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CANDIDATES = 60_000
PROJECTED = 64


def coreset(rows: Floats, count: int, seed: int = 1) -> NDArray[np.int64]:
    """Indices of `count` rows of `(n, d)` that leave none of the others far away, in ascending order.

    Chosen among CANDIDATES rows drawn by the seed, by distances in PROJECTED random directions (PatchCore 3.2).
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(rows))[:CANDIDATES]
    directions = rng.standard_normal((rows.shape[1], PROJECTED), dtype=np.float32) / np.float32(np.sqrt(PROJECTED))
    points = rows[drawn] @ directions
    squares = np.einsum("nd,nd->n", points, points)
    nearest = np.full(len(points), np.inf, np.float32)
    chosen = np.empty(min(count, len(points)), np.int64)
    latest = 0
    for place in range(len(chosen)):
        chosen[place] = latest
        np.minimum(nearest, squares + squares[latest] - 2 * (points @ points[latest]), out=nearest)
        latest = int(nearest.argmax())
    return np.sort(drawn[chosen])
