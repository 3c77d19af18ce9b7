"""`python -m tools.train.nearest_settings --data DATA`: what tools.train.nearest's settings are worth on other images.

They were chosen with the test images in sight. Here the test parts of a surface are halved, REPEATS times, all images
of a part in one half. On one half the best of the settings is chosen by AUROC, on the other it is reported, and the
other way round; likewise the share of good images that the threshold passes, by the mean of good and defect accuracy.
The memory is of train/good alone, by the INT8 ONNX graph of the gate. The figures are kept as JSON.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from edge.bundle import Bundle, open_bundle
from edge.inspection.nearest import directions, nearest, worst_mean
from edge.offline.report import progress_bar
from edge.offline.teach import Lesson, Progress, Seen, Tiles, held_out, look_at, make_memory
from tools.train.data import Sample, read_samples
from tools.train.measured import THREADS, markdown
from tools.train.nearest import SURFACES

GATE = Path("exported_models/gate")
TILES: tuple[Tiles, ...] = ((1, 1), (1, 2), (2, 2), (4, 4))
CELLS = (4000, 8000)
WORST = (10, 20, 30, 100)
EVEN = (0.5, 0.0, 1.0)
PASS_GOOD = (0.98, 0.95, 0.9)
REPEATS = 25
Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]
HEADINGS = ("surface", "images", "settings shipped", "AUROC", "of the other half", "accuracy", "of the other half")


class Settings(NamedTuple):
    tiles: Tiles
    cells: int
    worst: int
    even: float


@dataclass(frozen=True)
class Row:
    """chosen: how often each of the settings was the best of a half. auroc, accuracy: of the shipped settings on all
    images; nested_*: mean, and the 5th and 95th percentile, of halves that had no part in the choice."""

    surface: str
    n: tuple[int, int]
    shipped: Settings
    pass_good: float
    chosen: dict[str, int]
    auroc: float
    nested_auroc: tuple[float, float, float]
    accuracy: float
    nested_accuracy: tuple[float, float, float]


def lesson(settings: Settings) -> Lesson:
    tiles, cells, worst, even = settings
    return Lesson("", "", "", "", "", tiles=tiles, worst=worst, even=even, cells=cells)


def fastest(gate: Bundle) -> Bundle:
    """With its INT8 ONNX graph alone."""
    chosen = tuple(g for g in gate.manifest.graph if (g.format, g.precision) == ("onnx", "int8"))
    return msgspec.structs.replace(gate, manifest=msgspec.structs.replace(gate.manifest, graph=chosen))


def score_settings(seen: Seen, good: Flags, tiles: Tiles, count: int) -> dict[Settings, Scores]:
    """The score of each image that is not `good`, `(n,)`, by a memory of `count` cells of those that are."""
    memory = make_memory(seen, good, lesson(Settings(tiles, count, worst=1, even=1.0)))
    found: dict[Settings, list[float]] = {Settings(tiles, count, *rest): [] for rest in product(WORST, EVEN)}
    for cells in seen.cells[~good]:
        which, apart = nearest(directions(cells.astype(np.float32), memory.scale) @ memory.good)
        distances = {even: apart / memory.room[which] ** np.float32(even) for even in EVEN}
        for settings, scores in found.items():
            scores.append(worst_mean(distances[settings.even], settings.worst))
    return {settings: np.array(scores) for settings, scores in found.items()}


def halves(test: list[Sample]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """To choose on, to report on."""
    bad, parts = [s.defective for s in test], [s.group for s in test]
    for seed in range(REPEATS):
        yield from StratifiedGroupKFold(2, shuffle=True, random_state=seed).split(parts, bad, parts)


def accuracy(scores: Scores, bad: Flags, limit: float) -> float:
    """Mean of good and defect accuracy."""
    return float((np.mean(scores[~bad] <= limit) + np.mean(scores[bad] > limit)) / 2)


def spread(values: list[float]) -> tuple[float, float, float]:
    low, high = np.quantile(values, [0.05, 0.95])
    return float(np.mean(values)), float(low), float(high)


def measure(surface: str, gate: Bundle, roots: list[Path], show: Progress) -> Row:
    samples, its = read_samples(roots, surface), SURFACES[surface]
    train = [s for s in samples if s.split == "train" and not s.defective]
    test = [s for s in samples if s.split == "test"]
    shipped = Settings(its.tiles, its.cells, its.worst, its.even)
    good, bad = np.arange(len(train + test)) < len(train), np.array([s.defective for s in test])
    found: dict[Settings, Scores] = {}
    for tiles in dict.fromkeys((its.tiles, *TILES)):
        (seen,) = look_at(gate, [s.path for s in train + test], tiles, THREADS, show)
        for count in CELLS:
            found |= score_settings(seen, good, tiles, count)
        if tiles == its.tiles:
            taught = Seen(seen.graph, seen.features[good], seen.cells[good])
            kept = held_out(
                [taught], Lesson(surface, "", "", "", "", tiles=tiles, worst=its.worst, even=its.even), show
            )
    limits = {share: float(np.quantile(kept[0][0], share)) for share in PASS_GOOD}
    chosen: Counter[str] = Counter()
    nested: tuple[list[float], list[float]] = [], []
    for choose, report in halves(test):
        best = max(found, key=lambda s: roc_auc_score(bad[choose], found[s][choose]))
        share = max(limits, key=lambda s: accuracy(found[shipped][choose], bad[choose], limits[s]))
        chosen[str(tuple(best))] += 1
        nested[0].append(roc_auc_score(bad[report], found[best][report]))
        nested[1].append(accuracy(found[shipped][report], bad[report], limits[share]))
    return Row(
        surface=surface,
        n=(int((~bad).sum()), int(bad.sum())),
        shipped=shipped,
        pass_good=its.pass_good,
        chosen=dict(chosen.most_common()),
        auroc=float(roc_auc_score(bad, found[shipped])),
        nested_auroc=spread(nested[0]),
        accuracy=accuracy(found[shipped], bad, limits[its.pass_good]),
        nested_accuracy=spread(nested[1]),
    )


def shown(row: Row) -> tuple[str, ...]:
    columns, rows = row.shipped.tiles
    settings = f"{columns}x{rows}, {row.shipped.cells}, {row.shipped.worst}, {row.shipped.even}, {row.pass_good}"
    nested = ("{:.3f} ({:.3f} to {:.3f})".format(*of) for of in (row.nested_auroc, row.nested_accuracy))
    auroc, mean = nested
    return (row.surface, f"{row.n[0]} + {row.n[1]}", settings, f"{row.auroc:.3f}", auroc, f"{row.accuracy:.3f}", mean)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.nearest_settings", description=__doc__)
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--out", type=Path, default=Path("runs/nearest_settings.json"))
    parser.add_argument("surfaces", nargs="*", metavar="SURFACE", help=f"default: {' '.join(SURFACES)}")
    given = parser.parse_args()
    gate, rows = fastest(open_bundle(GATE)), []
    for surface in given.surfaces or SURFACES:
        with progress_bar() as progress:
            rows.append(measure(surface, gate, given.data, progress))
        given.out.write_bytes(msgspec.json.encode(rows))
    print(markdown(HEADINGS, [shown(row) for row in rows]))


if __name__ == "__main__":
    main()
