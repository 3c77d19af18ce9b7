"""`edge teach`: a judge for a surface from good images alone, made on the line PC in minutes and without torch.

The gate's network looks at every image, once by each of its graphs that runs here; a coreset of the cells is the
memory, one for each graph: in a common one a bad cell by INT8 is near to a good one by FP32. Each image is scored by a
memory of the others, and the threshold lets the wanted share of them pass.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Graph, Scoring, Thresholds, Training
from edge.engines.session import ENGINES, Engine, Floats, installed, open_graph, readable
from edge.errors import BundleError, DataError, MissingExtra
from edge.inspection.files import read_frame
from edge.inspection.nearest import (
    Memory,
    directions,
    memory_arrays,
    nearest,
    pack_cells,
    smooth_cells,
    unpack_cells,
    worst_mean,
)
from edge.offline.clusters import FOLDS
from edge.offline.coreset import CANDIDATES, coreset
from edge.offline.pack import write_borrowing
from edge.offline.progress import Progress
from edge.vision.image import WHOLE, prepare

DOUBT = 3  # a memory cell's room is taken to be the mean of all until it has more good cells than this near it
ROWS = 4096
LEAST_SPREAD = 1e-6
LEAST_ROOM = 0.1  # where all good parts are the same to the bit a cell still has some
Tiles = tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """tiles: columns and rows that a frame is cut into, for defects too small for the gate's own size. worst: a frame's
    score is the mean of so many cells. even: 0 where a distance counts the same everywhere, 1 where it counts by how
    much good parts vary in such a place. cells: so many good ones are remembered."""

    tiles: Tiles = WHOLE
    worst: int = 10
    even: float = 0.5
    cells: int = 4000
    seed: int = 1


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
    settings: Settings = Settings()


@dataclass(frozen=True)
class Seen:
    """What one graph made of the images. features: `(n, f)`, the gate's; cells: `(n, h * w, d)` float16,
    smoothed."""

    graph: Graph
    features: Floats
    cells: NDArray[np.float16]


def runnable(gate: Bundle) -> list[tuple[Engine, Graph]]:
    """The gate's first FP32 graph, for all that are not INT8, and each INT8 one, with an engine that is installed.
    Raises BundleError, MissingExtra."""
    if len(gate.manifest.outputs) != 2:
        raise BundleError(f"{gate.path}: this gate gives features alone, no cells to teach a judge by; make it anew")
    if "whole" not in gate.manifest.input.views:
        raise BundleError(f"{gate.path}: input.views lacks `whole`, the one that covers the frame")
    pairs = []
    whole = [graph for graph in gate.manifest.graph if graph.precision == "fp32"]
    for graph in (*whole[:1], *(g for g in gate.manifest.graph if g.precision == "int8")):
        engines = [e for e in ENGINES if graph in readable(e, gate.manifest.graph) and installed(e)]
        pairs += [(engine, graph) for engine in engines[:1]]
    if not pairs:
        raise MissingExtra("onnxruntime", "all", "teaching")
    return pairs


def look_at(gate: Bundle, images: Sequence[Path], tiles: Tiles, threads: int, show: Progress) -> list[Seen]:
    """Run every image through each graph, and again in tiles where they are more than one. Raises DataError naming a
    file that is no image."""
    rule = gate.manifest.input
    tiled = msgspec.structs.replace(rule, tiles=tiles)
    graphs = runnable(gate)
    features: list[list[Floats]] = [[] for _ in graphs]
    cells: list[list[NDArray[np.float16]]] = [[] for _ in graphs]
    with ExitStack() as opened:
        sessions = [opened.enter_context(closing(open_graph(e, gate, g, threads, "cpu"))) for e, g in graphs]
        for number, path in enumerate(images):
            frame = read_frame(path)
            batch = prepare(frame.pixels, rule, frame.full_scale)
            in_tiles = None if tiles == WHOLE else prepare(frame.pixels, tiled, frame.full_scale)
            for session, its_features, its_cells in zip(sessions, features, cells, strict=True):
                answer = session.run(batch)
                its_features.append(answer[0].reshape(-1).copy())
                smooth = smooth_cells(answer[1] if in_tiles is None else session.run(in_tiles)[1], tiled)
                its_cells.append(smooth.reshape(-1, smooth.shape[-1]).astype(np.float16))
            show("looking", number + 1, len(images))
    return [Seen(graph, np.stack(f), np.stack(c)) for (_, graph), f, c in zip(graphs, features, cells, strict=True)]


def make_memories(seen: Sequence[Seen], images: NDArray[np.bool_], settings: Settings) -> list[Memory]:
    """Each graph's memory of those images alone, `(n,)`. Every number of a cell counts by the inverse of its spread.

    All graphs remember the same places, those that the first one's cells lie farthest apart at: where each chose for
    itself, scores differed by the choice, and verdicts flipped between INT8 and FP32."""
    which, places = np.flatnonzero(images), seen[0].cells.shape[1]
    drawn = np.random.default_rng(settings.seed).permutation(len(which) * places)[:CANDIDATES]
    image, place = which[drawn // places], drawn % places
    kept: NDArray[np.int64] | None = None
    memories = []
    for each in seen:
        rows = each.cells[image, place].astype(np.float32)
        spread = rows.std(axis=0)
        scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > LEAST_SPREAD)  # a constant tells nothing
        if not scale.any():
            raise DataError("the gate's network tells no two places of these images apart; are they blank?")
        rows = directions(rows, scale)
        kept = coreset(rows, settings.cells, settings.seed) if kept is None else kept
        good = unpack_cells(pack_cells(rows[kept]))  # thresholds are set on the very memory that the line reads
        memories.append(Memory(scale, good, rooms(rows, image, good, image[kept]) ** np.float32(settings.even)))
    return memories


def rooms(rows: Floats, image: NDArray[np.int64], good: Floats, owner: NDArray[np.int64]) -> Floats:
    """How far good cells are from each memory cell that is the nearest of another image's, over the mean of all.

    rows: `(n, d)` of the images `(n,)`; good: `(d, m)` of the images `(m,)`. Returns `(m,)`.
    """
    total, near = np.zeros((2, good.shape[1]))
    for first in range(0, len(rows), ROWS):
        part = slice(first, first + ROWS)
        likeness = rows[part] @ good
        likeness[image[part, None] == owner] = -1
        which, apart = nearest(likeness)
        total += np.bincount(which, apart, minlength=len(total))
        near += np.bincount(which, minlength=len(near))
    mean = max(total.sum() / len(rows), 1e-6)
    room = (total + DOUBT * mean) / ((near + DOUBT) * mean)
    return np.asarray(np.maximum(room, LEAST_ROOM), np.float32)


def held_out(seen: list[Seen], settings: Settings, show: Progress) -> tuple[Floats, Floats]:
    """Each image's score and its worst cell, `(graphs, n)`, by a memory of the other folds' images.

    The memory is chosen anew for each fold: one chosen among all images lacks, without an image's own cells, the like
    of them that others had to offer, and every score would come out too high.
    """
    fold = np.arange(len(seen[0].cells)) % FOLDS
    scores, peaks = np.zeros((2, len(seen), len(fold)), np.float32)
    for number in range(FOLDS):
        memories = make_memories(seen, fold != number, settings)
        for row, (each, memory) in enumerate(zip(seen, memories, strict=True)):
            for image in np.flatnonzero(fold == number):
                distances = memory.distances(each.cells[image].astype(np.float32))
                scores[row, image], peaks[row, image] = worst_mean(distances, settings.worst), distances.max()
        show("threshold", number + 1, FOLDS)
    return scores, peaks


def teach_judge(gate: Bundle, seen: list[Seen], lesson: Lesson, out: Path, show: Progress) -> tuple[Bundle, Floats]:
    """Write the bundle of a nearest judge that runs the gate's own graphs; the gate must lie beside it in `out`.

    Returns with it each image's held-out score, `(n,)`, the worst of all graphs'. Raises BundleError.
    """
    images, cells, _ = seen[0].cells.shape
    settings = replace(lesson.settings, worst=min(lesson.settings.worst, cells))
    scores, peaks = held_out(seen, settings, show)
    farther = np.median(scores / scores[:1], axis=1)  # what INT8 rounds adds to every distance
    scores, peaks = scores / farther[:, None], peaks / farther[:, None]
    how = (
        f"{lesson.pass_good:.0%} of {images} good images stay below, each scored by other folds' cells; map: of"
        " their worst cells the same"
    )
    limit, peak = (float(np.quantile(values, lesson.pass_good)) for values in (scores.max(axis=0), peaks.max(axis=0)))
    graphs = [each.graph for each in seen]
    runs = tuple(g for g in gate.manifest.graph if g in graphs or g.precision != "int8")
    taught = msgspec.structs.replace(gate.manifest, graph=runs)
    lender = msgspec.structs.replace(gate, manifest=taught)
    packed = io.BytesIO()
    arrays: dict[str, NDArray[np.generic]] = {}
    memories = make_memories(seen, np.ones(images, np.bool_), settings)
    for each, memory, share in zip(seen, memories, farther, strict=True):
        arrays |= memory_arrays(replace(memory, room=memory.room * np.float32(share)), each.graph)
        kept = len(memory.room)
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    fields: dict[str, object] = {
        "name": lesson.name,
        "kind": "nearest",
        "surfaces": (lesson.surface,),
        "thresholds": Thresholds(score=limit, map=peak, how=how),
        "scoring": Scoring(worst=settings.worst),
        "training": Training(
            data=lesson.data,
            licence=lesson.licence,
            images=images,
            date=datetime.date.today().isoformat(),
            command=lesson.command,
            note=f"no training: {kept} cells that good images have, for each graph",
        ),
    }
    return write_borrowing(out / lesson.name, fields, lender, packed.getvalue(), settings.tiles), scores.max(axis=0)
