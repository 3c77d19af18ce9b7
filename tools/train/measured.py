"""`python -m tools.train.measured`: what the shipped bundles give on images that neither training nor thresholds saw.

Runs `edge evaluate` on exported_models/line.toml, puts each bundle's figures into its manifest, compares every judge's
INT8 and FP32 graph on the engine that the line chose, frame by frame in turn, and prints the README's tables.
SegDec and the gate: fold 4. What learnt from good images alone: the whole test split, of which it saw nothing.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import Progress

from edge.bench.load import patches_of
from edge.bundle import Bundle, Graph
from edge.config import Line, read_line
from edge.engines.choose import choose, measure_all
from edge.engines.session import READS, Engine, open_session
from edge.inspection.assemble import JUDGES, line_bundles
from edge.inspection.files import read_frame
from edge.inspection.judge import Judge
from edge.inspection.model import Model
from edge.offline.evaluate import evaluate
from edge.offline.figures import Report, SurfaceFigures
from edge.offline.metrics import image_figures
from edge.offline.pack import set_measured
from edge.offline.samples import Sample, find_samples

KEPT_FOLD = 4
GOOD_ONLY = ("reconstruction", "nearest", "map")
SCORES = (
    *("image_auroc", "image_ap", "accuracy_good", "accuracy_defect", "passed_defect"),
    *("pixel_auroc", "aupro", "n_good", "n_defect"),
)
Row = tuple[str, ...]


def kept_back(surface: str, bundle: Bundle, roots: list[Path], folder: Path) -> tuple[Path, int | None]:
    """A folder with this surface alone, and the fold that counts: None for all of it."""
    (root,) = (root for root in roots if (root / surface).is_dir())
    alone = folder / surface
    alone.mkdir()
    (alone / surface).symlink_to(root.resolve() / surface)
    (alone / "split.csv").symlink_to(root.resolve() / "split.csv")
    return alone, None if bundle.manifest.kind in GOOD_ONLY else KEPT_FOLD


def judged(line: Line) -> dict[str, Bundle]:
    bundles = line_bundles(line)
    return {surface: bundles[judge.bundle] for surface, judge in line.config.judges.items()}


def evaluated(line: Line, roots: list[Path], bar: Progress) -> tuple[Report, dict[str, SurfaceFigures]]:
    """The gate's report on fold 4 of everything, and each judged surface on what was kept back from its judge."""
    task = bar.add_task("evaluate")

    def show(what: str, done: int, total: int) -> None:
        bar.update(task, description=f"evaluate {what}", completed=done, total=total)

    whole = evaluate(line, roots, KEPT_FOLD, None, show)
    surfaces = {}
    with tempfile.TemporaryDirectory() as folder:
        for surface, bundle in judged(line).items():
            alone, fold = kept_back(surface, bundle, roots, Path(folder))
            surfaces[surface] = evaluate(line, [alone], fold, None, show).surfaces[surface]
    return whole, surfaces


def open_judge(bundle: Bundle, engine: Engine, graph: Graph, threads: int) -> Judge:
    model = Model(bundle, graph, open_session(engine, bundle.read(graph), threads))
    return JUDGES[bundle.manifest.kind](model)


def compare(line: Line, surface: str, bundle: Bundle, samples: list[Sample], bar: Progress) -> Row | None:
    """One engine's FP32 and INT8 graph on the same frames in turn: image AUROC of both, median milliseconds of both.

    None where the bundle has not both for that engine.
    """
    threads = line.config.threads
    engine, _ = choose(bundle, line.config.engine, measure_all([bundle], threads, "auto", print)[bundle.sha256])
    graphs = {g.precision: g for g in bundle.manifest.graph if g.format == READS[engine]}
    if len(graphs) < 2:
        return None
    judges = [open_judge(bundle, engine, graphs[precision], threads) for precision in ("fp32", "int8")]
    scores: list[list[float]] = [[], []]
    spent: list[list[float]] = [[], []]
    for sample in bar.track(samples, description=f"INT8 against FP32 {surface}"):
        frame = read_frame(sample.path)
        for judge, found, times in zip(judges, scores, spent, strict=True):
            found.append(judge.inspect(frame).score)
            times.append((judge.model.ended - judge.model.began) / 1e6)
    labels = [sample.defective for sample in samples]
    auroc = [image_figures(labels, found)[0] or 0.0 for found in scores]
    ms = [float(np.median(times[3:])) for times in spent]
    set_measured(bundle.path, {"image_auroc_fp32": round(auroc[0], 4), "image_auroc_int8": round(auroc[1], 4)})
    figures = (f"{auroc[0]:.4f}", f"{auroc[1]:.4f}", f"{ms[0]:.1f}", f"{ms[1]:.1f}", f"{ms[0] / ms[1]:.1f}x")
    patches = patches_of(bundle)
    name = bundle.manifest.name + (f" ({patches} patches)" if patches else "")
    return (name, engine, *figures)


def keep(line: Line, whole: Report, surfaces: dict[str, SurfaceFigures]) -> None:
    """Put what was measured into the manifests."""
    about: dict[str, float | int | str] = {
        "command": "python -m tools.train.measured",
        "date": datetime.date.today().isoformat(),
    }
    for surface, bundle in judged(line).items():
        found = {name: getattr(surfaces[surface], name) for name in SCORES}
        graph = whole.about.graphs.get(bundle.manifest.name, "")
        values = {name: rounded(value) for name, value in found.items() if value is not None}
        set_measured(bundle.path, {**about, "graph": graph, **values})
    if line.config.gate:
        gate = whole.gate
        found = {"seen": gate.seen, "unseen": gate.unseen, "harmonic_mean": gate.harmonic_mean}
        graph = whole.about.graphs.get(line.config.gate, "")
        values = {name: rounded(value) for name, value in found.items() if value is not None}
        set_measured(line.bundles / line.config.gate, {**about, "graph": graph, **values})


def rounded(value: float) -> float | int:
    return value if isinstance(value, int) else round(value, 4)


def markdown(headings: Row, rows: list[Row]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def surface_rows(line: Line, surfaces: dict[str, SurfaceFigures]) -> list[Row]:
    rows = []
    for surface, bundle in judged(line).items():
        found = surfaces[surface]
        names = ("image_auroc", "image_ap", "accuracy_good", "accuracy_defect", "passed_defect", "pixel_auroc", "aupro")
        values = [getattr(found, name) for name in names]
        shown = ["-" if value is None else f"{value:.3f}" for value in values]
        rows.append((bundle.manifest.name, f"{found.n_good} + {found.n_defect}", *shown))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.measured", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("exported_models/line.toml"))
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    given = parser.parse_args()
    line = read_line(given.config)
    with Progress() as bar:
        whole, surfaces = evaluated(line, given.data, bar)
        keep(line, whole, surfaces)
        compared: list[Row] = []
        with tempfile.TemporaryDirectory() as folder:
            for surface, bundle in judged(line).items():
                alone, fold = kept_back(surface, bundle, given.data, Path(folder))
                samples, _ = find_samples([alone], fold, None)
                row = compare(line, surface, bundle, samples, bar)
                compared += [row] if row else []
    gate = whole.gate
    print(f"\n{platform.processor() or platform.machine()}, {line.config.threads} threads, {datetime.date.today()}")
    print(f"\nGate: seen {gate.seen:.2%}, unseen {gate.unseen:.2%}, harmonic mean {gate.harmonic_mean:.2%}\n")
    headings = ("bundle", "good + bad", "AUROC", "AP", "good OK", "bad NotOK", "bad OK", "pixel AUROC", "AUPRO")
    print(markdown(headings, surface_rows(line, surfaces)))
    print()
    print(markdown(("bundle", "engine", "AUROC FP32", "INT8", "ms FP32", "INT8", "faster"), compared))


if __name__ == "__main__":
    main()
