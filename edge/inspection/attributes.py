"""Named attributes of a frame, and why they do not fit its nearest surface (Cheng 3.1.1: an alert carries its CE)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.engines.session import Floats

NAMED = 3
LEAST_DIFFERENCE = 0.15
# attributes `(a,)`, readout `(a, k)`, readout_offset `(a,)`
ARRAYS = ("attributes", "readout", "readout_offset")


@dataclass(frozen=True, slots=True)
class ReadOut:
    """A linear reading of attributes, 0 (no) to 1 (yes), from a projected frame.

    names `(a,)`; weights `(a, k)`; offset `(a,)`; surfaces: the same reading of each surface's centre, name to `(a,)`.
    """

    names: tuple[str, ...]
    weights: Floats
    offset: Floats
    surfaces: dict[str, Floats]

    def read(self, code: Floats) -> Floats:
        """`(k,)` -> `(a,)`; beyond 0 and 1 where the frame is more so than any surface that was taught."""
        return self.weights @ code + self.offset

    def named(self, values: Floats) -> dict[str, float]:
        return dict(zip(self.names, values.astype(np.float64).clip(0, 1).round(3).tolist(), strict=True))

    def why(self, values: Floats, surface: str) -> str:
        """A sentence on where a frame differs most from a surface."""
        seen, there = values.clip(0, 1), self.surfaces[surface].clip(0, 1)
        apart = np.abs(seen - there)
        worst = [i for i in np.argsort(-apart)[:NAMED].tolist() if apart[i] >= LEAST_DIFFERENCE]
        if not worst:
            return f"unseen surface; nearest is {surface}, which it is like in every named attribute"
        told = ", ".join(f"{self.names[i]} {seen[i]:.1f} (there {there[i]:.1f})" for i in worst)
        return f"unseen surface; nearest is {surface}, but: {told}"


def open_read_out(
    arrays: Mapping[str, NDArray[np.generic]], centres: Floats, surfaces: tuple[str, ...]
) -> ReadOut | None:
    """From a gate's arrays and its centres `(s, k)`; None where the gate has no attributes at all.

    Raises KeyError for one array without the others, ValueError for one that does not fit.
    """
    if not any(name in arrays for name in ARRAYS):
        return None
    names = tuple(str(name) for name in arrays["attributes"])
    weights, offset = (arrays[name].astype(np.float32) for name in ARRAYS[1:])
    if len(set(names)) != len(names):
        raise ValueError("two attributes have one name")
    if weights.shape != (len(names), centres.shape[1]) or offset.shape != (len(names),):
        raise ValueError(f"readout has not the shape {(len(names), centres.shape[1])} or its offset {(len(names),)}")
    if not (np.isfinite(weights).all() and np.isfinite(offset).all()):
        raise ValueError("readout is not finite")
    values = centres @ weights.T + offset
    return ReadOut(names, weights, offset, dict(zip(surfaces, values, strict=True)))
