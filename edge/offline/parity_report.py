"""What `edge parity` shows: a table, and a sheet of pictures of the frames on which graphs differ most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge.errors import DataError
from edge.inspection.files import read_frame
from edge.offline.answers import Answer, Answers
from edge.offline.parity import flipped
from edge.offline.parity_run import FAST_ENOUGH, Parity
from edge.offline.samples import Sample
from edge.vision.draw import Picture, to_8_bit

SHOWN_FRAMES, SIDE, CAPTION = 6, 224, 40
WHITE, RED = (255, 255, 255), (60, 60, 230)


def parity_tables(found: Parity) -> list[Table]:
    """The verdicts, then what the scores are worth and cost; each fits 80 columns."""
    title = f"{found.bundle}, {found.frames} frames, against {found.rows[0].engine} FP32"
    verdicts = _table(title, "flips", "to OK", "apart", "most", "box IoU", "px off")
    worth = _table("", "AUROC", "lost", "AUPRO", "lost", "pixel AUROC lost", "ms", "faster")
    for row in found.rows:
        name = f"{row.engine} {row.precision}"
        apart = (f"{row.apart:.2%}", f"{row.apart_most:.1%}", _shown(row.iou, ".2f"), _shown(row.shift, ".1f"))
        verdicts.add_row(name, f"{row.flips_outside}/{row.flips}", f"{row.outside}/{row.to_ok}", *apart)
        pairs = ((row.auroc, row.auroc_lost), (row.aupro, row.aupro_lost))
        figures = [text for own, less in pairs for text in (_shown(own, ".3f"), _shown(less, "+.3f"))]
        figures.append(_shown(row.pixel_auroc_lost, "+.3f"))
        worth.add_row(name, *figures, _shown(row.ms, ".2f"), _shown(row.faster, ".1f"))
    return [verdicts, worth]


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("graph", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def remarks(found: Parity) -> list[str]:
    """What speaks against the bundle, and what it is worth in milliseconds."""
    quick = f"quickest: {found.quickest}, {found.faster or 0:.1f} times as fast as FP32 on ONNX Runtime"
    slow = "" if (found.faster or 0) >= FAST_ENOUGH else f"; {FAST_ENOUGH:g} times is what INT8 is expected to bring"
    verdict = "parity: passed" if found.passed else "parity: NOT passed"
    return [*found.lost, *found.wrong, quick + slow, verdict]


def worst_frames(all_answers: Sequence[Answers]) -> list[int]:
    """Those on which a graph's verdict flips first, then by how far any score lies from the reference's."""
    reference, others = all_answers[0], all_answers[1:]
    apart = np.zeros(len(reference.answers))
    for other in others:
        pairs = zip(reference.answers, other.answers, strict=True)
        apart = np.maximum(apart, [abs(a.score - b.score) for a, b in pairs])
        apart[flipped(reference, other)] += 1e9
    return [int(number) for number in np.argsort(-np.nan_to_num(apart, nan=np.inf), kind="stable")[:SHOWN_FRAMES]]


def write_sheet(path: Path, samples: Sequence[Sample], all_answers: Sequence[Answers]) -> None:
    """A row for each of the worst frames: the frame, then what each graph says of it, boxes and map. Raises DataError
    where the picture cannot be written."""
    rows = [
        _row(samples[number], [a.answers[number] for a in all_answers], all_answers, number)
        for number in worst_frames(all_answers)
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), np.vstack(rows))
    except (OSError, cv2.error) as error:
        raise DataError(f"cannot write {path}: {error}; give a name that ends in .png") from error
    if not written:
        raise DataError(f"cannot write {path}; is the folder writable?")


def _row(sample: Sample, answers: list[Answer], all_answers: Sequence[Answers], number: int) -> Picture:
    frame = read_frame(sample.path)
    picture = to_8_bit(frame.pixels, frame.full_scale)
    panes = [_pane(picture, (), [sample.path.stem[:28], sample.kind], WHITE)]
    for answer, graph in zip(answers, all_answers, strict=True):
        text = [f"{graph.engine} {graph.precision}", f"{answer.verdict} {answer.score:.4g}"]
        agrees = answer.verdict == answers[0].verdict
        shown = picture if graph.maps is None else _overlaid(picture, graph.maps[number])
        panes.append(_pane(shown, answer.boxes, text, WHITE if agrees else RED))
    return np.hstack(panes)


def _overlaid(picture: Picture, scores: NDArray[np.float32]) -> Picture:
    """The picture with its map as warm colours over it, the map's own range."""
    least, most = float(scores.min()), float(scores.max())
    level = np.asarray((scores - least) * (255 / max(most - least, 1e-9)), np.uint8)
    large = cv2.resize(level, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.addWeighted(picture, 0.6, cv2.applyColorMap(large, cv2.COLORMAP_TURBO), 0.4, 0), np.uint8)


def _pane(
    picture: Picture, boxes: Sequence[tuple[int, int, int, int]], text: list[str], colour: tuple[int, int, int]
) -> Picture:
    h, w = picture.shape[:2]
    scale = SIDE / max(h, w)
    pane = np.zeros((SIDE + CAPTION, SIDE, 3), np.uint8)
    small = cv2.resize(picture, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA)
    for x, y, bw, bh in boxes:
        corners = [round(v * scale) for v in (x, y, x + bw, y + bh)]
        cv2.rectangle(small, (corners[0], corners[1]), (corners[2], corners[3]), RED, 1)
    pane[CAPTION : CAPTION + small.shape[0], : small.shape[1]] = small
    for line, words in enumerate(text):
        cv2.putText(pane, words, (4, 15 + 17 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
    return pane
