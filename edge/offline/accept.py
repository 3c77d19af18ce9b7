"""`edge accept`: n runs of each part through the line, k of which have to be right (Ferrari 7.4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from edge import __version__
from edge.config import Line
from edge.errors import DataError
from edge.inspection.assemble import open_pipeline
from edge.inspection.files import read_frame
from edge.inspection.part import worst_evaluation
from edge.inspection.pipeline import Inspection, Pipeline, models_of
from edge.offline.accept_figures import (
    Acceptance,
    BoxTrial,
    Outcome,
    SurfaceAcceptance,
    Trial,
    accepted,
    box_rates,
    by_rule,
    frame_rates,
    rates,
)
from edge.offline.evaluate import Say
from edge.offline.progress import Progress
from edge.offline.runs import By, Part, find_parts, run_defective
from edge.offline.samples import Sample, read_mask
from edge.records import Evaluation, Frame


def accept(
    line: Line,
    roots: Sequence[Path],
    rule: tuple[int, int],
    by: By,
    at_least: float | None,
    progress: Progress,
    say: Say,
) -> Acceptance:
    """Every run of every part through the line. rule: n runs, of which k are needed, more than half of n.

    by: as in `find_parts`. at_least: the share that both rates by the rule have to reach. Raises DataError for what is
    wrong with the folders or an image, and what `open_pipeline` raises.
    """
    frames = line.config.parts.frames if line.config.parts else 1
    found, notes = find_parts(roots, by, frames)
    parts = [part for part in found if part.surface in line.config.judges]
    left = sorted({part.surface for part in found} - {part.surface for part in parts})
    notes += [f"{surface}: the line has no judge for it; left out" for surface in left]
    if not parts:
        raise DataError(f"no part to accept the line on: {'; '.join(notes)}")
    pipeline = open_pipeline(line, say)
    try:
        surfaces = {
            surface: try_surface(pipeline, list(group), rule, frames, progress)
            for surface, group in groupby(parts, key=lambda part: part.surface)
        }
        models = [model for judge in pipeline.judges.values() for model in models_of(judge)]
        models += [pipeline.gate.model] if pipeline.gate else []
        graphs = {model.manifest.name: model.runs_on for model in models}
    finally:
        pipeline.close()
    return Acceptance(
        runs=rule[0],
        needed=rule[1],
        at_least=at_least,
        accepted=None if at_least is None else all(accepted(figures, at_least) for figures in surfaces.values()),
        surfaces=surfaces,
        frames_per_run=frames,
        by=by,
        line=line.config.line,
        config_sha256=line.sha256,
        version=__version__,
        graphs=graphs,
        notes=tuple(notes),
    )


def try_surface(
    pipeline: Pipeline, parts: Sequence[Part], rule: tuple[int, int], frames: int, progress: Progress
) -> SurfaceAcceptance:
    """All parts of one surface. frames: of a run; one that lacks some is Undefined, as on the line."""
    runs, needed = rule
    total = sum(len(run) for part in parts for run in part.runs)
    trials: list[Trial] = []
    acquired: list[Outcome] = []
    run_ms: list[float] = []
    ruled: list[Outcome] = []
    for part in parts:
        first = len(acquired)
        for run in part.runs:
            progress(part.surface, len(trials), total)
            tried = [try_frame(pipeline, sample) for sample in run]
            said = worst_evaluation((trial.evaluation for trial in tried), missing=len(run) < frames)
            acquired.append((run_defective(run), said))
            run_ms.append(sum(trial.ms for trial in tried))
            trials += tried
        if part.defective is not None and len(part.runs) >= runs:
            said_first = [said for _, said in acquired[first : first + runs]]
            ruled.append((part.defective, by_rule(said_first, needed)))
    regions, place = box_rates(trials)
    return SurfaceAcceptance(
        regions=regions,
        place=place,
        frame=frame_rates(trials),
        run=rates(acquired, None, run_ms),
        rule=rates(ruled),
        parts=len(parts),
        short={part.name: len(part.runs) for part in parts if len(part.runs) < runs},
        mixed=tuple(part.name for part in parts if part.defective is None),
        spare=sum(max(0, len(part.runs) - runs) for part in parts),
        unlabelled=sum(any(box.defective is None for box in trial.boxes) for trial in trials),
    )


def try_frame(pipeline: Pipeline, sample: Sample) -> Trial:
    """One image through the line. Raises DataError where it, or its mask, cannot be read."""
    frame = read_frame(sample.path)
    inspection = pipeline.inspect(frame)
    judge_ms = inspection.times_ns.get("judge", 0) / 1e6
    return Trial(
        defective=sample.defective,
        evaluation=Evaluation(inspection.evaluation),
        boxes=try_boxes(inspection, sample, frame),
        threshold=inspection.finding.threshold if inspection.finding else None,
        ms=inspection.times_ns.get("gate", 0) / 1e6 + judge_ms,
        judge_ms=judge_ms,
    )


def try_boxes(inspection: Inspection, sample: Sample, frame: Frame) -> list[BoxTrial]:
    """Every box that was judged, with its label and whether it was rejected."""
    if inspection.finding is None or not inspection.finding.regions:
        return []
    height, width = frame.pixels.shape[:2]
    mask = read_mask(sample, frame.pixels.shape, width, height)
    boxes = []
    for name, scores in inspection.finding.regions.items():
        for number, scored in enumerate(scores):
            x, y, w, h = scored.box
            defective = None if mask is None else bool(mask[y : y + h, x : x + w].any())
            boxes.append(BoxTrial(name, number, scored.threshold, defective, not scored.score <= scored.threshold))
    return boxes
