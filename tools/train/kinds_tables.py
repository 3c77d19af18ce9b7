"""`python -m tools.train.kinds_tables --data DATA`: Rožanec's tables 2 and 3 on our surfaces, beside the paper's.

One map model serves all ten folds, where the paper trains one for each: it learns from good images alone, and none of
those is among the images here. Features are the gate's (EfficientNet-Lite0), where the paper has ResNet-18's average
pool; both networks run in INT8, as on the line. A row's best figure is starred where the Wilcoxon test over the folds
gives p < 0.005 against the second best. The figures are kept as JSON for `python -m tools.train.table`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from edge.errors import DataError
from edge.inspection.kinds import GOOD
from tools.train.kinds_data import TAUGHT, Source, draw_samples, groups_of, image_width, open_source, read_features
from tools.train.kinds_figures import (
    FOLDS,
    INPUTS,
    SHARES,
    SIGNIFICANT,
    Answers,
    Data,
    Input,
    auroc,
    binary_recall,
    class_recall,
    cross_validate,
    defect_recall,
    false_alarms,
    fold_aurocs,
    fold_means,
    in_order,
    surely_best,
)
from tools.train.measured import FOLDERS, find_bundle

JUDGES = ("draem-magnetic_tile", "draem-metal_nut")
SEED = 1
PAPER_2 = {  # class recall of image, map, both; defect recall of the same; in percent
    "deco cap, flowlines (198)": (98.99, 98.99, 98.99, 98.99, 100.00, 100.00),
    "deco cap, marks (191)": (99.48, 97.38, 98.43, 99.48, 100.00, 100.00),
    "shaft, big (2616)": (92.43, 87.27, 92.24, 99.73, 98.47, 99.96),
    "shaft, small (954)": (59.85, 47.38, 68.03, 78.93, 90.46, 92.77),
    "shaft, stripe (151)": (0.00, 2.65, 0.66, 86.75, 94.70, 95.36),
    "shavers, double (244)": (97.95, 88.11, 98.36, 98.36, 96.72, 99.18),
    "shavers, interrupted (598)": (84.45, 91.14, 92.64, 84.62, 92.64, 93.14),
}
PAPER_3 = {  # binary defect recall with 25, 50, 75, 100 % of the defects; multiclass AUROC with the same
    "deco cap": (
        (0.9665, 0.9922, 0.9922, 0.9922, 0.9996, 0.9997, 0.9993, 0.9999),
        (0.9949, 1.0000, 1.0000, 1.0000, 0.9976, 0.9980, 0.9984, 0.9985),
        (0.9949, 1.0000, 1.0000, 1.0000, 0.9983, 0.9988, 0.9994, 0.9996),
    ),
    "shaft": (
        (0.8417, 0.9054, 0.9430, 0.9387, 0.9146, 0.9242, 0.9293, 0.9274),
        (0.9059, 0.9473, 0.9629, 0.9626, 0.8298, 0.8502, 0.8585, 0.8627),
        (0.9106, 0.9546, 0.9669, 0.9793, 0.9158, 0.9324, 0.9388, 0.9398),
    ),
    "shavers": (
        (0.7670, 0.8631, 0.8620, 0.8860, 0.9839, 0.9881, 0.9891, 0.9897),
        (0.8705, 0.9039, 0.9263, 0.9382, 0.9854, 0.9899, 0.9910, 0.9915),
        (0.9181, 0.9465, 0.9525, 0.9489, 0.9929, 0.9949, 0.9962, 0.9964),
    ),
}


@dataclass(frozen=True)
class Figure:
    """One measure of the three inputs. best, p: the best input against the second (Wilcoxon); None for the paper's,
    which prints no p. holds: both >= map and both >= image."""

    value: dict[Input, float]
    best: Input | None
    p: float | None
    holds: bool

    def shown(self, given: Input, form: str) -> str:
        star = "*" if self.p is not None and self.p < SIGNIFICANT and given == self.best else ""
        return f"{self.value[given]:{form}}{star}"


@dataclass(frozen=True)
class Surface:
    """kinds: images of each; class_recall, defect_recall: by kind, with all defects; binary_recall, auroc: by share of
    the defects; false_alarms: of good images, with all defects; judge: the digests of the map model's graphs."""

    judge: tuple[str, ...]
    kinds: dict[str, int]
    class_recall: dict[str, Figure]
    defect_recall: dict[str, Figure]
    binary_recall: dict[str, Figure]
    auroc: dict[str, Figure]
    false_alarms: dict[Input, float]


def recall_figure(answers: dict[Input, Answers], measure: str, kind: str = "") -> Figure:
    """A recall over all images that it is about, and its test over the folds."""
    values, by_fold = {}, {}
    for given, own in answers.items():
        about = own.truth == kind if kind else own.truth != GOOD
        right = {"class": class_recall, "defect": defect_recall}[measure](own, kind) if kind else binary_recall(own)
        values[given], by_fold[given] = float(right.mean()), fold_means(own, about, right)
    best, p = surely_best(values, by_fold)
    return Figure(values, best, p, in_order(values))


def auroc_figure(answers: dict[Input, Answers]) -> Figure:
    values = {given: auroc(own, np.ones(len(own.truth), bool)) for given, own in answers.items()}
    best, p = surely_best(values, {given: fold_aurocs(own) for given, own in answers.items()})
    return Figure(values, best, p, in_order(values))


def measure_surface(source: Source, roots: list[Path], runs: Path, bar: Progress) -> Surface:
    samples = draw_samples(roots, source.judge)
    x = read_features(source, samples, *TAUGHT[1], runs, bar)
    data = Data(x, image_width(source, x.shape[1]), np.array([s.kind for s in samples]), groups_of(samples))
    task = bar.add_task(source.surface, total=FOLDS * len(SHARES))
    told = {share: cross_validate(data, share, SEED, lambda: bar.advance(task)) for share in SHARES}
    kinds = {str(kind): int(count) for kind, count in zip(*np.unique(data.kind, return_counts=True), strict=True)}
    defects = [kind for kind in kinds if kind != GOOD]
    return Surface(
        judge=tuple(graph.sha256 for graph in source.judge.manifest.graph),
        kinds=kinds,
        class_recall={kind: recall_figure(told[1.0], "class", kind) for kind in defects},
        defect_recall={kind: recall_figure(told[1.0], "defect", kind) for kind in defects},
        binary_recall={f"{share:.0%}": recall_figure(told[share], "binary") for share in SHARES},
        auroc={f"{share:.0%}": auroc_figure(told[share]) for share in SHARES},
        false_alarms={given: false_alarms(own) for given, own in told[1.0].items()},
    )


def paper_figure(values: tuple[float, ...]) -> Figure:
    value = dict(zip(INPUTS, values, strict=True))
    return Figure(value, None, None, in_order(value))


def _yes(*figures: Figure) -> str:
    return "yes" if all(figure.holds for figure in figures) else "no"


def _row_2(name: str, own: Figure, any_defect: Figure) -> str:
    cells = [f.shown(given, ".2%") for f in (own, any_defect) for given in INPUTS]
    quality = [f"{100 - 100 * any_defect.value[given]:.2f}" for given in INPUTS]
    return f"| {' | '.join([name, *cells, *quality, _yes(own), _yes(any_defect)])} |"


def table_2(surfaces: dict[str, Surface]) -> str:
    """Recalls of each kind, and the acceptance quality level (equation 1)."""
    heads = ["kind (images)"]
    heads += [f"{what} {given}" for what in ("class recall", "defect recall", "AQL") for given in INPUTS]
    lines = [f"| {' | '.join([*heads, 'class order', 'defect order'])} |", "|" + " --- |" * (len(heads) + 2)]
    for name, surface in surfaces.items():
        for kind, own in surface.class_recall.items():
            lines.append(_row_2(f"{name}, {kind} ({surface.kinds[kind]})", own, surface.defect_recall[kind]))
    for name, values in PAPER_2.items():
        shares = tuple(value / 100 for value in values)
        lines.append(_row_2(f"paper: {name}", paper_figure(shares[:3]), paper_figure(shares[3:])))
    return "\n".join(lines)


def table_3(surfaces: dict[str, Surface]) -> str:
    """Both measures with fewer and fewer defects."""
    heads = ["surface", "input", *(f"defect recall {s:.0%}" for s in SHARES), *(f"AUROC {s:.0%}" for s in SHARES)]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    rows = {name: [*s.binary_recall.values(), *s.auroc.values()] for name, s in surfaces.items()}
    rows |= {f"paper: {name}": [paper_figure(v) for v in zip(*table, strict=True)] for name, table in PAPER_3.items()}
    for name, figures in rows.items():
        lines += [f"| {name} | {given} | {' | '.join(f.shown(given, '.4f') for f in figures)} |" for given in INPUTS]
        lines.append(f"| {name} | order holds | {' | '.join(_yes(figure) for figure in figures)} |")
    return "\n".join(lines)


def summary(surfaces: dict[str, Surface]) -> str:
    lines = []
    for name, surface in surfaces.items():
        measures = {"class recall": surface.class_recall, "defect recall": surface.defect_recall}
        measures |= {"binary defect recall": surface.binary_recall, "AUROC": surface.auroc}
        counted = ", ".join(f"{what} {sum(f.holds for f in fs.values())} of {len(fs)}" for what, fs in measures.items())
        alarms = ", ".join(f"{given} {surface.false_alarms[given]:.1%}" for given in INPUTS)
        lines.append(
            f"{name}: both >= map and both >= image holds for {counted}. Good ones called defective: {alarms}."
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.kinds_tables", description=__doc__)
    parser.add_argument("--bundles", action="append", type=Path, help="default: runs/bundles, then exported_models")
    parser.add_argument("--gate", default="gate", help="the bundle whose backbone gives the features")
    parser.add_argument("--judge", action="append", help=f"a bundle that gives the maps (default {', '.join(JUDGES)})")
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs/kinds"), help="where features are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/kinds.json"), help="where the figures are kept")
    given = parser.parse_args()
    folders = given.bundles or FOLDERS
    gate = find_bundle(given.gate, folders)
    if gate is None:
        raise DataError(f"no bundle {given.gate} in {', '.join(map(str, folders))}")
    surfaces = {}
    with Progress(console=Console(stderr=True)) as bar:
        for name in given.judge or JUDGES:
            judge = find_bundle(name, folders)
            if judge is None:
                bar.console.print(f"{name}: not trained yet")
                continue
            source = open_source(gate.path, judge.path)
            surfaces[source.surface] = measure_surface(source, given.data, given.runs, bar)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({name: asdict(surface) for name, surface in surfaces.items()}, indent=1))
    print(f"\n{table_2(surfaces)}\n\n{table_3(surfaces)}\n\n{summary(surfaces)}")


if __name__ == "__main__":
    main()
