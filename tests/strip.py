"""A line of small bundles whose frames show a strip of five vials of four regions each (Ferrari figures 4 and 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VIALS, REGIONS, SIDE = 5, ("flag", "top", "liquid", "bottom"), 64
FRAMES = 3


def box(vial: int, region: int) -> list[int]:
    return [vial * SIDE, region * SIDE, SIDE, SIDE]


def regions() -> str:
    """The judge of `dark`, by region."""
    tables = ['[judges.dark]\nbundle = "smoother"\n']
    for number, name in enumerate(REGIONS):
        tables.append(f"[judges.dark.regions.{name}]\nboxes = {[box(vial, number) for vial in range(VIALS)]}\n")
    return "".join(tables)


def parts(within_ms: float = 60_000, waiting: int = 64) -> str:
    return f"[parts]\nframes = {FRAMES}\nwithin_ms = {within_ms}\nwaiting = {waiting}\n"


def strip(vial: int | None = None, region: int = 0) -> NDArray[np.uint8]:
    """One frame; with a spot of 8x8 px, 20 px from its region's corner, in that vial."""
    pixels = np.full((len(REGIONS) * SIDE, VIALS * SIDE), 51, np.uint8)
    if vial is not None:
        x, y = box(vial, region)[:2]
        pixels[y + 20 : y + 28, x + 20 : x + 28] = 255
    return pixels
