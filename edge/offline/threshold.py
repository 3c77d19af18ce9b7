"""`edge threshold`: a score threshold from good parts alone, with the share of them that it rejects at most.

Conformal prediction's bound (Vovk 2012): whatever the scores' distribution, the k-th largest of n good ones rejects no
more than a share a of all good parts, with a confidence that the binomial distribution of k and n gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.binomial import fewest, share_bound, upper_bound
from edge.bundle import Training
from edge.config import Line
from edge.errors import BundleError, ConfigError, DataError
from edge.inspection.assemble import open_pipeline
from edge.inspection.judge import Judge, Scorer
from edge.inspection.pipeline import Pipeline
from edge.inspection.regions import RegionJudge
from edge.offline.evaluate import Say, own_finding
from edge.offline.good import good_files, once_each
from edge.offline.progress import Progress

SHOWN = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Wanted:
    """At most this share of all good parts rejected, with this confidence."""

    false_rejects: float
    confidence: float


@dataclass(frozen=True)
class Limit:
    """A threshold beside n good scores. rejected: of them; at_most: of all good parts, with the confidence asked
    for."""

    threshold: float
    rejected: int
    at_most: float


@dataclass(frozen=True)
class Proposal:
    """proposed: None where the images are too few; more: how many good ones are missing, 0 where they are enough.
    today: the threshold that stands, the line's or the manifest's. best: what these many images can promise at most.
    quantiles: of the scores. repeated: pictures left out, being the same as others. unseen: those that the gate sends
    away."""

    surface: str
    bundle: str
    graph: str
    wanted: Wanted
    images: int
    repeated: int
    unseen: int
    proposed: Limit | None
    more: int
    today: Limit
    best: float
    quantiles: dict[str, float]
    notes: tuple[str, ...]


def propose(scores: Sequence[float], wanted: Wanted) -> Limit | None:
    """The lowest of good scores that, as a threshold, rejects no more than wanted; None where they are too few.

    scores: of good parts that the judge has never seen, independent of one another. A score above the threshold
    rejects.
    """
    found = upper_bound(scores, 1 - wanted.false_rejects, wanted.confidence)
    return None if found is None else beside(scores, found, wanted.confidence)


def beside(scores: Sequence[float], threshold: float, confidence: float) -> Limit:
    """What a threshold rejects; at_most holds for one of these scores, and for one that was set without them."""
    rejected = sum(score > threshold for score in scores)
    return Limit(threshold, rejected, share_bound(len(scores), rejected, confidence))


def find_threshold(
    line: Line, surface: str, places: Sequence[Path], wanted: Wanted, progress: Progress, say: Say
) -> Proposal:
    """Good images through the line, each by its own surface's judge. Raises ConfigError where the line has none or it
    looks by region, DataError for what is wrong with an image, and what `open_pipeline` raises."""
    judge = line.config.judges.get(surface)
    if judge is None or judge.regions:
        why = "has no judge for it" if judge is None else "judges it by region, each with a threshold of its own"
        raise ConfigError(f"{line.path}: {surface}: the line {why}; edge threshold sets that of a whole frame")
    paths = good_files(places)
    pipeline = open_pipeline(line, say)
    try:
        scores, unseen = score_good(pipeline, surface, paths, progress)
        asked = pipeline.judges[surface]
        model, today = asked.model, asked.threshold
    finally:
        pipeline.close()
    proposed = propose(scores, wanted)
    if proposed:
        check_stands(asked, proposed.threshold)
    return Proposal(
        surface=surface,
        bundle=judge.bundle,
        graph=model.runs_on,
        wanted=wanted,
        images=len(scores),
        repeated=len(paths) - len(scores),
        unseen=unseen,
        proposed=proposed,
        more=max(0, fewest(1 - wanted.false_rejects, wanted.confidence) - len(scores)),
        today=beside(scores, today, wanted.confidence),
        best=share_bound(len(scores), 0, wanted.confidence),
        quantiles={f"{q:g}": float(np.quantile(scores, q)) for q in SHOWN},
        notes=tuple(_notes(line, paths, model.manifest.training)),
    )


def score_good(pipeline: Pipeline, surface: str, paths: Sequence[Path], progress: Progress) -> tuple[list[float], int]:
    """Each different picture's score by the surface's own judge, and how many the gate sends elsewhere."""
    judge, scores, unseen = pipeline.judges[surface], [], 0
    assert not isinstance(judge, RegionJudge)
    for number, (path, frame) in enumerate(once_each(paths)):
        progress(surface, number, len(paths))
        inspection = pipeline.inspect(frame)
        finding = own_finding(judge, frame, inspection)
        if finding is None:
            raise DataError(f"{path}: the judge has no score for it; look at it: edge inspect")
        scores.append(finding.score)
        unseen += inspection.surface != surface
    return scores, unseen


def check_stands(judge: Judge, threshold: float) -> None:
    """Raises DataError where the line would refuse it: above a probability of 1 nothing is ever rejected."""
    assert isinstance(judge, Scorer)
    try:
        type(judge)(judge.model, threshold)
    except BundleError as error:
        raise DataError(f"good images score too high for a threshold: {error}; look at them: edge inspect") from error


def _notes(line: Line, paths: Sequence[Path], training: Training) -> list[str]:
    notes = [
        f"it holds for images that the judge did not learn from, and it learnt from {training.images} of"
        f" {training.data}; for parts, light and camera like these; and where each image shows a part of its own"
    ]
    if any("train" in path.parts for path in paths):
        notes.append("some of these images lie in a folder `train`: what the judge learnt from scores too low")
    if line.config.parts:
        frames = line.config.parts.frames
        notes.append(f"a part of {frames} frames is rejected where one of them is: up to {frames} times as often")
    return notes
