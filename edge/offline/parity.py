"""`edge parity`: does every graph of a bundle say what FP32 on ONNX Runtime says? Compared on kept answers.

A flip is a frame whose verdict is another than the reference's; one from NotOK to OK (of a gate: from unseen to seen,
or to another surface) lets a bad part pass. Scores lie in a guard band where they are nearer to the threshold than
GUARD of the reference's range of scores on these frames (a gate's up to twice its threshold: how far an unseen surface
lies beyond it means nothing): there a coin may fall either way. Flips in the band are counted and
shown, but only those outside speak against a graph: of few frames one such coin is more than any share allowed. A frame
that one of the two failed on is no coin: it counts as outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.offline.answers import FAILED, NOT_OK, OK, UNSEEN, Answer, Answers
from edge.offline.metrics import PixelScores, image_figures
from edge.offline.samples import Sample, read_mask
from edge.records import Box

GUARD = 0.02


class Limits(msgspec.Struct, frozen=True):
    """What an INT8 graph may do. to_ok, flips: outside the guard band; flips is a share of the frames."""

    to_ok: int = 0
    flips: float = 0.005
    auroc_lost: float = 0.005
    aupro_lost: float = 0.02


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One graph beside the reference, on the same frames.

    flips, to_ok: frames whose verdict is another; those of them that now pass; flips_outside, outside: those of either
    outside the guard band. apart: differences of the score as a share of the reference's range, median and largest.
    iou, shift: of the boxes of frames rejected by both, and how far their centres moved, pixels; medians. auroc,
    pixel_auroc, aupro: the graph's own; lost: the reference's less its own. ms, faster: median of the paired runs.
    None: cannot be known.
    """

    engine: str
    graph: str
    precision: str
    frames: int
    flips: int
    flips_outside: int
    to_ok: int
    outside: int
    apart: float
    apart_most: float
    iou: float | None
    shift: float | None
    auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    auroc_lost: float | None
    pixel_auroc_lost: float | None
    aupro_lost: float | None
    ms: float | None = None
    faster: float | None = None

    def wrong(self, limits: Limits) -> list[str]:
        """Each limit that it passes, in a few words."""
        found = []
        if self.outside > limits.to_ok:
            found.append(f"{self.outside} frames pass that FP32 rejects")
        if self.flips_outside > limits.flips * self.frames:
            found.append(f"{self.flips_outside} of {self.frames} verdicts flip outside the guard band")
        if (self.auroc_lost or 0) > limits.auroc_lost:
            found.append(f"image AUROC less {self.auroc_lost:.4f}")
        if (self.aupro_lost or 0) > limits.aupro_lost:
            found.append(f"AUPRO less {self.aupro_lost:.4f}")
        return found


class Quality(NamedTuple):
    auroc: float | None
    pixel_auroc: float | None
    aupro: float | None


def compare(bundle: Bundle, samples: Sequence[Sample], reference: Answers, others: Sequence[Answers]) -> list[Row]:
    """The reference's own row first. samples: in the order of the answers."""
    masks = read_masks(bundle, samples, reference)
    whole = quality(bundle, samples, reference, masks)
    return [_row(bundle, samples, reference, answers, whole, masks) for answers in (reference, *others)]


def _row(
    bundle: Bundle,
    samples: Sequence[Sample],
    reference: Answers,
    other: Answers,
    whole: Quality,
    masks: list[NDArray[np.bool_] | None],
) -> Row:
    flips = flipped(reference, other)
    passing = [n for n in flips if passes(reference.answers[n], other.answers[n])]
    band = guard_band(reference)
    outside = [n for n in flips if no_coin(reference.answers[n], other.answers[n], band)]
    apart = differences(reference, other)
    boxes = [
        match(a.boxes, b.boxes)
        for a, b in zip(reference.answers, other.answers, strict=True)
        if a.verdict == b.verdict == NOT_OK
    ]
    own = whole if other is reference else quality(bundle, samples, other, masks)
    return Row(
        engine=other.engine,
        graph=other.graph,
        precision=other.precision,
        frames=len(samples),
        flips=len(flips),
        flips_outside=len(outside),
        to_ok=len(passing),
        outside=len([n for n in outside if n in passing]),
        apart=float(np.median(apart)) if len(apart) else 0.0,
        apart_most=float(apart.max()) if len(apart) else 0.0,
        iou=float(np.median([iou for iou, _ in boxes])) if boxes else None,
        shift=float(np.median([shift for _, shift in boxes])) if boxes else None,
        auroc=own.auroc,
        pixel_auroc=own.pixel_auroc,
        aupro=own.aupro,
        auroc_lost=lost(whole.auroc, own.auroc),
        pixel_auroc_lost=lost(whole.pixel_auroc, own.pixel_auroc),
        aupro_lost=lost(whole.aupro, own.aupro),
    )


def flipped(reference: Answers, other: Answers) -> list[int]:
    """The frames on which the two differ."""
    pairs = zip(reference.answers, other.answers, strict=True)
    return [number for number, (a, b) in enumerate(pairs) if a.verdict != b.verdict]


def passes(before: Answer, after: Answer) -> bool:
    """Whether a part that was stopped now goes on: to a judge's OK, or past the gate to a surface not its own."""
    if before.verdict in (OK, NOT_OK):
        return after.verdict == OK
    return after.verdict not in (NOT_OK, UNSEEN, FAILED)


def no_coin(before: Answer, after: Answer, band: float) -> bool:
    """Whether a flip speaks against the graph: outside the guard band, or one of the two failed."""
    return FAILED in (before.verdict, after.verdict) or abs(distance(before)) > band


def distance(answer: Answer) -> float:
    """From the threshold."""
    return answer.score - answer.threshold


def guard_band(reference: Answers) -> float:
    """Half its width, in the score's own unit."""
    span = spread(np.array([a.score for a in reference.answers if a.verdict != FAILED]), reference)
    return GUARD * span


def spread(scores: NDArray[np.float64], reference: Answers) -> float:
    """The range of finite scores; a gate's, whose verdicts are surfaces, up to twice its threshold."""
    if not len(scores):
        return 0.0
    gate = any(a.verdict not in (OK, NOT_OK, FAILED) for a in reference.answers)
    return float(np.ptp(np.minimum(scores, 2.0) if gate else scores))


def differences(reference: Answers, other: Answers) -> NDArray[np.float64]:
    """Of the scores, as shares of the reference's range; frames that failed are left out."""
    before, after = (np.array([a.score for a in answers.answers]) for answers in (reference, other))
    known = np.isfinite(before) & np.isfinite(after)
    apart = np.abs(before - after)[known]
    return np.asarray(apart / max(spread(before[known], reference), 1e-12), np.float64)


def match(before: Sequence[Box], after: Sequence[Box]) -> tuple[float, float]:
    """Mean overlap (IoU) of each box with its best of the other side, and how far that one's centre is, in pixels."""
    found = [max(((iou(a, b), -shift(a, b)) for b in after), default=(0.0, 0.0)) for a in before]
    if not found:
        return 0.0, 0.0
    return float(np.mean([overlap for overlap, _ in found])), float(np.mean([-moved for _, moved in found]))


def iou(a: Box, b: Box) -> float:
    """Of `(x, y, w, h)`."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(across, 0) * max(down, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def shift(a: Box, b: Box) -> float:
    return float(np.hypot(a[0] + a[2] / 2 - b[0] - b[2] / 2, a[1] + a[3] / 2 - b[1] - b[3] / 2))


def lost(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after


def read_masks(bundle: Bundle, samples: Sequence[Sample], answers: Answers) -> list[NDArray[np.bool_] | None]:
    """At the input's size; None where nobody knows, or where there is no map to hold them against."""
    if answers.maps is None or not any(sample.mask for sample in samples):
        return [None] * len(samples)
    rule = bundle.manifest.input
    return [read_mask(sample, shape_of(sample), rule.width, rule.height) for sample in samples]


def shape_of(sample: Sample) -> tuple[int, ...]:
    """`(h, w)` of the mask, which is its image's."""
    if sample.mask is None:
        return ()
    drawn = cv2.imread(str(sample.mask), cv2.IMREAD_GRAYSCALE)
    return () if drawn is None else drawn.shape


def quality(
    bundle: Bundle, samples: Sequence[Sample], answers: Answers, masks: list[NDArray[np.bool_] | None]
) -> Quality:
    """A judge's, against labels and masks where there are any; of a gate nothing."""
    if answers.maps is None or any(sample.kind == "" for sample in samples):
        return Quality(None, None, None)
    labels, scores = [], []
    for sample, answer in zip(samples, answers.answers, strict=True):
        if np.isfinite(answer.score):
            labels.append(sample.defective)
            scores.append(answer.score)
    auroc, _ = image_figures(labels, scores)
    pixels, rule = PixelScores(), bundle.manifest.input
    for scores_map, mask in zip(answers.maps, masks, strict=True):
        if mask is not None:
            shown = cv2.resize(scores_map, (rule.width, rule.height), interpolation=cv2.INTER_LINEAR)
            pixels.add(np.asarray(shown, np.float32), mask)
    return Quality(auroc, *pixels.figures())


def faster(rows: Sequence[Row], times: dict[tuple[str, str], list[float]]) -> list[Row]:
    """Rows with their milliseconds, and how many times as fast they are as the first on the same frames; one on which
    a network did not run has 0 ms, and is left out."""
    first = np.array(times.get((rows[0].engine, rows[0].graph), []))
    timed = []
    for row in rows:
        own = np.array(times.get((row.engine, row.graph), []))
        ran = (own > 0) & (first > 0) if len(own) else own > 0
        if ran.any():
            share = float(np.median(first[ran] / own[ran]))
            row = msgspec.structs.replace(row, ms=float(np.median(own[ran])), faster=share)
        timed.append(row)
    return timed
