"""A few numbers of each frame that tell whether light, exposure, focus or the product has changed, in microseconds."""

from __future__ import annotations

import numpy as np

from edge.inspection.pipeline import Inspection
from edge.records import Frame

SIDE = 64  # so many places a side are looked at, spread over the frame
LEAST_SIDE = 4
GREEN = 1  # most of what is light in RGB, and half the time of all three
BLACK, WHITE = 0.02, 0.98  # shares of full scale: a pixel beyond them has lost what it saw

PICTURE = ("brightness", "black", "white", "focus")
ANSWERS = ("score", "distance")
FEATURES = PICTURE + ANSWERS

# What a change has to be worth, however sure it is: shares of the usual value, or shares of all pixels.
LEAST_CHANGE = {"brightness": 0.03, "focus": 0.1, "score": 0.03, "distance": 0.03}
LEAST_SHARE = {"black": 0.005, "white": 0.005}

Features = dict[str, float]


def measure(frame: Frame) -> Features:
    """What the picture alone tells: PICTURE; nothing of a frame under 4 pixels a side.

    brightness: mean, 0..1 of full scale. black, white: shares of pixels at the ends of the scale. focus: the mean
    square of neighbours' differences over the variance, so that neither light nor contrast moves it, and blur does.
    All at places spread over the whole frame: a crop of the middle of a ring sees nothing.
    """
    height, width = frame.pixels.shape[:2]
    if min(height, width) < LEAST_SIDE:
        return {}
    step = max(1, round(min(height, width) / SIDE))
    grey = frame.pixels if frame.pixels.ndim == 2 else frame.pixels[..., GREEN]
    here = grey[: height - 1 : step, : width - 1 : step].astype(np.float32)
    right = grey[: height - 1 : step, 1:width:step]
    below = grey[1:height:step, : width - 1 : step]
    top = frame.full_scale
    across, down = (here - right).ravel(), (here - below).ravel()
    mean = float(here.mean())
    contrast = float(np.vdot(here, here)) / here.size - mean * mean
    edges = float(np.dot(across, across) + np.dot(down, down)) / here.size
    return {
        "brightness": mean / top,
        "black": float(np.count_nonzero(here <= BLACK * top)) / here.size,
        "white": float(np.count_nonzero(here >= WHITE * top)) / here.size,
        "focus": edges / max(contrast, 1e-6 * top * top),
    }


def answers(inspection: Inspection) -> Features:
    """What gate and judge made of it: ANSWERS, as far as they ran. distance: of the gate, above 1 it is unseen."""
    found: Features = {}
    if inspection.finding is not None:
        found["score"] = inspection.finding.score
    if inspection.admission is not None:
        found["distance"] = inspection.admission.distance / inspection.admission.threshold
    return found


def least_change(feature: str, usual: float) -> float:
    """How far its mean has to be from the usual one before anybody wants to know."""
    return LEAST_SHARE[feature] if feature in LEAST_SHARE else LEAST_CHANGE[feature] * abs(usual)
