"""`python -m tools.train.nearest_settings --data DATA`: what tools.train.nearest's settings are worth on other images.

They were chosen with the test images in sight. Here the test parts of a surface are halved, REPEATS times, all images
of a part in one half: on one half the best of the settings is chosen by AUROC, on the other it is reported, and the
other way round. So is, for the settings that are shipped, the share of good images that the threshold passes, by the
mean of good and defect accuracy. The memory is of train/good alone and of one graph, the gate's INT8 ONNX; parts that
it has an image of are left out. The figures are kept as JSON.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from edge.bundle import Bundle, open_bundle
from edge.inspection.nearest import directions, nearest, worst_mean
from edge.offline.report import progress_bar
from edge.offline.teach import Progress, Seen, Settings, Tiles, held_out, look_at, make_memory
from tools.train.data import Sample, read_samples, strangers
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
T = TypeVar("T", bound=Hashable)
Spread = tuple[float, float, float]  # mean, 5th and 95th percentile
HEADINGS = ("surface", "good + bad", "AUROC", "settings chosen on others", "accuracy", "share chosen on others")


@dataclass(frozen=True)
class Row:
    """auroc, accuracy: as shipped, on all images. chosen_*: of halves that had no part in the choice. favourite: the
    settings that were the best of most halves."""

    surface: str
    n: tuple[int, int]
    auroc: float
    chosen_auroc: Spread
    favourite: Settings
    accuracy: float
    chosen_accuracy: Spread


def int8_onnx(gate: Bundle) -> Bundle:
    """With that graph alone."""
    chosen = tuple(g for g in gate.manifest.graph if (g.format, g.precision) == ("onnx", "int8"))
    return msgspec.structs.replace(gate, manifest=msgspec.structs.replace(gate.manifest, graph=chosen))


def score_settings(seen: Seen, taught: Flags, tiles: Tiles, count: int) -> dict[Settings, Scores]:
    """The scores of the images that are not `taught`, by a memory of `count` cells of those that are."""
    memory = make_memory(seen, taught, Settings(tiles, even=1.0, cells=count))
    found: dict[Settings, list[float]] = {Settings(tiles, *how, count): [] for how in product(WORST, EVEN)}
    for cells in seen.cells[~taught]:
        which, apart = nearest(directions(cells.astype(np.float32), memory.scale) @ memory.good)
        for settings, scores in found.items():
            scores.append(worst_mean(apart / memory.room[which] ** np.float32(settings.even), settings.worst))
    return {settings: np.array(scores) for settings, scores in found.items()}


def halves(test: list[Sample]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """To choose on, to report on."""
    bad, parts = [s.defective for s in test], [s.group for s in test]
    for seed in range(REPEATS):
        yield from StratifiedGroupKFold(2, shuffle=True, random_state=seed).split(parts, bad, parts)


def choose_on_others(
    test: list[Sample], options: list[T], value: Callable[[T, NDArray[np.intp]], float]
) -> tuple[Spread, T]:
    """The value on one half of the option that is best on the other; and the one that is so most often."""
    best: Counter[T] = Counter()
    reported = []
    for chosen_on, reported_on in halves(test):
        option = max(options, key=lambda option: value(option, chosen_on))
        best[option] += 1
        reported.append(value(option, reported_on))
    low, high = np.quantile(reported, [0.05, 0.95])
    return (float(np.mean(reported)), float(low), float(high)), best.most_common(1)[0][0]


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
    shipped = found[its.settings]

    def auroc(settings: Settings, of: NDArray[np.intp]) -> float:
        return float(roc_auc_score(bad[of], found[settings][of]))

    def accuracy(share: float, of: NDArray[np.intp]) -> float:
        rejected = shipped[of] > np.quantile(passed, share)
        return float((np.mean(~rejected[~bad[of]]) + np.mean(rejected[bad[of]])) / 2)

    every = np.arange(len(test))
    chosen_auroc, favourite = choose_on_others(test, list(found), auroc)
    return Row(
        surface,
        (int((~bad).sum()), int(bad.sum())),
        auroc(its.settings, every),
        chosen_auroc,
        favourite,
        accuracy(its.pass_good, every),
        choose_on_others(test, list(PASS_GOOD), accuracy)[0],
    )


def shown(row: Row) -> tuple[str, ...]:
    others = ["{:.3f} ({:.3f} to {:.3f})".format(*of) for of in (row.chosen_auroc, row.chosen_accuracy)]
    n = f"{row.n[0]} + {row.n[1]}"
    return (row.surface, n, f"{row.auroc:.3f}", others[0], f"{row.accuracy:.3f}", others[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.nearest_settings", description=__doc__)
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--out", type=Path, default=Path("runs/nearest_settings.json"))
    parser.add_argument("surfaces", nargs="*", metavar="SURFACE", help=f"default: {' '.join(SURFACES)}")
    given = parser.parse_args()
    surfaces = given.surfaces or list(SURFACES)
    for surface in surfaces:
        read_samples(given.data, surface)  # before an hour's work
    given.out.parent.mkdir(parents=True, exist_ok=True)
    gate, rows = int8_onnx(open_bundle(GATE)), []
    for surface in surfaces:
        with progress_bar() as progress:
            rows.append(measure(surface, gate, given.data, progress))
        given.out.write_bytes(msgspec.json.encode(rows))
    print(markdown(HEADINGS, [shown(row) for row in rows]))


if __name__ == "__main__":
    main()
