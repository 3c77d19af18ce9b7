"""What `edge accept` reports, and how it is counted: the three tables of Ferrari (7.4, tables 1 to 3).

Positive is good, as in the paper: the true positive ratio is the share of good ones kept, the true negative ratio the
share of defective ones rejected. What is neither OK nor NotOK is wrong on both sides, and is shown as unsure.

regions: each box of each frame that the judge saw. A good frame's boxes are good; a defective frame's box is defective
where the mask touches it; without a mask nobody knows, and the frame is left out of them (unlabelled).
place: the n-th boxes of all regions together (the n-th vial: the paper's last column), where all have as many.
frame: verdicts of single frames. run: of one acquisition of a part, the worst of its frames (equation 13).
rule: of a part, what k of its first n runs agree on.

The thresholds are the line's own in all of them, as they will run; the paper sets its thresholds anew for each table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.offline.figures import share
from edge.records import Evaluation

Outcome = tuple[bool, Evaluation]  # whether it is defective, and what was said


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """good, bad: how many. accuracy, good_kept (TPR), bad_rejected (TNR): shares, None of nothing. mean_ms: of gate and
    judge; of a box, its share of the judge's time for the frame."""

    good: int
    bad: int
    accuracy: float | None
    good_kept: float | None
    bad_rejected: float | None
    unsure: int
    threshold: float | None = None
    mean_ms: float | None = None


class SurfaceAcceptance(msgspec.Struct, frozen=True, kw_only=True):
    """short: runs of each part that has too few; mixed: parts with good and with defective runs; neither counts by the
    rule. spare: runs beyond the n that it looks at. unlabelled: defective frames whose boxes have no label."""

    regions: dict[str, Rates]
    place: Rates | None
    frame: Rates
    run: Rates
    rule: Rates
    parts: int
    short: dict[str, int]
    mixed: tuple[str, ...]
    spare: int
    unlabelled: int


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """accepted: None where no bound was asked for."""

    runs: int
    needed: int
    at_least: float | None
    accepted: bool | None
    surfaces: dict[str, SurfaceAcceptance]
    frames_per_run: int
    by: str
    line: str
    config_sha256: str
    version: str
    graphs: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoxTrial:
    """One box of a region. number: its place among the region's. defective: None where nobody knows."""

    region: str
    number: int
    threshold: float
    defective: bool | None
    rejected: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """One frame. boxes: none where the judge saw the whole frame, or did not see it. threshold: the judge's."""

    defective: bool
    evaluation: Evaluation
    boxes: list[BoxTrial]
    threshold: float | None
    ms: float
    judge_ms: float


def rates(outcomes: Iterable[Outcome], threshold: float | None = None, milliseconds: Sequence[float] = ()) -> Rates:
    found = list(outcomes)
    good = [said is Evaluation.OK for defective, said in found if not defective]
    bad = [said is Evaluation.NOT_OK for defective, said in found if defective]
    return Rates(
        good=len(good),
        bad=len(bad),
        accuracy=share(good + bad),
        good_kept=share(good),
        bad_rejected=share(bad),
        unsure=sum(said not in (Evaluation.OK, Evaluation.NOT_OK) for _, said in found),
        threshold=threshold,
        mean_ms=float(np.mean(milliseconds)) if milliseconds else None,
    )


def by_rule(runs: Sequence[Evaluation], needed: int) -> Evaluation:
    """What at least `needed` of a part's runs agree on, more than half of them; NotDecidable where they do not."""
    for evaluation in (Evaluation.NOT_OK, Evaluation.OK):
        if list(runs).count(evaluation) >= needed:
            return evaluation
    return Evaluation.NOT_DECIDABLE


def accepted(figures: SurfaceAcceptance, at_least: float) -> bool:
    """Both rates by the rule reach the bound, and no part was left out of them."""
    reached = [rate is not None and rate >= at_least for rate in (figures.rule.good_kept, figures.rule.bad_rejected)]
    return all(reached) and not figures.short and not figures.mixed


def frame_rates(trials: Sequence[Trial]) -> Rates:
    """With the judge's threshold where it sees whole frames; regions have their own."""
    thresholds = {trial.threshold for trial in trials if trial.threshold is not None and not trial.boxes}
    only = thresholds.pop() if len(thresholds) == 1 else None
    return rates(((trial.defective, trial.evaluation) for trial in trials), only, [trial.ms for trial in trials])


def box_rates(trials: Sequence[Trial]) -> tuple[dict[str, Rates], Rates | None]:
    """By region; and by place, where all regions have as many boxes, and more than one."""
    by_region: dict[str, list[BoxTrial]] = {}
    for trial in trials:
        for box in trial.boxes:
            by_region.setdefault(box.region, []).append(box)
    milliseconds = [trial.judge_ms / len(trial.boxes) for trial in trials if trial.boxes]
    regions = {
        name: rates((_outcome([box]) for box in boxes if box.defective is not None), boxes[0].threshold, milliseconds)
        for name, boxes in by_region.items()
    }
    sizes = {max(box.number for box in boxes) for boxes in by_region.values()}
    if len(sizes) != 1 or sizes == {0} or len(regions) < 2:
        return regions, None
    return regions, rates(outcome for trial in trials for outcome in _places(trial))


def _places(trial: Trial) -> list[Outcome]:
    numbers = sorted({box.number for box in trial.boxes if box.defective is not None})
    return [_outcome([box for box in trial.boxes if box.number == number]) for number in numbers]


def _outcome(boxes: Sequence[BoxTrial]) -> Outcome:
    """Boxes taken together: any defective one makes them defective, any rejected one rejects them."""
    rejected = any(box.rejected for box in boxes)
    return any(box.defective for box in boxes), Evaluation.NOT_OK if rejected else Evaluation.OK
