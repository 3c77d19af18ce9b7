"""Perlin noise as DRAEM draws it (Zavrtanik 2021, 3.2; Ferrari 6.1): smooth blobs of random size, shape and bearing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OCTAVES = 6  # the lattice has 1, 2, 4 .. 32 cells a side, each side its own: DRAEM's 2 ** randint(0, 6)


def perlin(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """`(height, width)` float32 in -1..1, on a lattice turned by up to 90 degrees, so that no corner stays empty."""
    cells = 2 ** rng.integers(0, OCTAVES, 2)
    angle = rng.uniform(-np.pi / 2, np.pi / 2)
    lattice = rng.uniform(0, 2 * np.pi, 2 * cells + 2)  # wraps around where the turn leaves it
    along_x, along_y = np.cos(lattice), np.sin(lattice)
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5)[None]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    v, u = (y * cos + x * sin) * np.float32(cells[0]), (x * cos - y * sin) * np.float32(cells[1])
    top, left = np.floor(v).astype(np.intp), np.floor(u).astype(np.intp)
    v, u = v - top, u - left

    def towards(down: int, right: int) -> NDArray[np.float32]:
        """How far each pixel lies along the gradient of one corner of its cell."""
        corner = (top + down) % len(lattice), (left + right) % lattice.shape[1]
        return np.asarray(along_x[corner] * (u - right) + along_y[corner] * (v - down), np.float32)

    fade_v, fade_u = (t * t * t * (t * (t * 6 - 15) + 10) for t in (v, u))
    upper = towards(0, 0) * (1 - fade_u) + towards(0, 1) * fade_u
    lower = towards(1, 0) * (1 - fade_u) + towards(1, 1) * fade_u
    noise = np.sqrt(2) * (upper * (1 - fade_v) + lower * fade_v)
    return np.asarray(np.clip(noise, -1, 1), np.float32)


def perlin_mask(rng: np.random.Generator, height: int, width: int, threshold: float = 0.5) -> NDArray[np.bool_]:
    """`(height, width)` bool: where fresh noise is above the threshold. It can be empty, as DRAEM's can."""
    return perlin(rng, height, width) > threshold
