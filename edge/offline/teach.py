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

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Graph, Scoring, Thresholds, Training, open_bundle
from edge.config import Line, Name, read_line
from edge.engines.session import ENGINES, READS, Engine, Floats, installed, open_session
from edge.errors import BundleError, ConfigError, DataError, MissingExtra
from edge.inspection.files import read_frame
from edge.inspection.gate import Gate
from edge.inspection.model import Model
from edge.inspection.nearest import Memory, remember, smooth_cells, worst_mean
from edge.offline.coreset import coreset
from edge.offline.pack import write_borrowing
from edge.offline.teach_gate import teach_gate
from edge.vision.image import prepare

FEWEST = 10
CELLS = 2000
WORST = 3
FOLDS = 5
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Seen:
    """What one graph made of the images. features: `(n, f)`, the gate's; cells: `(n, h * w, d)`, smoothed."""

    graph: Graph
    features: Floats
    cells: Floats


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
    """Run every image through each graph. Raises DataError naming a file that is no image, or for too few."""
    if len(images) < FEWEST:
        raise DataError(f"{len(images)} good images; {FEWEST} at least, better a hundred")
    rule = gate.manifest.input
    whole = rule.views.index("whole")
    seen = []
    for engine, graph in runnable(gate):
        session = open_session(engine, gate.read(graph), threads, "cpu")
        features, cells = [], []
        for number, path in enumerate(images):
            frame = read_frame(path)
            answer = session.run(prepare(frame.pixels, rule, frame.full_scale))
            features.append(answer[0].reshape(-1).copy())
            cells.append(smooth_cells(answer[1][whole]))
            show(f"{graph.file} on {engine}", number + 1, len(images))
        session.close()
        maps = np.stack(cells)
        seen.append(Seen(graph, np.stack(features), maps.reshape(len(maps), -1, maps.shape[-1])))
    return seen


def make_memory(seen: list[Seen], images: NDArray[np.bool_], count: int, seed: int) -> Memory:
    """A memory of those images alone, `(n,)`. Every number of a cell counts by the inverse of its spread."""
    d = seen[0].cells.shape[-1]
    rows = np.concatenate([each.cells[images].reshape(-1, d) for each in seen])
    scale = (1 / (np.maximum(rows.std(axis=0), 1e-6) * np.sqrt(d))).astype(np.float32)
    rows *= scale
    # What is kept is what float16 holds, so that the thresholds are set on the very memory that the line reads.
    return remember(scale, rows[coreset(rows, count, seed)].astype(np.float16).astype(np.float32))


def held_out(seen: list[Seen], count: int, worst: int, seed: int, show: Progress) -> tuple[Floats, Floats]:
    """Each image's score and its worst cell, by a memory of the other folds' images; all graphs' in a row.

    The memory is chosen anew for each fold: one chosen among all images lacks, without an image's own cells, the like
    of them that others had to offer, and every score would come out too high.
    """
    fold = np.arange(len(seen[0].cells)) % FOLDS
    scores, peaks = [], []
    for number in range(FOLDS):
        memory = make_memory(seen, fold != number, count, seed)
        for cells in (cells for each in seen for cells in each.cells[fold == number]):
            distances = memory.distances(cells)
            scores.append(worst_mean(distances, worst))
            peaks.append(float(distances.max()))
        show("threshold", number + 1, FOLDS)
    return np.array(scores, np.float32), np.array(peaks, np.float32)


@dataclass(frozen=True)
class Lesson:
    """What is said of the surface. licence, data: of the images, for the manifest. pass_good: share of the good images
    that the threshold lets pass. gate: whether it is taught too."""

    surface: str
    name: str
    data: str
    licence: str
    command: str
    pass_good: float = 0.98
    gate: bool = True
    seed: int = 1


def teach_judge(gate: Bundle, seen: list[Seen], lesson: Lesson, out: Path, show: Progress) -> Bundle:
    """Write the bundle of a nearest judge that runs the gate's own graphs; the gate must lie beside it in `out`."""
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
    return write_borrowing(out / lesson.name, fields, gate, packed.getvalue())


@dataclass(frozen=True)
class Taught:
    """admitted: share of the images that the gate takes for the surface. on_the_line: line.toml names the bundle."""

    bundle: str
    images: int
    threshold: float
    admitted: float
    on_the_line: bool


def teach_line(line: Line, lesson: Lesson, images: Sequence[Path], show: Progress) -> Taught:
    """The judge, the gate, line.toml, in this order. Raises ConfigError, BundleError, DataError, MissingExtra."""
    if line.config.gate is None:
        raise ConfigError(f"{line.path} names no gate, whose network a nearest judge looks through; name one")
    names_of(lesson, line)
    gate = open_bundle(line.bundles / line.config.gate)
    if not lesson.gate and lesson.surface not in gate.manifest.surfaces:
        raise ConfigError(f"the gate {line.config.gate} does not know {lesson.surface}; leave out --no-gate")
    seen = look_at(gate, images, line.config.threads, show)
    judge = teach_judge(gate, seen, lesson, line.bundles, show)
    if lesson.gate:
        gate = teach_gate(gate, [each.features for each in seen], lesson.surface)
    on_the_line = add_to_line(line, lesson.surface, lesson.name)
    share = admitted(gate, seen, lesson.surface, line.config.threads)
    limit = judge.manifest.thresholds.score or 0.0
    return Taught(lesson.name, len(images), limit, share, on_the_line)


def names_of(lesson: Lesson, line: Line) -> None:
    """Raises ConfigError for a surface or bundle that line.toml could not name, or a bundle of another kind."""
    try:
        msgspec.convert([lesson.surface, lesson.name], tuple[Name, Name])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{lesson.surface!r}, {lesson.name!r}: {error}") from error
    there = line.bundles / lesson.name
    if there.exists() and open_bundle(there).manifest.kind != "nearest":
        raise ConfigError(f"{there} is a bundle that was not taught like this; give another --name")


def admitted(gate: Bundle, seen: list[Seen], surface: str, threads: int) -> float:
    """Share of the images that the gate takes for the surface, as each of its graphs sees them."""
    engine, graph = runnable(gate)[0]
    session = open_session(engine, gate.read(graph), threads, "cpu")
    knows = Gate(Model(gate, graph, session))
    answers = [knows.admission(features) for each in seen for features in each.features]
    session.close()
    return float(np.mean([answer.seen and answer.surface == surface for answer in answers]))


def add_to_line(line: Line, surface: str, bundle: str) -> bool:
    """Name the judge at the end of line.toml, all that stands there left as it is; False where the surface has one.

    Raises ConfigError where the file cannot be written.
    """
    if surface in line.config.judges:
        return False
    text = line.path.read_text().rstrip("\n")
    fresh = line.path.with_name(f".{line.path.name}")
    try:
        fresh.write_text(f'{text}\n\n[judges.{surface}]\nbundle = "{bundle}"\n')
        fresh.replace(line.path)
    except OSError as error:
        raise ConfigError(f"cannot write {line.path}: {error.strerror}; add [judges.{surface}] by hand") from error
    read_line(line.path)
    return True
