"""A frame judged by its named regions: each box of each is a patch of its own (Ferrari section 7, figure 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import msgspec
import numpy as np

from edge.engines.session import Floats
from edge.errors import FrameError
from edge.inspection.judge import Scorer, finding
from edge.inspection.model import Model
from edge.records import Box, Defect, Finding, Frame, RegionScore

MAP_SIDE = 512


@dataclass(frozen=True, slots=True)
class Region:
    """judge: opened with the region's own threshold; two regions of one bundle share its model."""

    name: str
    boxes: tuple[Box, ...]
    judge: Scorer


@dataclass(frozen=True, slots=True)
class Patch:
    """One box of one region, cut out of the frame (a view, not a copy)."""

    region: Region
    box: Box
    frame: Frame


def badness(score: float, threshold: float) -> tuple[bool, float, float]:
    """What orders scores against different thresholds: rejected before not, then by how many times the threshold."""
    rejected = not score <= threshold
    if threshold > 0:
        return rejected, score / threshold, score
    return rejected, float("inf") if rejected else 0.0, score


def worst(scores: Iterable[RegionScore]) -> RegionScore:
    """The one that decides: any rejected region rejects the frame (Ferrari equation 13)."""
    return max(scores, key=lambda scored: badness(scored.score, scored.threshold))


def cut_out(frame: Frame, box: Box, name: str) -> Frame:
    """The box as a frame of its own. Raises FrameError where the frame does not hold it."""
    (height, width), (x, y, w, h) = frame.pixels.shape[:2], box
    if x + w > width or y + h > height:
        raise FrameError(
            f"the frame is {width} x {height} pixels and does not hold the box {list(box)} of region {name}; "
            "mend boxes in line.toml, or the camera's size"
        )
    return Frame(frame.pixels[y : y + h, x : x + w], frame.full_scale)


class RegionJudge:
    """The judge of a surface whose frames are looked at by region. The frame's score is that of its worst box."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self.regions = tuple(regions)
        self.model, self.threshold = self.regions[0].judge.model, self.regions[0].judge.threshold

    @property
    def models(self) -> list[Model]:
        return list({id(region.judge.model): region.judge.model for region in self.regions}.values())

    def inspect(self, frame: Frame) -> Finding:
        """All boxes of one model go together. Raises FrameError for a box outside the frame, ScoreError, EngineError:
        where one box cannot be judged, the frame cannot."""
        patches = [
            Patch(region, box, cut_out(frame, box, region.name)) for region in self.regions for box in region.boxes
        ]
        groups: dict[int, list[int]] = {}
        for number, patch in enumerate(patches):
            groups.setdefault(id(patch.region.judge.model), []).append(number)
        found: dict[int, Finding] = {}
        for numbers in groups.values():
            found |= zip(numbers, judge_patches([patches[number] for number in numbers]), strict=True)
        return together(frame, patches, [found[number] for number in range(len(patches))])

    def inspect_all(self, frames: Sequence[Frame]) -> list[Finding]:
        """One after the other: the boxes of one frame are a batch."""
        return [self.inspect(frame) for frame in frames]


def judge_patches(patches: Sequence[Patch]) -> list[Finding]:
    """Patches of one model, in one batch where its judge makes one."""
    judge = patches[0].region.judge
    scored = judge.score_all([patch.frame for patch in patches])
    return [
        finding(judge.model.bundle, score, patch.region.judge.threshold, scores, patch.frame)
        for patch, (score, scores) in zip(patches, scored, strict=True)
    ]


def together(frame: Frame, patches: Sequence[Patch], findings: Sequence[Finding]) -> Finding:
    """One finding of the frame: its worst box's score and thresholds, all boxes' defects in the frame's pixels."""
    regions: dict[str, tuple[RegionScore, ...]] = {}
    defects: list[tuple[float, Defect]] = []
    for patch, found in zip(patches, findings, strict=True):
        name = patch.region.name
        regions[name] = (*regions.get(name, ()), RegionScore(found.score, found.threshold, patch.box))
        x, y = patch.box[:2]
        for defect in found.defects:
            left, top, w, h = defect.bbox
            moved = msgspec.structs.replace(defect, bbox=(left + x, top + y, w, h), region=name)
            defects.append((badness(defect.score, found.map_threshold)[1], moved))
    first = max(findings, key=lambda found: badness(found.score, found.threshold))
    ordered = tuple(defect for _, defect in sorted(defects, key=lambda pair: -pair[0]))
    score_map = whole_map(frame, patches, findings, first.map_threshold)
    return Finding(first.score, first.threshold, ordered, score_map, first.map_threshold, regions, first.stretched)


def whole_map(frame: Frame, patches: Sequence[Patch], findings: Sequence[Finding], limit: float) -> Floats:
    """The boxes' maps in their places, at most MAP_SIDE a side; 0 where nobody looked. limit: the map threshold that
    those of other bundles are brought to."""
    height, width = frame.pixels.shape[:2]
    scale = min(1.0, MAP_SIDE / max(height, width))
    canvas = np.zeros((max(1, round(height * scale)), max(1, round(width * scale))), np.float32)
    for patch, found in zip(patches, findings, strict=True):
        x, y, w, h = patch.box
        left, top = (min(int(edge * scale), side - 1) for edge, side in zip((x, y), canvas.shape[::-1], strict=True))
        right, bottom = max(left + 1, round((x + w) * scale)), max(top + 1, round((y + h) * scale))
        place = canvas[top:bottom, left:right]
        scores = cv2.resize(found.score_map, place.shape[::-1], interpolation=cv2.INTER_AREA)
        if found.map_threshold != limit and found.map_threshold > 0:
            scores = scores * (limit / found.map_threshold)
        np.maximum(place, scores, out=place)
    return canvas
