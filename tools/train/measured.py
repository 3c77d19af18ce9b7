"""`python -m tools.train.measured`: what the shipped bundles give on images that neither training nor thresholds saw.

Runs `edge evaluate` on exported_models/line.toml, puts each bundle's figures into its manifest, compares every judge's
INT8 and FP32 graph on the engine that the line chose, frame by frame in turn, and prints the README's tables.
SegDec and the gate: fold 4. What learnt from good images alone: the test split, without parts that it saw an image of.

With `--bundles FOLDER` instead: each judge of the folder that was not measured since it was made, by itself, not on a
line, on its fastest INT8 graph where it has one. run_ms: median milliseconds of the network alone, a frame.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from edge.bundle import MANIFEST, Bundle, Graph, open_bundle
from edge.config import Line, read_line
from edge.engines.choose import choose, measure_all
from edge.engines.session import Device, Engine, open_graph, readable
from edge.errors import EdgeError
from edge.inspection.assemble import JUDGES, choose_graphs, line_bundles
from edge.inspection.files import read_frame
from edge.inspection.judge import Judge
from edge.inspection.model import Model
from edge.inspection.pipeline import Pipeline
from edge.offline.amend import set_measured
from edge.offline.evaluate import evaluate, run_samples
from edge.offline.figures import Report, SurfaceFigures, stage_figures
from edge.offline.metrics import image_figures
from edge.offline.progress import Progress as Show
from edge.offline.samples import Sample, find_samples
from tools.train.data import read_samples, strangers

KEPT_FOLD = 4
THREADS = 2
WARM_UP = 3
FOLDERS = [Path("runs/bundles"), Path("exported_models")]  # where bundles are looked for, the fresher ones first
GOOD_ONLY = ("reconstruction", "nearest", "map")
SCORES = (
    *("image_auroc", "image_ap", "accuracy_good", "accuracy_defect", "passed_defect"),
    *("pixel_auroc", "aupro", "n_good", "n_defect"),
)
Row = tuple[str, ...]
Measured = dict[str, float | int | str]  # as a manifest has it


def kept_back(surface: str, bundle: Bundle, roots: list[Path], folder: Path) -> Path:
    """A folder with this surface alone, whose fold KEPT_FOLD of the test split the judge was never taught on: of one
    taught by good images, all parts that it saw no image of. Raises DataError for none."""
    samples = read_samples(roots, surface)
    fold = [s for s in samples if s.split == "test" and s.fold == KEPT_FOLD]
    counted = strangers(samples) if bundle.manifest.kind in GOOD_ONLY else fold
    alone = folder / surface
    alone.mkdir()
    root = samples[0].path.parents[3]
    (alone / surface).symlink_to((root / surface).resolve())
    rows = [f"{s.path.relative_to(root)},{KEPT_FOLD}" for s in counted]
    (alone / "split.csv").write_text("\n".join(["path,fold", *rows]) + "\n")
    return alone


def find_bundle(name: str, folders: list[Path]) -> Bundle | None:
    """The first of that name; None where there is none yet."""
    return next((open_bundle(f / name) for f in folders if (f / name / MANIFEST).is_file()), None)


def judged(line: Line) -> dict[str, Bundle]:
    bundles = line_bundles(line)
    return {surface: bundles[judge.bundle] for surface, judge in line.config.judges.items()}


def shown_on(bar: Progress) -> Show:
    task = bar.add_task("evaluate")

    def show(what: str, done: int, total: int) -> None:
        bar.update(task, description=f"evaluate {what}", completed=done, total=total)

    return show


def evaluated(line: Line, roots: list[Path], bar: Progress) -> tuple[Report, dict[str, SurfaceFigures]]:
    """The gate's report on fold 4 of everything, and each judged surface on what was kept back from its judge."""
    show = shown_on(bar)
    whole = evaluate(line, roots, KEPT_FOLD, None, show)
    surfaces = {}
    with tempfile.TemporaryDirectory() as folder:
        for surface, bundle in judged(line).items():
            alone = kept_back(surface, bundle, roots, Path(folder))
            surfaces[surface] = evaluate(line, [alone], KEPT_FOLD, None, show).surfaces[surface]
    return whole, surfaces


def open_judge(bundle: Bundle, engine: Engine, graph: Graph, threads: int, device: Device = "auto") -> Judge:
    model = Model(bundle, graph, open_graph(engine, bundle, graph, threads, device), threads=threads)
    return JUDGES[bundle.manifest.kind](model)


def open_int8(bundle: Bundle, threads: int, say: Callable[[str], None]) -> Judge:
    """On the graph that is the fastest on this box's processor, of the INT8 ones where one of them runs."""
    rows = measure_all([bundle], threads, "cpu", say)[bundle.sha256]
    small = {graph.file for graph in bundle.manifest.graph if graph.precision == "int8"}
    fit = [row for row in rows if row.file in small and row.ms is not None]
    return open_judge(bundle, *choose(bundle, "auto", fit or rows), threads, "cpu")


def score_all(judge: Judge, images: Iterable[Path]) -> tuple[list[float], list[float]]:
    """The judge's score of each image, and its network's milliseconds."""
    scores, spent = [], []
    for image in images:
        scores.append(judge.inspect(read_frame(image)).score)
        spent.append((judge.model.ended - judge.model.began) / 1e6)
    return scores, spent


def median_ms(spent: list[float]) -> float:
    """Without the frames that warm the engine up."""
    return float(np.median(spent[WARM_UP:] or spent))


def measure_alone(bundle: Bundle, roots: list[Path], bar: Progress) -> str:
    """A judge without a gate before it, on what was kept back from it. Its figures go into its manifest, unless it was
    made anew meanwhile; the sentence says which. Raises DataError where there is no such image."""
    (surface,) = bundle.manifest.surfaces
    with tempfile.TemporaryDirectory() as folder:
        alone = kept_back(surface, bundle, roots, Path(folder))
        samples, _ = find_samples([alone], KEPT_FOLD)
        pipeline = Pipeline(None, {surface: open_int8(bundle, THREADS, bar.console.print)})
        figures, trials = run_samples(pipeline, samples, shown_on(bar))
    pipeline.close()
    found = as_measured(figures[surface], pipeline.judges[surface].model.runs_on, " --bundles")
    run = stage_figures(trials).get("run")
    if open_bundle(bundle.path).sha256 != bundle.sha256:
        return "made anew meanwhile; measure it again"
    set_measured(bundle.path, {**found, **({"run_ms": round(run.p50_ms, 2)} if run else {})})
    return f"{found['graph']}, AUROC {found.get('image_auroc', '-')}"


def measure_bundles(folders: list[Path], roots: list[Path], again: bool, bar: Progress) -> None:
    """Every judge that was not measured since it was made; one that cannot be is named and stops no other. again: the
    others too, such as those whose milliseconds a busy box gave."""
    for path in sorted(path for folder in folders for path in folder.glob(f"*/{MANIFEST}")):
        bundle = open_bundle(path.parent)
        if bundle.manifest.kind not in JUDGES or ("run_ms" in bundle.manifest.measured and not again):
            continue
        try:
            said = measure_alone(bundle, roots, bar)
        except EdgeError as error:
            said = f"not measured: {error}"
        bar.console.print(f"{bundle.path}: {said}")


def compare(
    line: Line, surface: str, bundle: Bundle, choice: tuple[Engine, Graph], samples: list[Sample], bar: Progress
) -> tuple[Measured, Row | None]:
    """The line's graph and, where its engine has both, the FP32 and the INT8 one on the same frames in turn.

    Returns run_ms of the line's graph and the image AUROC of the two, for the manifest; a row of the README, or None.
    """
    engine, chosen = choice
    both = {g.precision: g for g in readable(engine, bundle.manifest.graph)}
    pair = [both["fp32"], both["int8"]] if {"fp32", "int8"} <= both.keys() else []
    graphs = pair or [chosen]
    config = line.config
    judges = [open_judge(bundle, engine, graph, config.threads, config.device) for graph in graphs]
    scores: list[list[float]] = [[] for _ in graphs]
    spent: list[list[float]] = [[] for _ in graphs]
    for sample in bar.track(samples, description=f"network alone {surface}"):
        frame = read_frame(sample.path)
        for judge, found, times in zip(judges, scores, spent, strict=True):
            found.append(judge.inspect(frame).score)
            times.append((judge.model.ended - judge.model.began) / 1e6)
    ms = [median_ms(times) for times in spent]
    measured: Measured = {"run_ms": round(ms[graphs.index(chosen)], 2)}
    if not pair:
        return measured, None
    labels = [sample.defective for sample in samples]
    auroc = [image_figures(labels, found)[0] or 0.0 for found in scores]
    measured |= {"image_auroc_fp32": round(auroc[0], 4), "image_auroc_int8": round(auroc[1], 4)}
    figures = (f"{auroc[0]:.4f}", f"{auroc[1]:.4f}", f"{ms[0]:.1f}", f"{ms[1]:.1f}", f"{ms[0] / ms[1]:.1f}x")
    patches = bundle.manifest.input.patches
    name = bundle.manifest.name + (f" ({patches} patches)" if patches else "")
    return measured, (name, engine, *figures)


def about(graph: str, how: str = "") -> Measured:
    return {
        "command": f"python -m tools.train.measured{how}",
        "date": datetime.date.today().isoformat(),
        "graph": graph,
    }


def as_measured(figures: SurfaceFigures, graph: str, how: str = "") -> Measured:
    """What a manifest is told of one judge; how: the option that it was measured by."""
    found = {name: getattr(figures, name) for name in SCORES}
    return {**about(graph, how), **{name: rounded(value) for name, value in found.items() if value is not None}}


def keep_gate(line: Line, gate: Bundle, whole: Report) -> None:
    """Put what the line's gate was found to be worth beside what each of its graphs is."""
    found = {"seen": whole.gate.seen, "unseen": whole.gate.unseen, "harmonic_mean": whole.gate.harmonic_mean}
    values = {name: rounded(value) for name, value in found.items() if value is not None}
    graph = whole.about.graphs.get(gate.manifest.name, "")
    set_measured(gate.path, {**gate.manifest.measured, **about(graph), **values})


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


def measure_line(line: Line, roots: list[Path]) -> None:
    """What the README has of a line, printed; the figures go into its bundles' manifests."""
    with Progress() as bar:
        whole, surfaces = evaluated(line, roots, bar)
        chosen = choose_graphs(line, list(line_bundles(line).values()), bar.console.print)
        compared: list[Row] = []
        with tempfile.TemporaryDirectory() as folder:
            for surface, bundle in judged(line).items():
                samples, _ = find_samples([kept_back(surface, bundle, roots, Path(folder))], KEPT_FOLD)
                alone, row = compare(line, surface, bundle, chosen[bundle.path.name], samples, bar)
                graph = whole.about.graphs.get(bundle.manifest.name, "")
                set_measured(bundle.path, {**as_measured(surfaces[surface], graph), **alone})
                compared += [row] if row else []
    if line.config.gate:
        keep_gate(line, line_bundles(line)[line.config.gate], whole)
    gate = whole.gate
    print(f"\n{platform.processor() or platform.machine()}, {line.config.threads} threads, {datetime.date.today()}")
    print(f"\nGate: seen {gate.seen:.2%}, unseen {gate.unseen:.2%}, harmonic mean {gate.harmonic_mean:.2%}\n")
    headings = ("bundle", "good + bad", "AUROC", "AP", "good OK", "bad NotOK", "bad OK", "pixel AUROC", "AUPRO")
    print(markdown(headings, surface_rows(line, surfaces)))
    print()
    print(markdown(("bundle", "engine", "AUROC FP32", "INT8", "ms FP32", "INT8", "faster"), compared))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.measured", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", type=Path, default=Path("exported_models/line.toml"))
    which.add_argument("--bundles", action="append", type=Path, help="a folder of bundles; repeatable")
    parser.add_argument("--again", action="store_true", help="with --bundles: those that were measured already too")
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    given = parser.parse_args()
    if given.bundles:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            measure_bundles(given.bundles, given.data, given.again, bar)
    else:
        measure_line(read_line(given.config), given.data)


if __name__ == "__main__":
    main()
