"""The line's own pipeline over labelled images: what its gate and its judges are worth (edge.offline.figures)."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from time import perf_counter_ns

import cv2
import numpy as np

from edge import __version__
from edge.config import Line
from edge.errors import EngineError, FrameError, MissingExtra, ScoreError
from edge.inspection.assemble import open_pipeline
from edge.inspection.files import read_frame
from edge.inspection.gate import Gate
from edge.inspection.judge import Judge
from edge.inspection.pipeline import Inspection, Pipeline
from edge.offline.figures import (
    FAILED,
    UNSEEN,
    About,
    Report,
    SurfaceFigures,
    Trial,
    gate_figures,
    stage_figures,
    surface_figures,
)
from edge.offline.metrics import PixelScores
from edge.offline.progress import Progress
from edge.offline.samples import Sample, find_samples, read_mask
from edge.records import Finding, Frame

NOTED_FAILURES = 10

Say = Callable[[str], None]


def _silent(description: str, done: int, total: int) -> None:
    pass


def _nothing(_: str) -> None:
    pass


def evaluate(
    line: Line,
    roots: Sequence[Path],
    fold: int | None = None,
    limit: int | None = None,
    progress: Progress = _silent,
    say: Say = _nothing,
) -> Report:
    """Find the images, open the line, run every frame. progress: told surface, frames done, frames in all.

    roots, fold, limit: as in `find_samples`. Raises MissingExtra without scikit-learn, DataError for what is wrong with
    the folders or an image, and what `open_pipeline` raises.
    """
    if find_spec("sklearn") is None:
        raise MissingExtra("scikit-learn", "evaluate", "edge evaluate")
    samples, notes = find_samples(roots, fold, limit)
    pipeline = open_pipeline(line, say)
    try:
        surfaces, trials = run_samples(pipeline, samples, progress)
        parts: list[Gate | Judge] = [*([pipeline.gate] if pipeline.gate else []), *pipeline.judges.values()]
        about = About(
            line=line.config.line,
            config_sha256=line.sha256,
            version=__version__,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            host=f"{platform.node()} {platform.machine()}",
            data=tuple(str(root) for root in roots),
            fold=fold,
            limit=limit,
            frames=len(samples),
            graphs={part.model.manifest.name: part.model.runs_on for part in parts},
            bundles={part.model.manifest.name: part.model.bundle.sha256 for part in parts},
            notes=(*notes, *[f"{t.surface}: {t.detail}" for t in trials if t.detail][:NOTED_FAILURES]),
        )
        gate = gate_figures(trials, pipeline.gate.surfaces if pipeline.gate else None)
    finally:
        pipeline.close()
    return Report(gate=gate, surfaces=surfaces, stages=stage_figures(trials), about=about)


def run_samples(
    pipeline: Pipeline, samples: Sequence[Sample], progress: Progress = _silent
) -> tuple[dict[str, SurfaceFigures], list[Trial]]:
    """Samples sorted by surface through the pipeline; only one surface's score maps are held at once."""
    taught = pipeline.gate.surfaces if pipeline.gate else None
    figures: dict[str, SurfaceFigures] = {}
    trials: list[Trial] = []
    for surface, group in groupby(samples, key=lambda sample: sample.surface):
        members = list(group)
        judge = pipeline.judges.get(surface)
        pixels = PixelScores() if judge and any(s.mask for s in members) else None
        first = len(trials)
        for sample in members:
            progress(surface, len(trials), len(samples))
            trials.append(run_one(pipeline, sample, judge, pixels))
        figures[surface] = surface_figures(trials[first:], judge is not None, pixels, taught)
    return figures, trials


def run_one(pipeline: Pipeline, sample: Sample, judge: Judge | None, pixels: PixelScores | None) -> Trial:
    """One frame through the pipeline, and through its own surface's judge where that did not run. Raises DataError."""
    started = perf_counter_ns()
    frame = read_frame(sample.path)
    read_ns = perf_counter_ns() - started
    inspection = pipeline.inspect(frame)
    finding = own_finding(judge, frame, inspection) if judge else None
    counted = False
    if judge and finding and pixels:
        counted = count_pixels(pixels, judge, finding, sample, frame)
    return Trial(
        surface=sample.surface,
        defective=sample.defective,
        answer=gate_answer(inspection) if pipeline.gate else None,
        evaluation=inspection.evaluation,
        score=finding.score if finding else None,
        masked=counted and sample.defective,
        detail=inspection.detail,
        times_ns={"read": read_ns, **inspection.times_ns},
    )


def own_finding(judge: Judge, frame: Frame, inspection: Inspection) -> Finding | None:
    """What the surface's own judge says: taken from the inspection where it ran, asked now where the gate sent the
    frame elsewhere. None where it failed."""
    if any(model is judge.model for model in inspection.models):
        return inspection.finding
    try:
        return judge.inspect(frame)
    except (FrameError, ScoreError, EngineError):
        return None


def gate_answer(inspection: Inspection) -> str:
    if inspection.admission is None:
        return FAILED
    return inspection.admission.surface if inspection.admission.seen else UNSEEN


def count_pixels(pixels: PixelScores, judge: Judge, finding: Finding, sample: Sample, frame: Frame) -> bool:
    """False where the frame is defective and nobody drew where. Raises DataError for an unreadable mask."""
    rule = judge.model.manifest.input
    mask = read_mask(sample, frame.pixels.shape, rule.width, rule.height)
    if mask is None:
        return False
    scores = cv2.resize(finding.score_map, (rule.width, rule.height), interpolation=cv2.INTER_LINEAR)
    pixels.add(scores.astype(np.float32, copy=False), mask)
    return True
