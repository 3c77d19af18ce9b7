"""`edge teach`: a judge for a surface from good images alone, made on the line PC in minutes and without torch.

The gate's network looks at every image, once by each of its graphs that runs here (INT8 moves a cell a little, so the
memory holds both); a coreset of the cells is the memory; each image is scored by a memory of the others, and the
threshold lets the wanted share of them pass.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Graph, Scoring, Thresholds, Training
from edge.engines.session import ENGINES, READS, Engine, Floats, installed, open_session
from edge.errors import BundleError, MissingExtra
from edge.inspection.files import read_frame
from edge.inspection.nearest import Memory, remember, smooth_cells, worst_mean
from edge.offline.clusters import FOLDS
from edge.offline.coreset import CANDIDATES, coreset
from edge.offline.pack import write_borrowing
from edge.vision.image import prepare

CELLS = 2000
WORST = 3
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Seen:
    """What one graph made of the images. features: `(n, f)`, the gate's; cells: `(n, h * w, d)` float16,
    smoothed."""

    features: Floats
    cells: NDArray[np.float16]


def runnable(gate: Bundle) -> list[tuple[Engine, Graph]]:
    """Each graph of the gate with one installed engine for it. Raises BundleError, MissingExtra."""
    if len(gate.manifest.outputs) != 2:
        raise BundleError(f"{gate.path}: this gate gives features alone, no cells to teach a judge by; make it anew")
    pairs = []
    for graph in gate.manifest.graph:
        engines = [engine for engine in ENGINES if READS[engine] == graph.format and installed(engine)]
        pairs += [(engine, graph) for engine in engines[:1]]
    if not pairs:
        raise MissingExtra("onnxruntime", "all", "teaching")
    return pairs


def look_at(gate: Bundle, images: Sequence[Path], threads: int, show: Progress) -> list[Seen]:
    """Run every image through each graph. Raises DataError naming a file that is no image."""
    rule = gate.manifest.input
    whole = rule.views.index("whole")
    sessions = [open_session(engine, gate.read(graph), threads, "cpu") for engine, graph in runnable(gate)]
    features: list[list[Floats]] = [[] for _ in sessions]
    cells: list[list[NDArray[np.float16]]] = [[] for _ in sessions]
    for number, path in enumerate(images):
        frame = read_frame(path)
        batch = prepare(frame.pixels, rule, frame.full_scale)
        for session, its_features, its_cells in zip(sessions, features, cells, strict=True):
            answer = session.run(batch)
            its_features.append(answer[0].reshape(-1).copy())
            smooth = smooth_cells(answer[1][whole])
            its_cells.append(smooth.reshape(-1, smooth.shape[-1]).astype(np.float16))
        show("looking", number + 1, len(images))
    for session in sessions:
        session.close()
    return [Seen(np.stack(f), np.stack(c)) for f, c in zip(features, cells, strict=True)]


def make_memory(seen: list[Seen], images: NDArray[np.bool_], count: int, seed: int) -> Memory:
    """A memory of those images alone, `(n,)`. Every number of a cell counts by the inverse of its spread."""
    which, (_, places, d) = np.flatnonzero(images), seen[0].cells.shape
    drawn = np.random.default_rng(seed).permutation(len(which) * places)[:CANDIDATES]
    image, place = which[drawn // places], drawn % places
    rows = np.concatenate([each.cells[image, place] for each in seen]).astype(np.float32)
    scale = (1 / (np.maximum(rows.std(axis=0), 1e-6) * np.sqrt(d))).astype(np.float32)
    rows *= scale
    # What is kept is what float16 holds, so that the thresholds are set on the very memory that the line reads.
    return remember(scale, rows[coreset(rows, count, seed)].astype(np.float16).astype(np.float32))


def held_out(seen: list[Seen], count: int, worst: int, seed: int, show: Progress) -> tuple[Floats, Floats]:
    """Each image's score and its worst cell, `(graphs, n)`, by a memory of the other folds' images.

    The memory is chosen anew for each fold: one chosen among all images lacks, without an image's own cells, the like
    of them that others had to offer, and every score would come out too high.
    """
    fold = np.arange(len(seen[0].cells)) % FOLDS
    scores, peaks = np.zeros((2, len(seen), len(fold)), np.float32)
    for number in range(FOLDS):
        memory = make_memory(seen, fold != number, count, seed)
        for row, each in enumerate(seen):
            for image in np.flatnonzero(fold == number):
                distances = memory.distances(each.cells[image].astype(np.float32))
                scores[row, image], peaks[row, image] = worst_mean(distances, worst), distances.max()
        show("threshold", number + 1, FOLDS)
    return scores, peaks


@dataclass(frozen=True)
class Lesson:
    """What is said of the surface. licence, data: of the images, for the manifest. pass_good: share of the good images
    that the threshold lets pass. gate: whether it is taught too; where None, if it does not know the surface."""

    surface: str
    name: str
    data: str
    licence: str
    command: str
    pass_good: float = 0.98
    gate: bool | None = None
    seed: int = 1


def teach_judge(gate: Bundle, seen: list[Seen], lesson: Lesson, out: Path, show: Progress) -> tuple[Bundle, Floats]:
    """Write the bundle of a nearest judge that runs the gate's own graphs; the gate must lie beside it in `out`.

    Returns with it each image's held-out score, `(n,)`, the worst of all graphs'. Raises BundleError.
    """
    scores, peaks = held_out(seen, CELLS, WORST, lesson.seed, show)
    images = len(seen[0].cells)
    memory = make_memory(seen, np.ones(images, np.bool_), CELLS, lesson.seed)
    how = (
        f"{lesson.pass_good:.0%} of {images} good images stay below, each scored by other folds' cells; map: of"
        " their worst cells the same"
    )
    limit, peak = (float(np.quantile(values, lesson.pass_good)) for values in (scores, peaks))
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, scale=memory.scale, memory=memory.good.T.astype(np.float16))
    fields: dict[str, object] = {
        "name": lesson.name,
        "kind": "nearest",
        "surfaces": (lesson.surface,),
        "thresholds": Thresholds(score=limit, map=peak, how=how),
        "scoring": Scoring(worst=WORST),
        "training": Training(
            data=lesson.data,
            licence=lesson.licence,
            images=images,
            date=datetime.date.today().isoformat(),
            command=lesson.command,
            note=f"no training: {memory.good.shape[1]} cells that good images have",
        ),
    }
    return write_borrowing(out / lesson.name, fields, gate, packed.getvalue()), scores.max(axis=0)
