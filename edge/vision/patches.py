"""Overlapping patches and their way back: cut at a stride, average what overlaps (Zouar 4.1.2 and 4.1.4)."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def starts(length: int, stride: int) -> range:
    """Where patches begin along one side: every stride until the edge (Zouar: 0, 30, .. 240 for 256 px, 9 a side)."""
    return range(0, length, stride)


def padded_length(length: int, patch: int, stride: int) -> int:
    """The side once its last pixel is repeated so that the last patch is complete."""
    return starts(length, stride)[-1] + patch


def padded(image: Floats, patch: int, stride: int) -> Floats:
    """`(h, w)` with its last row and column repeated until the last patch is complete."""
    h, w = image.shape
    below, beside = padded_length(h, patch, stride) - h, padded_length(w, patch, stride) - w
    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE), np.float32)


def cut(image: Floats, patch: int, stride: int) -> Floats:
    """`(h, w)` -> `(n, 1, patch, patch)`, row by row; missing pixels repeat the edge's last one."""
    windows = sliding_window_view(padded(image, patch, stride), (patch, patch))[::stride, ::stride]
    return np.ascontiguousarray(windows).reshape(-1, 1, patch, patch)


@lru_cache(maxsize=16)
def dividing_factors(height: int, width: int, patch: int, stride: int) -> Floats:
    """How many patches cover each pixel of the image, `(height, width)` (Zouar figure 11)."""
    rows, columns = np.zeros(height), np.zeros(width)
    for y in starts(height, stride):
        rows[y : y + patch] += 1
    for x in starts(width, stride):
        columns[x : x + patch] += 1
    factors = np.outer(rows, columns).astype(np.float32)
    factors.setflags(write=False)
    return factors


def stitch(patches: Floats, height: int, width: int, stride: int) -> Floats:
    """`(n, 1, patch, patch)` as `cut` made them -> `(height, width)`, overlaps averaged."""
    patch = patches.shape[-1]
    total = np.zeros((height, width), np.float32)
    tiles = iter(patches[:, 0])
    for y in starts(height, stride):
        for x in starts(width, stride):
            place = total[y : y + patch, x : x + patch]
            place += next(tiles)[: place.shape[0], : place.shape[1]]  # a fifth of Zouar's pixels lie beyond the image
    total /= dividing_factors(height, width, patch, stride)
    return total
