"""What `edge evaluate` reports, and how it is counted.

Meaning of the figures, `null` wherever one cannot be known:

gate.seen: share of the frames of taught surfaces, good and defective, that the gate gave to their own surface.
gate.unseen: share of the frames of all other surfaces that it called unseen. harmonic_mean: of the two (Cheng).
gate.confusion[true][answer]: counts; `unseen` where not admitted, `failed` where the gate gave no answer.

accuracy_good: share of good frames whose verdict, by the whole pipeline, is OK. accuracy_defect: share of defective
frames whose verdict is NotOK. A defective part that the gate sent away does not pass, but is not detected either: it
counts as missed here and is seen in not_decided_defect. passed_defect: share of defective frames that got OK, the
escapes, through whichever judge.

image_auroc, image_ap, pixel_auroc, aupro: the judge's own, over all frames of its surface, admitted or not. Pixels are
counted at the judge's input size: score maps resized bilinearly, masks by area; a defective frame without a mask, or
with an empty one, is left out of them.

stages: milliseconds of reading the file, of the gate and of the judge, without the first frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.offline.metrics import PixelScores, image_figures
from edge.records import Evaluation

SKIPPED_FRAMES = 5
UNSEEN, FAILED = "unseen", "failed"


class GateFigures(msgspec.Struct, frozen=True, kw_only=True):
    seen: float | None
    unseen: float | None
    harmonic_mean: float | None
    confusion: dict[str, dict[str, int]]


class SurfaceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """gate: share of its frames that the gate answered rightly. n_masked: defective frames whose pixels were counted.
    n_unscored: frames that its own judge failed on. verdicts_good, verdicts_defect: counts by evaluation's name."""

    image_auroc: float | None
    image_ap: float | None
    accuracy_good: float | None
    accuracy_defect: float | None
    pixel_auroc: float | None
    aupro: float | None
    n_good: int
    n_defect: int
    n_masked: int
    n_unscored: int
    passed_defect: float | None
    not_decided_good: float | None
    not_decided_defect: float | None
    gate: float | None
    verdicts_good: dict[str, int]
    verdicts_defect: dict[str, int]


class StageFigures(msgspec.Struct, frozen=True, kw_only=True):
    p50_ms: float
    p99_ms: float
    frames: int


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Under which conditions: graphs by bundle as engine/device/precision, bundles' digests, notes on what was left
    out or failed."""

    line: str
    config_sha256: str
    version: str
    date: str
    host: str
    data: tuple[str, ...]
    fold: int | None
    limit: int | None
    frames: int
    graphs: dict[str, str]
    bundles: dict[str, str]
    notes: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    gate: GateFigures
    surfaces: dict[str, SurfaceFigures]
    stages: dict[str, StageFigures]
    about: About


@dataclass(frozen=True, slots=True)
class Trial:
    """What the pipeline made of one frame. answer: the gate's surface, `unseen` or `failed`; None without a gate.
    score: its own surface's judge's; None where it has none or that one failed. masked: it is defective, and its
    pixels were counted. detail: a sentence where something failed."""

    surface: str
    defective: bool
    answer: str | None
    evaluation: Evaluation
    score: float | None
    masked: bool
    detail: str
    times_ns: dict[str, int]


def share(hits: Iterable[bool]) -> float | None:
    """None of nothing."""
    values = list(hits)
    return sum(values) / len(values) if values else None


def right(trial: Trial, taught: tuple[str, ...]) -> bool:
    """Whether the gate answered with the frame's own surface, or with `unseen` where it was never taught it."""
    return trial.answer == (trial.surface if trial.surface in taught else UNSEEN)


def gate_figures(trials: Sequence[Trial], taught: tuple[str, ...] | None) -> GateFigures:
    """taught: the gate's surfaces; None on a line without a gate, which leaves all of it unknown."""
    if taught is None:
        return GateFigures(seen=None, unseen=None, harmonic_mean=None, confusion={})
    seen = share(right(t, taught) for t in trials if t.surface in taught)
    unseen = share(right(t, taught) for t in trials if t.surface not in taught)
    mean = None
    if seen is not None and unseen is not None:
        mean = 2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0
    confusion: dict[str, Counter[str]] = {}
    for trial in trials:
        confusion.setdefault(trial.surface, Counter())[str(trial.answer)] += 1
    counts = {surface: dict(answers) for surface, answers in confusion.items()}
    return GateFigures(seen=seen, unseen=unseen, harmonic_mean=mean, confusion=counts)


def surface_figures(
    trials: Sequence[Trial], judged: bool, pixels: PixelScores | None, taught: tuple[str, ...] | None
) -> SurfaceFigures:
    """All trials of one surface. judged: the line has a judge for it; without one there is no accuracy to speak of."""
    good = [t.evaluation for t in trials if not t.defective]
    bad = [t.evaluation for t in trials if t.defective]
    scored = [(t.defective, t.score) for t in trials if t.score is not None]
    auroc, precision = image_figures([d for d, _ in scored], [s for _, s in scored])
    pixel_auroc, aupro = pixels.figures() if pixels else (None, None)
    undecided = (Evaluation.NOT_DECIDABLE, Evaluation.UNDEFINED)
    return SurfaceFigures(
        image_auroc=auroc,
        image_ap=precision,
        accuracy_good=share(e is Evaluation.OK for e in good) if judged else None,
        accuracy_defect=share(e is Evaluation.NOT_OK for e in bad) if judged else None,
        pixel_auroc=pixel_auroc,
        aupro=aupro,
        n_good=len(good),
        n_defect=len(bad),
        n_masked=sum(t.masked for t in trials),
        n_unscored=len(trials) - len(scored) if judged else 0,
        passed_defect=share(e is Evaluation.OK for e in bad),
        not_decided_good=share(e in undecided for e in good),
        not_decided_defect=share(e in undecided for e in bad),
        gate=None if taught is None else share(right(t, taught) for t in trials),
        verdicts_good=dict(Counter(e.name for e in good)),
        verdicts_defect=dict(Counter(e.name for e in bad)),
    )


def stage_figures(trials: Sequence[Trial]) -> dict[str, StageFigures]:
    """Percentiles by stage without the first frames, which pay for caches; a stage that never ran is not named."""
    stages: dict[str, list[float]] = {}
    for trial in trials[SKIPPED_FRAMES:]:
        for stage, nanoseconds in trial.times_ns.items():
            stages.setdefault(stage, []).append(nanoseconds / 1e6)
    return {
        stage: StageFigures(p50_ms=float(p50), p99_ms=float(p99), frames=len(times))
        for stage, times in stages.items()
        for p50, p99 in [np.percentile(times, (50, 99))]
    }
