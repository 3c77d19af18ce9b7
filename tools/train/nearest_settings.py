"""`python -m tools.train.nearest_settings --data DATA`: what tools.train.nearest's settings are worth on other images.

They were chosen with the test images in sight. Here every pair of a good and a bad image is put in order by the
settings that are best, by AUROC, on all parts but these two; the share of pairs in the right order is the AUROC that
the choice is worth on images it never saw (leave-pair-out, Airola et al. 2011). Likewise each part is judged, by the
settings that are shipped, at the share of good images to pass that is best on all other parts. Leave-pair-out is
harsh where many settings are nearly as good: without a pair those look best that get it wrong. The memory, and with it
the threshold, is of train/good alone and of one graph, the gate's INT8 for LiteRT; parts that it has an image of are
left out. The figures are kept as JSON.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from edge.bundle import Bundle, open_bundle
from edge.inspection.nearest import directions, nearest, worst_mean
from edge.offline.progress import Progress
from edge.offline.report import progress_bar
from edge.offline.teach import Seen, Settings, Tiles, held_out, look_at, make_memories
from tools.train.data import read_samples, strangers
from tools.train.measured import THREADS, markdown
from tools.train.nearest import SURFACES, known

GATE = Path("exported_models/gate")
TILES: tuple[Tiles, ...] = ((1, 1), (1, 2), (2, 2), (4, 4))
CELLS = (4000, 8000)
WORST = (10, 20, 30, 100)
EVEN = (0.5, 0.0, 1.0)
PASS_GOOD = (0.98, 0.95, 0.9)
Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]
HEADINGS = ("surface", "good + bad", "AUROC", "defaults", "chosen on others", "accuracy", "share chosen on others")


@dataclass(frozen=True)
class Row:
    """auroc, accuracy: by the settings and the share that are shipped. default_auroc: where nothing is chosen.
    chosen_*: by settings, or a share, that the images had no part in choosing. favourite: the settings that were best
    for most pairs."""

    surface: str
    n: tuple[int, int]
    auroc: float
    default_auroc: float
    chosen_auroc: float
    favourite: Settings
    accuracy: float
    chosen_accuracy: float


def int8_litert(gate: Bundle) -> Bundle:
    """With that graph alone."""
    chosen = tuple(g for g in gate.manifest.graph if (g.format, g.precision) == ("tflite", "int8"))
    return msgspec.structs.replace(gate, manifest=msgspec.structs.replace(gate.manifest, graph=chosen))


def score_settings(seen: Seen, taught: Flags, tiles: Tiles, count: int) -> dict[Settings, Scores]:
    """The scores of the images that are not `taught`, by a memory of `count` cells of those that are."""
    (memory,) = make_memories([seen], taught, Settings(tiles, even=1.0, cells=count))
    found: dict[Settings, list[float]] = {Settings(tiles, *how, count): [] for how in product(WORST, EVEN)}
    for cells in seen.cells[~taught]:
        which, apart = nearest(directions(cells.astype(np.float32), memory.scale) @ memory.good)
        for settings, scores in found.items():
            scores.append(worst_mean(apart / memory.room[which] ** np.float32(settings.even), settings.worst))
    return {settings: np.array(scores) for settings, scores in found.items()}


def ordered_by_others(scores: Scores, bad: Flags, parts: NDArray[np.intp]) -> tuple[float, int]:
    """Share of the pairs that are in the right order by the row of `scores`, `(options, n)`, that is best without the
    two parts; and the row that is so most often. Rows that are equally good count alike."""
    good_parts, bad_parts = parts[~bad], parts[bad]
    above = scores[:, None, bad] - scores[:, ~bad, None]
    right = (above > 0) + 0.5 * (above == 0)
    rows, columns = right.sum(axis=2), right.sum(axis=1)
    total, found, best = rows.sum(axis=1), 0.0, np.zeros(len(scores))
    for i, j in np.ndindex(len(good_parts), len(bad_parts)):
        two = good_parts[i], bad_parts[j]
        their_good, their_bad = np.flatnonzero(np.isin(good_parts, two)), np.flatnonzero(np.isin(bad_parts, two))
        theirs = rows[:, their_good].sum(axis=1) + columns[:, their_bad].sum(axis=1)
        others = total - theirs + right[:, their_good[:, None], their_bad].sum(axis=(1, 2))
        chosen = others == others.max()
        found += float(right[chosen, i, j].mean())
        best[chosen] += 1
    return found / (len(good_parts) * len(bad_parts)), int(best.argmax())


def mean_accuracy(rejected: Flags, bad: Flags) -> float:
    return float((np.mean(~rejected[~bad]) + np.mean(rejected[bad])) / 2)


def judged_by_others(rejected: Flags, bad: Flags, parts: NDArray[np.intp]) -> float:
    """Mean accuracy where each part is judged by the first row of `rejected`, `(options, n)`, that is best without
    it."""
    verdicts = np.zeros(len(bad), np.bool_)
    for part in np.unique(parts):
        others = parts != part
        best = max(rejected, key=lambda row: mean_accuracy(row[others], bad[others]))
        verdicts[~others] = best[~others]
    return mean_accuracy(verdicts, bad)


def measure(surface: str, gate: Bundle, roots: list[Path], show: Progress) -> Row:
    samples, its = read_samples(roots, surface), SURFACES[surface]
    train, test = [s for s in samples if s.split == "train" and not s.defective], strangers(samples)
    taught, bad = np.arange(len(train + test)) < len(train), np.array([s.defective for s in test])
    found: dict[Settings, Scores] = {}
    for tiles in TILES:
        (seen,) = look_at(gate, [s.path for s in train + test], tiles, THREADS, show)
        for count in CELLS:
            found |= score_settings(seen, taught, tiles, count)
        if tiles == its.settings.tiles:
            good = Seen(seen.graph, seen.features[taught], seen.cells[taught])
            (passed,), _ = held_out([good], its.settings, show)
    options, parts = list(found), np.unique([s.group for s in test], return_inverse=True)[1]
    rejected = {share: found[its.settings] > np.quantile(passed, share) for share in PASS_GOOD}
    chosen_auroc, favourite = ordered_by_others(np.stack(list(found.values())), bad, parts)
    return Row(
        surface,
        (int((~bad).sum()), int(bad.sum())),
        float(roc_auc_score(bad, found[its.settings])),
        float(roc_auc_score(bad, found[Settings()])),
        chosen_auroc,
        options[favourite],
        mean_accuracy(rejected[its.pass_good], bad),
        judged_by_others(np.stack(list(rejected.values())), bad, parts),
    )


def shown(row: Row) -> tuple[str, ...]:
    figures = (row.auroc, row.default_auroc, row.chosen_auroc, row.accuracy, row.chosen_accuracy)
    return (row.surface, f"{row.n[0]} + {row.n[1]}", *(f"{figure:.3f}" for figure in figures))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.nearest_settings", description=__doc__)
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--out", type=Path, default=Path("runs/nearest_settings.json"))
    parser.add_argument("surfaces", nargs="*", type=known, metavar="SURFACE", help=f"default: {' '.join(SURFACES)}")
    given = parser.parse_args()
    surfaces = given.surfaces or list(SURFACES)
    for surface in surfaces:
        read_samples(given.data, surface)  # before an hour's work
    given.out.parent.mkdir(parents=True, exist_ok=True)
    gate, rows = int8_litert(open_bundle(GATE)), []
    for surface in surfaces:
        with progress_bar() as progress:
            rows.append(measure(surface, gate, given.data, progress))
        given.out.write_bytes(msgspec.json.encode(rows))
    print(markdown(HEADINGS, [shown(row) for row in rows]))


if __name__ == "__main__":
    main()
