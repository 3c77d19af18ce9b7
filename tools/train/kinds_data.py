"""The images that kinds of defect are learnt from, and their features: what the line's own second step will see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from edge.bundle import Bundle, Precision, open_bundle
from edge.engines.session import Engine, Floats, installed, open_graph, readable
from edge.errors import DataError
from edge.inspection.assemble import JUDGES
from edge.inspection.kinds import features
from edge.inspection.model import Model
from edge.records import Frame
from tools.train.data import Sample, read_grey, read_samples, split, strangers

THREADS = 2
VALIDATION_FOLD = 3
# Quantisation moves the backbone's statistics, so the line's classifier learns from both (as the gate does).
TAUGHT: tuple[tuple[Engine, Precision], ...] = (("onnx", "fp32"), ("litert", "int8"))


@dataclass(frozen=True)
class Source:
    """Where features come from: the gate's bundle for its backbone, the judge's for its map. full: the map's value that
    is drawn white; 1 for maps of probabilities."""

    gate: Bundle
    judge: Bundle
    full: float

    @property
    def surface(self) -> str:
        return self.judge.manifest.surfaces[0]


def open_source(gate: Path, judge: Path) -> Source:
    """Raises BundleError. A map of distances, or an imported one, has no largest value: twice the judge's own limit is
    white."""
    opened = open_bundle(judge)
    limit = opened.manifest.thresholds.map
    probable = opened.manifest.kind in ("map", "segdec") and opened.manifest.scoring.answer == "logit"
    return Source(open_bundle(gate), opened, 1.0 if probable or limit is None else 2 * limit)


def draw_samples(roots: list[Path], judge: Bundle) -> list[Sample]:
    """The test split, and the train split's good images of the fold that no network is taught on. Good parts that the
    judge was taught on are left out: their maps are cleaner than a stranger's. A SegDec's are, of the defects in folds
    0 to 2 too; it may be reported on fold 4 alone."""
    surface = judge.manifest.surfaces[0]
    samples = read_samples(roots, surface)
    taught = {s.group for s in split(samples)[0] if s.split == "train" and not s.defective}
    unused = [s for s in samples if (s.split == "test" or s.fold == VALIDATION_FOLD) and s.group not in taught]
    drawn = [s for s in (strangers(samples) if judge.manifest.kind == "nearest" else unused) if s.kind != "unassigned"]
    if len({s.kind for s in drawn}) < 3:
        raise DataError(f"{surface}: fewer than two kinds of defect; there is nothing to tell apart")
    return drawn


def read_features(
    source: Source, samples: Sequence[Sample], engine: Engine, precision: Precision, cache: Path, bar: Progress
) -> Floats:
    """`(n, f)` float32, each sample's frame and map by the line's own arithmetic; kept in `cache`, a folder.

    Raises DataError where a bundle has no such graph.
    """
    gate, judge = (_open(bundle, engine, precision) for bundle in (source.gate, source.judge))
    key = [
        gate.graph.sha256,
        judge.graph.sha256,
        str(source.full),
        *(f"{s.path} {s.path.stat().st_size}" for s in samples),
    ]
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
    kept = cache / f"{source.surface}-{engine}-{precision}-{digest}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept, allow_pickle=False), np.float32)
    judged = JUDGES[judge.manifest.kind](judge)
    rows = []
    for sample in bar.track(samples, description=f"{source.surface} {engine} {precision}"):
        frame = Frame(read_grey(sample.path), 255)
        rows.append(features(gate, frame, judged.inspect(frame).score_map, source.full))
    for model in (gate, judge):
        model.session.close()
    cache.mkdir(parents=True, exist_ok=True)
    np.save(kept, np.stack(rows), allow_pickle=False)
    return np.stack(rows)


def _open(bundle: Bundle, engine: Engine, precision: Precision) -> Model:
    fits = [g for g in readable(engine, bundle.manifest.graph) if g.precision == precision]
    if not fits or not installed(engine):
        raise DataError(f"{bundle.path} has no {precision} graph for {engine} here")
    return Model(bundle, fits[0], open_graph(engine, bundle, fits[0], THREADS, "cpu"))


def image_width(source: Source, count: int) -> int:
    """How many of `count` features are the frame's; the rest are its map's, which is one view more."""
    views = len(source.gate.manifest.input.views)
    return count * views // (views + 1)


def groups_of(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """A number for each sample's physical part."""
    return np.unique([s.group for s in samples], return_inverse=True)[1].astype(np.int64)
