"""The pipeline over image files: the same answers as on the bus, without one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter_ns

import cv2
import numpy as np
from msgspec.structs import replace

from edge.config import Line
from edge.errors import DataError, FrameError
from edge.inspection.pipeline import Inspection, Pipeline, fail
from edge.inspection.verdict import make_verdict
from edge.records import Evaluation, Frame, Verdict
from edge.vision.draw import annotate
from edge.vision.files import read_image, short_names


def read_frame(path: Path) -> Frame:
    """Raises DataError naming the file."""
    pixels = read_image(path)
    return Frame(pixels, int(np.iinfo(pixels.dtype).max))


def inspect_files(line: Line, pipeline: Pipeline, paths: list[Path], pictures: Path | None = None) -> Iterator[Verdict]:
    """Each file's verdict, whose part is named as `edge camera` names it; one that cannot be read is Undefined.
    pictures: a folder for the annotated ones."""
    session = uuid.uuid4().hex[:12]
    for seq, (path, name) in enumerate(zip(paths, short_names(paths), strict=True)):
        started = perf_counter_ns()
        try:
            frame = read_frame(path)
            inspection = pipeline.inspect(frame)
        except DataError as error:
            frame, inspection = None, Inspection()
            fail(inspection, FrameError(str(error)))
        inspection.times_ns["total"] = perf_counter_ns() - started
        verdict = make_verdict(line, session, seq, "-", None, inspection)
        if pictures is not None and frame is not None:
            write_picture(pictures / f"{seq:04d}-{path.stem}.png", frame, inspection, path.stem)
        yield replace(verdict, part_id=name)


def write_picture(path: Path, frame: Frame, inspection: Inspection, part: str) -> None:
    """Frame with boxes beside its score map, as PNG. Raises DataError where it cannot be written."""
    evaluation = Evaluation(inspection.evaluation)
    score = f"  {inspection.finding.score:.3g}" if inspection.finding else ""
    caption = f"{part}  {inspection.surface or 'unseen surface'}  {evaluation.name.replace('_', ' ')}{score}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write into {path.parent}: {error.strerror}; give a folder") from error
    if not cv2.imwrite(str(path), annotate(frame.pixels, frame.full_scale, evaluation, inspection.finding, caption)):
        raise DataError(f"cannot write {path}; is the folder writable?")
