"""One part's story: every verdict that names it, in the journal's order, with what decided and its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from edge.errors import DataError
from edge.journal.entries import Entry, Lost
from edge.journal.pictures import picture_of
from edge.records import Defect, Evaluation, PartVerdict, Verdict
from edge.terminal import NAMES
from edge.vision.draw import annotate_boxes
from edge.vision.files import read_image

SCALES = (255, 1023, 4095, 16383, 65535)  # the largest value of sensors of 8 to 16 bits


def story(entries: Iterable[Entry], name: str) -> Iterator[Verdict | PartVerdict]:
    """name: a part_id, a trigger_id, or a verdict_id."""
    for entry in entries:
        if isinstance(entry, Lost):
            continue
        names = (entry.part_id, entry.verdict_id, entry.trigger_id if isinstance(entry, Verdict) else None)
        if name in names:
            yield entry


def tell(verdict: Verdict | PartVerdict, journal: Path) -> list[str]:
    """A verdict as lines of text, the first one its head."""
    when = datetime.fromtimestamp(verdict.t_verdict_ns / 1e9).astimezone().isoformat(" ", "milliseconds")
    name = NAMES[Evaluation(verdict.evaluation)]
    why = f"{verdict.reason.replace('_', ' ')}{f': {verdict.detail}' if verdict.detail else ''}"
    lines = _part(verdict) if isinstance(verdict, PartVerdict) else [*_frame(verdict), *_picture(verdict, journal)]
    durable = "durable" if verdict.durable else "published before it was on the disk"
    return [f"{when}  {name}  ({why})", f"journal {verdict.journal}, {verdict.verdict_id}, {durable}", *lines]


def draw_kept(verdict: Verdict, source: Path, target: Path) -> None:
    """The kept picture with the verdict's boxes, as PNG. Raises DataError."""
    pixels = read_image(source)
    full_scale = next(scale for scale in SCALES if scale >= int(pixels.max()))
    evaluation = Evaluation(verdict.evaluation)
    score = "" if verdict.score is None else f"  {verdict.score:.3g}"
    part = verdict.part_id or verdict.trigger_id or verdict.verdict_id
    caption = f"{part}  {verdict.surface or 'unseen surface'}  {evaluation.name.replace('_', ' ')}{score}"
    regions = [region.box for region in verdict.regions.values()]
    picture = annotate_boxes(pixels, full_scale, evaluation, regions, verdict.defects, caption)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(target), np.asarray(picture))
    except OSError as error:
        raise DataError(f"cannot write into {target.parent}: {error.strerror}; give a folder") from error
    if not written:
        raise DataError(f"cannot write {target}; is the folder writable?")


def _part(verdict: PartVerdict) -> list[str]:
    span = f"{len(verdict.frames)} of {verdict.expected} frames in {verdict.span_ns / 1e6:.1f} ms"
    return [f"the part: {span}", f"decided by {verdict.worst or '-'}, score {_number(verdict.score)}"]


def _frame(verdict: Verdict) -> list[str]:
    limits = ", ".join(f"{name} {value:.3g}" for name, value in verdict.thresholds.items())
    times = ", ".join(f"{stage} {spent / 1e6:.1f}" for stage, spent in verdict.times_ns.items())
    ran = ", ".join(f"{name} on {graph}" for name, graph in verdict.graphs.items())
    return [
        f"camera {verdict.camera}, trigger {verdict.trigger_id or '-'}, part {verdict.part_id or '-'}",
        f"surface {verdict.surface or '-'} ({_number(verdict.surface_score)} of what is seen)",
        f"score {_number(verdict.score)}, thresholds {limits or '-'}",
        *(f"region {name}: {_number(r.score)} of {r.threshold:.3g} at {r.box}" for name, r in verdict.regions.items()),
        *map(_defect, verdict.defects),
        f"ran {ran or '-'}; ms: {times or '-'}",
    ]


def _defect(defect: Defect) -> str:
    region = f" in {defect.region}" if defect.region else ""
    return f"defect {defect.label} {defect.score:.3g} at {list(defect.bbox)}{region}, {defect.area:.0f} pixels"


def _picture(verdict: Verdict, journal: Path) -> list[str]:
    path = picture_of(journal, verdict.verdict_id)
    return [f"picture {path}"] if path else ["no picture is kept"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
