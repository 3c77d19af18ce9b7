"""From a score map to boxes in the pixels of the original frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Defect

Floats = NDArray[np.float32]


def to_frame(
    box: tuple[float, float, float, float], map_size: tuple[int, int], frame_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """`(x, y, w, h)` of a map that covers the whole frame -> the smallest box of whole frame pixels that holds it.

    Sizes are `(height, width)`. Coordinates are edges of pixels: map cell i covers i..i+1, so scaling is all there is.
    """
    x, y, w, h = box
    sy, sx = frame_size[0] / map_size[0], frame_size[1] / map_size[1]
    # A hair off the floor and ceiling, so that 29.999999 is the edge 30.
    left, top = int(np.floor(x * sx + 1e-6)), int(np.floor(y * sy + 1e-6))
    right, bottom = int(np.ceil((x + w) * sx - 1e-6)), int(np.ceil((y + h) * sy - 1e-6))
    return left, top, right - left, bottom - top


def find_defects(
    scores: Floats, threshold: float, frame_size: tuple[int, int], label: str, least_area: int = 1
) -> tuple[Defect, ...]:
    """Every connected place of a `(h, w)` map above the threshold, worst first, in frame pixels.

    frame_size: `(height, width)` of the frame that the map covers. least_area: in map pixels.
    """
    above = (scores > threshold).astype(np.uint8)
    if not above.any():
        return ()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    scale = frame_size[0] * frame_size[1] / scores.size
    found = []
    for index in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[index])
        if area >= least_area:
            inside = labels[y : y + h, x : x + w] == index
            worst = float(scores[y : y + h, x : x + w][inside].max())
            found.append(Defect(label, worst, to_frame((x, y, w, h), scores.shape, frame_size), area * scale))
    return tuple(sorted(found, key=lambda defect: -defect.score))


def worst_place(scores: Floats, frame_size: tuple[int, int], label: str) -> Defect:
    """The map's highest cell as a box: a rejected frame always shows where to look (Galacz's box)."""
    y, x = divmod(int(scores.argmax()), scores.shape[1])
    scale = frame_size[0] * frame_size[1] / scores.size
    return Defect(label, float(scores[y, x]), to_frame((x, y, 1, 1), scores.shape, frame_size), scale)
