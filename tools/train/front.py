"""`python -m tools.train.front --data DATA`: what SegDec costs and what it finds, by its width and by what taught it.

Every SegDec bundle there is, each on its fastest INT8 graph, on fold 4 of the test split, that neither its training nor
its threshold saw. Printed: average precision, milliseconds of the network, and the two ends of the threshold: defective
parts that pass where at most STOPPED of the good ones are stopped, and good ones stopped where no defective one passes.
The whole curve between them, and accuracy against milliseconds: runs/front-<surface>.png. The figures: runs/front.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from edge.offline.metrics import image_figures
from edge.offline.samples import find_samples
from tools.train.measured import (
    FOLDERS,
    KEPT_FOLD,
    THREADS,
    find_bundle,
    kept_back,
    markdown,
    median_ms,
    open_int8,
    score_all,
)
from tools.train.recipe import Recipe, read_recipes

RECIPES = Path(__file__).parent / "recipes"
STOPPED = 0.02
HEADINGS = ("bundle", "network", "taught by", "good + bad", "AP", "AUROC", "ms", "bad OK", "good NotOK at none")


@dataclass(frozen=True)
class Point:
    """One bundle. ms: median of the network alone. stopped, passed: `(n,)` shares of the good parts stopped and of the
    defective ones passed, threshold by threshold, upwards."""

    name: str
    surface: str
    network: str
    taught: str
    n: tuple[int, int]
    ap: float
    auroc: float
    ms: float
    stopped: list[float]
    passed: list[float]

    @property
    def escapes(self) -> float:
        """Share of the defective parts that pass where at most STOPPED of the good ones are stopped."""
        return min(passed for stopped, passed in zip(self.stopped, self.passed, strict=True) if stopped <= STOPPED)

    @property
    def price(self) -> float:
        """Share of the good parts stopped by the highest threshold that lets no defective one pass."""
        return min(stopped for stopped, passed in zip(self.stopped, self.passed, strict=True) if passed == 0)


def curve(scores: NDArray[np.float64], bad: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Shares of good ones stopped and bad ones passed, by a threshold below all scores and at each of them."""
    thresholds = np.concatenate([[-np.inf], np.unique(scores)])
    stopped = [float(np.mean(scores[~bad] > threshold)) for threshold in thresholds]
    return stopped, [float(np.mean(scores[bad] <= threshold)) for threshold in thresholds]


def taught_by(recipe: Recipe) -> str:
    return {"masks": "masks", "few": f"{recipe.masks} masks", "image": "image labels"}[recipe.labels]


def network_of(recipe: Recipe) -> str:
    widths = "EfficientNet-Lite0" if recipe.network == "segdec-lite" else "-".join(map(str, recipe.widths))
    return f"{widths}, {recipe.input.width}x{recipe.input.height}"


def measure(recipe: Recipe, roots: list[Path], bar: Progress) -> Point | None:
    """None where there is no bundle of the recipe yet. Raises DataError where its surface is in no root."""
    bundle = find_bundle(recipe.name, FOLDERS)
    if bundle is None:
        return None
    (surface,) = recipe.surfaces
    judge = open_int8(bundle, THREADS, bar.console.print)
    with tempfile.TemporaryDirectory() as folder:
        samples, _ = find_samples([kept_back(surface, bundle, roots, Path(folder))], KEPT_FOLD)
        scores, spent = score_all(judge, bar.track([s.path for s in samples], description=recipe.name))
    judge.model.session.close()
    bad = [sample.defective for sample in samples]
    auroc, ap = image_figures(bad, scores)
    shares = curve(np.array(scores), np.array(bad))
    n, ms = (len(bad) - sum(bad), sum(bad)), median_ms(spent)
    return Point(recipe.name, surface, network_of(recipe), taught_by(recipe), n, ap or 0.0, auroc or 0.0, ms, *shares)


def draw(points: list[Point]) -> Figure:
    """One surface's: accuracy against milliseconds, and defects passed against good parts stopped."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    front, escapes = figure.subplots(1, 2)
    for point in points:
        label = f"{point.network}, {point.taught}"
        front.plot(point.ms, point.ap, "o", label=label)
        escapes.plot(point.stopped, point.passed, drawstyle="steps-post", label=label)
    front.set(xlabel="milliseconds, INT8, two cores", ylabel="average precision", title=points[0].surface)
    escapes.set(xlabel="good parts stopped", ylabel="defective parts passed", title="by threshold")
    escapes.axvline(STOPPED, color="grey", linewidth=0.8)
    for axes in (front, escapes):
        axes.grid(alpha=0.3)
    front.legend(fontsize="small")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.front", description=__doc__)
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the pictures and front.json go")
    given = parser.parse_args()
    recipes = [r for path in sorted(RECIPES.glob("segdec*.toml")) for r in read_recipes(path)]
    with Progress(console=Console(stderr=True), transient=True) as bar:
        points = [point for recipe in recipes if (point := measure(recipe, given.data, bar)) is not None]
    points.sort(key=lambda point: (point.surface, point.ms))
    given.runs.mkdir(parents=True, exist_ok=True)
    (given.runs / "front.json").write_text(json.dumps([asdict(point) for point in points]))
    for surface in sorted({point.surface for point in points}):
        draw([p for p in points if p.surface == surface]).savefig(given.runs / f"front-{surface}.png")
    print(markdown(HEADINGS, [shown(point) for point in points]))


def shown(point: Point) -> tuple[str, ...]:
    figures = (f"{point.ap:.3f}", f"{point.auroc:.3f}", f"{point.ms:.1f}", f"{point.escapes:.3f}", f"{point.price:.3f}")
    return (point.name, point.network, point.taught, f"{point.n[0]} + {point.n[1]}", *figures)


if __name__ == "__main__":
    main()
