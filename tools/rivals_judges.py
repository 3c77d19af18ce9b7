"""`tools/bench-rivals judges`: good-only judges beside anomalib's, every frame by all of them in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from time import perf_counter_ns
from typing import Literal, Protocol, TypeVar

import msgspec
from rich.table import Table

from edge.bundle import open_bundle
from edge.engines.choose import choose, measure_all
from edge.engines.processor import described
from edge.inspection.files import read_frame
from edge.inspection.judge import Judge
from edge.offline.metrics import image_figures
from tools.rivals_ratio import Ratio, ratio_of
from tools.train.data import Sample, read_samples, strangers
from tools.train.measured import open_judge

T = TypeVar("T")
Kind = Literal["padim", "patchcore", "efficientad"]
Weights = Literal["lent", "drawn"]

SURFACES = ("bottle", "metal_nut", "pill", "screw", "commutator", "magnetic_tile")
WARM_UP = 2
OURS = "edge nearest"
LENT = "edge's backbone: the weights of its own are in no package"
STOPPED = "stopped before all was measured"
DRAWN = "weights drawn: its time is its own, a score of it would say nothing"
NOT_TAUGHT = (
    "EfficientAD is not taught: its teacher's weights and the ImageNet pictures that it needs are in no package"
)
Tell = Callable[[str, float], None]  # what is being done, and the share of it that is done, 0..1


@dataclass(frozen=True)
class Recipe:
    """One of anomalib's models. weights: `lent`, it is fitted to good images on EfficientNet-Lite0, which a package
    carries; `drawn`, its own network and sizes with random weights, to be timed and no more. features: PaDiM's."""

    name: str
    kind: Kind
    weights: Weights
    backbone: str = ""
    layers: tuple[str, ...] = ()
    features: int | None = None

    @property
    def why(self) -> str:
        return LENT if self.weights == "lent" else DRAWN


# Lite0's blocks at the strides that anomalib takes of its own backbones: 4, 8 and 16 for PaDiM, 8 and 16 for PatchCore.
LITE0 = "tf_efficientnet_lite0"
RECIPES = (
    Recipe("padim lite0", "padim", "lent", LITE0, ("blocks.1", "blocks.2", "blocks.4"), 100),
    Recipe("patchcore lite0", "patchcore", "lent", LITE0, ("blocks.2", "blocks.4")),
    Recipe("padim resnet18", "padim", "drawn", "resnet18", ("layer1", "layer2", "layer3"), 100),
    Recipe("patchcore wide_resnet50_2", "patchcore", "drawn", "wide_resnet50_2", ("layer2", "layer3")),
    Recipe("efficientad small", "efficientad", "drawn"),
)


class Contender(Protocol):
    """Opened on this box. score: decoded pixels in, the image's score out, all that it does in between."""

    def prepare(self, path: Path) -> object:
        """What its makers hand to it for one image file; not timed."""
        ...

    def score(self, image: object) -> float: ...


@dataclass
class Taken:
    """One contender on one surface. ms, scores: of the frames that it saw, the first ones of all."""

    name: str
    ms: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


class Row(msgspec.Struct, frozen=True):
    """image_auroc: None where the weights were drawn. slower: its time over edge's on the same frames. why: what keeps
    it from being the rival that its makers ship; empty for edge's."""

    surface: str
    contender: str
    image_auroc: float | None
    p50_ms: float
    frames: int
    slower: Ratio | None
    why: str


class Mean(msgspec.Struct, frozen=True):
    """Over the surfaces: of AUROC, of the medians in milliseconds, of how many times as long as edge's they are."""

    contender: str
    image_auroc: float | None
    p50_ms: float
    slower: float | None
    why: str


class JudgesReport(msgspec.Struct, frozen=True, kw_only=True):
    """train_images: good ones that a rival was fitted to, at most; 0 is all. failed: surfaces that have no rows, and
    why. bound: what can be said."""

    surfaces: list[str]
    size: int
    train_images: int
    threads: int
    processor: str
    versions: dict[str, str]
    rows: list[Row]
    failed: list[str]
    means: list[Mean]
    bound: str


class OurJudge:
    """What a line would run: the fastest graph of the bundle on this box."""

    def __init__(self, bundle: Path, threads: int, say: Callable[[str], None]) -> None:
        opened = open_bundle(bundle)
        rows = measure_all([opened], threads, "cpu", say)[opened.sha256]
        self.judge: Judge = open_judge(opened, *choose(opened, "auto", rows), threads, "cpu")

    def prepare(self, path: Path) -> object:
        return read_frame(path)

    def score(self, image: object) -> float:
        return self.judge.inspect(image).score  # type: ignore[arg-type]  # its own prepare gave it


def take_turns(
    contenders: dict[str, Contender], images: Sequence[Path], most: dict[str, int], tell: Tell
) -> dict[str, Taken]:
    """Every image by each in turn, the first one another each time. most: images of those that see fewer."""
    taken = {name: Taken(name) for name in contenders}
    names = list(contenders)
    for name in names:
        tell(f"warming up {name}", 0.0)
        for path in images[:WARM_UP]:
            contenders[name].score(contenders[name].prepare(path))
    for number, path in enumerate(images):
        tell("judging", number / len(images))
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if number < most.get(name, len(images)):
                _look(contenders[name], path, taken[name])
    return taken


def _look(contender: Contender, path: Path, taken: Taken) -> None:
    image = contender.prepare(path)
    began = perf_counter_ns()
    score = contender.score(image)
    taken.ms.append((perf_counter_ns() - began) / 1e6)
    taken.scores.append(score)


def rows_of(surface: str, taken: dict[str, Taken], defective: Sequence[bool], recipes: Sequence[Recipe]) -> list[Row]:
    ours = taken[OURS]
    auroc, _ = image_figures(defective, ours.scores)
    rows = [Row(surface, OURS, auroc, median(ours.ms), len(ours.ms), None, "")]
    for recipe in recipes:
        own = taken[recipe.name]
        auroc, _ = image_figures(defective, own.scores) if recipe.weights == "lent" else (None, None)
        slower = ratio_of(own.ms, ours.ms[: len(own.ms)])
        rows.append(Row(surface, recipe.name, auroc, median(own.ms), len(own.ms), slower, recipe.why))
    return rows


def means_of(rows: Sequence[Row]) -> list[Mean]:
    means = []
    for name in dict.fromkeys(row.contender for row in rows):
        own = [row for row in rows if row.contender == name]
        scored = [row.image_auroc for row in own if row.image_auroc is not None]
        ratios = [row.slower.ratio for row in own if row.slower]
        auroc, slower = fmean(scored) if scored else None, fmean(ratios) if ratios else None
        means.append(Mean(name, auroc, fmean(row.p50_ms for row in own), slower, own[0].why))
    return means


def say_bound(means: Sequence[Mean]) -> str:
    """Time and accuracy apart. A rival that lacks its own weights is never called beaten in accuracy."""
    drawn = [mean for mean in means if mean.why == DRAWN and mean.slower is not None]
    if not drawn:
        return "no rival ran with its own network; nothing is said of the bound"
    quickest = min(drawn, key=lambda mean: mean.slower or 0.0)
    return (
        f"time: the quickest of anomalib's own networks that ran, {quickest.contender}, takes {quickest.slower:.1f} "
        "times as long as edge's judges; accuracy: not decided, as none of them ran with its own weights"
    )


def images_of(root: Path, surface: str) -> tuple[list[Path], list[Sample]]:
    """Good images to teach with, and test images of parts that none of them shows. Raises DataError."""
    samples = read_samples([root], surface)
    return [s.path for s in samples if s.split == "train" and not s.defective], strangers(samples)


def spread(all_of_them: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly chosen; all for 0."""
    if not most or len(all_of_them) <= most:
        return list(all_of_them)
    return [all_of_them[number * len(all_of_them) // most] for number in range(most)]


def judges_table(report: JudgesReport) -> Table:
    title = f"image AUROC, milliseconds a frame from decoded pixels to the score, {report.threads} threads"
    table = Table("surface", "judge", "AUROC", "ms", "times ours", title=title)
    for row in report.rows:
        slower = "" if row.slower is None else f"{row.slower.ratio:.1f}"
        table.add_row(row.surface, named(row.contender, row.why), _share(row.image_auroc), f"{row.p50_ms:.1f}", slower)
    table.add_section()
    for mean in report.means:
        slower = "" if mean.slower is None else f"{mean.slower:.1f}"
        table.add_row("mean", named(mean.contender, mean.why), _share(mean.image_auroc), f"{mean.p50_ms:.1f}", slower)
    return table


def named(contender: str, why: str) -> str:
    """With the mark of what weakens it, which `remarks` explains."""
    return contender + {LENT: " (1)", DRAWN: " (2)"}.get(why, "")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def remarks(report: JudgesReport) -> list[str]:
    whys = {row.why for row in report.rows}
    said = [f"({mark}) {why}" for mark, why in ((1, LENT), (2, DRAWN)) if why in whys]
    few = f"at most {report.train_images} good images" if report.train_images else "all good images"
    return [
        *report.failed,
        *said,
        NOT_TAUGHT,
        f"rivals see {report.size} px and were fitted to {few} of a surface",
        report.bound,
    ]


def report_of(
    surfaces: list[str],
    rows: list[Row],
    failed: list[str],
    *,
    size: int,
    train_images: int,
    threads: int,
    packages: Sequence[str],
) -> JudgesReport:
    means = means_of(rows)
    return JudgesReport(
        surfaces=surfaces,
        size=size,
        train_images=train_images,
        threads=threads,
        processor=described(),
        versions={name: version(name) for name in packages},
        rows=rows,
        failed=failed,
        means=means,
        bound=say_bound(means),
    )
