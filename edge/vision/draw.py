"""The picture for people: the frame, its score map and the boxes, side by side."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Box, Defect, Evaluation, Finding
from edge.vision.image import Pixels, to_channels

Picture = NDArray[np.uint8]

# BGR, as OpenCV writes files.
COLOURS = {
    Evaluation.OK: (90, 170, 60),
    Evaluation.NOT_OK: (50, 50, 220),
    Evaluation.NOT_DECIDABLE: (40, 160, 230),
    Evaluation.UNDEFINED: (130, 130, 130),
}
REGION = (200, 160, 90)
LONG_SIDE = 512
BAR = 34


def to_8_bit(pixels: Pixels, full_scale: int) -> Picture:
    """Any frame as BGR `(h, w, 3)` uint8."""
    rgb = to_channels(pixels, 3)
    if rgb.dtype != np.uint8:
        rgb = (rgb.astype(np.float32) * (255.0 / full_scale)).clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)  # type: ignore[return-value]  # cv2 keeps uint8


def heat(finding: Finding, size: tuple[int, int]) -> Picture:
    """The score map as colours over `(height, width)`: its threshold lies in the middle of the scale, or the scale is
    the map's own range (of a rejected frame; a good one's would only show its noise)."""
    least, most = 0.0, 2 * finding.map_threshold
    if finding.stretched and finding.score > finding.threshold:
        least, most = float(finding.score_map.min()), float(finding.score_map.max())
    scaled = np.clip((finding.score_map - least) / max(most - least, 1e-9), 0, 1)
    coloured = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.asarray(cv2.resize(coloured, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def annotate(pixels: Pixels, full_scale: int, evaluation: Evaluation, finding: Finding | None, caption: str) -> Picture:
    """A bar with the caption, then frame with boxes (thin: regions), then score map (left out where no judge ran)."""
    if finding is None:
        return annotate_boxes(pixels, full_scale, evaluation, (), (), caption)
    regions = [scored.box for scores in finding.regions.values() for scored in scores]
    shown = _frame(pixels, full_scale, evaluation, regions, finding.defects)
    return _under_bar(np.hstack([shown, heat(finding, shown.shape[:2])]), evaluation, caption)


def annotate_boxes(
    pixels: Pixels,
    full_scale: int,
    evaluation: Evaluation,
    regions: Iterable[Box],
    defects: Iterable[Defect],
    caption: str,
) -> Picture:
    """The same of what a verdict alone tells: without a score map."""
    return _under_bar(_frame(pixels, full_scale, evaluation, regions, defects), evaluation, caption)


def _frame(
    pixels: Pixels, full_scale: int, evaluation: Evaluation, regions: Iterable[Box], defects: Iterable[Defect]
) -> Picture:
    frame = to_8_bit(pixels, full_scale)
    scale = LONG_SIDE / max(frame.shape[:2])
    size = (max(1, round(frame.shape[0] * scale)), max(1, round(frame.shape[1] * scale)))
    shown = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    for box in regions:
        x, y, w, h = (round(v * scale) for v in box)
        cv2.rectangle(shown, (x, y), (x + w - 1, y + h - 1), REGION, 1)
    for defect in defects:
        x, y, w, h = (round(v * scale) for v in defect.bbox)
        cv2.rectangle(shown, (x - 2, y - 2), (x + w + 1, y + h + 1), COLOURS[evaluation], 2, cv2.LINE_AA)
    return np.asarray(shown, np.uint8)


def _under_bar(body: Picture, evaluation: Evaluation, caption: str) -> Picture:
    bar = np.full((BAR, max(body.shape[1], LONG_SIDE), 3), COLOURS[evaluation], np.uint8)
    cv2.putText(bar, caption, (10, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    body = np.pad(body, ((0, 0), (0, bar.shape[1] - body.shape[1]), (0, 0)))
    return np.vstack([bar, body])
