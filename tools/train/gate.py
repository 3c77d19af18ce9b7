"""`python -m tools.train.gate RECIPE.toml`: the gate's graphs, features, fit, figures and bundle.

Quantisation moves a frame's statistics by a tenth. Fitted on FP32 features alone, the gate kept 99 % of the taught
frames as FP32 and 80 % as INT8 (mean over surfaces, folds 0-3 kept back in turn; bottle: none). So every image is
fitted on twice, as FP32 and as INT8 features: 99 % as both, on every engine.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import skimage
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from edge.bundle import Bundle, Precision, Targets, Thresholds, Training
from edge.engines.processor import int8_overflows
from edge.engines.session import OVERFLOWING, Engine, Floats, Session, open_session
from edge.offline.amend import set_measured
from edge.offline.calibrate import EACH_SURFACE, choose, inputs, recipe_of, write_recipe
from edge.offline.clusters import MARGIN, QUANTILE
from edge.offline.export import fp32_graphs, save_program, to_program
from edge.offline.int8 import full_range, make_int8
from edge.offline.pack import ARRAYS, write_bundle
from edge.offline.report import progress_bar
from edge.offline.samples import Sample as Picture
from edge.vision.image import InputRule, prepare
from tools.train.data import Sample, read_grey, read_samples
from tools.train.gate_fit import COMPONENTS, Fitted, figures, fit, read_embeddings
from tools.train.networks.backbone import TextureStatistics
from tools.train.recipe import Recipe, read_recipe

THREADS = 2
CALIBRATION_FOLDS = (0, 1, 2)
REPORT_FOLD = 4
# The engines whose features are fitted on: the quickest of each precision; the others differ by rounding.
TAUGHT: tuple[tuple[Engine, Precision], ...] = (("onnx", "fp32"), ("litert", "int8"))
ALL: tuple[tuple[Engine, Precision], ...] = (
    *(("onnx", "fp32"), ("openvino", "fp32")),
    *(("onnx", "int8"), ("openvino", "int8"), ("litert", "int8")),
)
STAMP = "graphs.json"
FLOATS = 2  # layers that stay in float: with the first two a cell errs by a quarter less, and takes 4 % longer
OUTPUTS = ("features", "cells")
SUFFIXES: dict[Engine, str] = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}
EMBEDDINGS = Path(__file__).with_name("gate_attributes.toml")
TEXTURES = ("brick", "grass", "gravel")


@dataclass(frozen=True)
class Parts:
    """fitted: good and defective; reported: none of their physical parts is among the fitted; unseen: no taught one."""

    fitted: list[Sample]
    reported: list[Sample]
    unseen: list[Sample]


def draw_parts(recipe: Recipe, roots: list[Path], unseen: list[str]) -> Parts:
    """Reported: fold 4 of the test split, or of the train split where a surface has no other."""
    fitted, reported = [], []
    for surface in recipe.surfaces:
        samples = read_samples(roots, surface)
        split = "test" if any(s.split == "test" for s in samples) else "train"
        own = [s for s in samples if s.split == split and s.fold == REPORT_FOLD]
        groups = {s.group for s in own}
        reported += own
        fitted += [s for s in samples if s.group not in groups]
    others = [s for surface in unseen for s in read_samples(roots, surface)]
    return Parts(fitted, reported, others + textures())


def surfaces_not_taught(recipe: Recipe, roots: list[Path]) -> list[str]:
    """Those of the folders in MVTec's layout that the recipe does not name."""
    found = {path.parent.name for root in roots for kind in ("train", "test") for path in root.glob(f"*/{kind}")}
    return sorted(found - set(recipe.surfaces))


def textures() -> list[Sample]:
    """Photographs of brick, grass and gravel that scikit-image brings along: surfaces of no factory."""
    folder = Path(skimage.__file__).parent / "data"
    return [Sample(folder / f"{name}.png", name, "test", "good", None, REPORT_FOLD, name) for name in TEXTURES]


def candidates(fitted: list[Sample]) -> list[Picture]:
    """What INT8 may be calibrated on."""
    return [Picture(s.path, s.surface, s.kind, s.mask) for s in fitted if s.fold in CALIBRATION_FOLDS]


def make_graphs(recipe: Recipe, run: Path, usable: list[Picture]) -> tuple[dict[str, bytes], list[Picture]]:
    """The graphs and the images that INT8 was calibrated on; made once and kept in the run's folder: delete graphs.json
    there to make them anew."""
    kept = kept_graphs(run)
    if kept is not None:
        known = {str(picture.path): picture for picture in usable}
        return kept, [known[path] for path in json.loads((run / STAMP).read_text())["chosen"]]
    network = TextureStatistics().eval()
    some = inputs(recipe.input, usable[:1], recipe.seed)
    program = to_program(network, torch.from_numpy(some))
    save_program(program, run / "model.pt2")
    files = fp32_graphs(program, OUTPUTS, some.shape[1:])
    with progress_bar() as progress:
        session = open_session("onnx", files["model.onnx"], THREADS, "cpu")
        count = EACH_SURFACE * len(recipe.surfaces)
        chosen = choose(session, recipe.input, usable, count, recipe.seed, progress)
        session.close()
        calibration = full_range(inputs(recipe.input, chosen, recipe.seed), recipe.input)
        files |= make_int8(files["model.onnx"], files["model.tflite"], calibration, progress, most=FLOATS).files
    for name, data in files.items():
        (run / name).write_bytes(data)
    (run / STAMP).write_text(json.dumps({"files": list(files), "chosen": [str(picture.path) for picture in chosen]}))
    return files, chosen


def kept_graphs(run: Path) -> dict[str, bytes] | None:
    """Those that `make_graphs` left there; None where it has not been run."""
    if not (run / STAMP).is_file():
        return None
    return {name: (run / name).read_bytes() for name in json.loads((run / STAMP).read_text())["files"]}


def opened(engine: Engine, precision: Precision, files: dict[str, bytes]) -> tuple[bytes, Session]:
    """The graph that the engine reads in that precision, and a session on it."""
    name = f"model.int8{SUFFIXES[engine]}" if precision == "int8" else "model.onnx"
    weights = files[name.replace(".xml", ".bin")] if name.endswith(".xml") else b""
    return files[name], open_session(engine, files[name], THREADS, "cpu", weights)


def features_of(
    engine: Engine,
    precision: Precision,
    files: dict[str, bytes],
    samples: list[Sample],
    rule: InputRule,
    run: Path,
    bar: Progress,
) -> Floats:
    """`(n, views * d)`, a row for each sample; rows that the run's folder has of this very graph are not run again."""
    graph, session = opened(engine, precision, files)
    cache = run / f"features-{engine}-{precision}.npz"
    digest = hashlib.sha256(graph).hexdigest()
    known: dict[str, Floats] = {}
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as kept:
            if str(kept["graph"]) == digest:
                known = dict(zip(kept["keys"].tolist(), kept["features"], strict=True))
    keys = [f"{s.path.resolve()}|{s.path.stat().st_size}" for s in samples]
    missing = [(key, s) for key, s in zip(keys, samples, strict=True) if key not in known]
    task = bar.add_task(cache.stem, total=len(samples), completed=len(samples) - len(missing))
    for key, sample in missing:
        known[key] = np.copy(session.run(prepare(read_grey(sample.path), rule))[0]).reshape(-1)
        bar.advance(task)
    session.close()
    if missing:
        np.savez(cache, graph=digest, keys=list(known), features=np.stack(list(known.values())))
    return np.stack([known[key] for key in keys])


def fit_on_both(recipe: Recipe, fitted: list[Sample], taught: list[Floats]) -> Fitted:
    """One row of each image for each of the taught graphs; both in the same fold."""
    surface = np.tile([s.surface for s in fitted], len(taught))
    fold = np.tile([s.fold for s in fitted], len(taught))
    defective = np.tile([s.defective for s in fitted], len(taught))
    embeddings = read_embeddings(EMBEDDINGS, recipe.surfaces)
    return fit(np.concatenate(taught), surface, fold, defective, recipe.surfaces, embeddings)


def frame_ms(session: Session, frames: list[NDArray[np.uint8]], rule: InputRule) -> dict[str, float]:
    """Milliseconds of one frame's two views in the network alone; the least is what a quiet box would give."""
    times = []
    for pixels in frames:
        batch = prepare(pixels, rule)
        started = perf_counter()
        session.run(batch)
        times.append((perf_counter() - started) * 1e3)
    return {"ms_p50": round(float(np.median(times)), 2), "ms_least": round(min(times), 2)}


def pack_arrays(fitted: Fitted) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **fitted.arrays())
    return packed.getvalue()


def write_gate(
    path: Path, recipe: Recipe, fitted: Fitted, files: dict[str, bytes], images: int, command: str
) -> Bundle:
    """The bundle without its measured figures. Raises BundleError where the manifest would not be valid."""
    how = (
        f"per surface, in arrays.npz: {QUANTILE:.0%} of the distances of images kept back fold by fold, FP32 and INT8 "
        f"alike, times {MARGIN}; good and defective images of a surface count half each"
    )
    note = (
        f"EfficientNet-Lite0 as trained on ImageNet, not trained further: means and deviations after six of its "
        f"blocks, {COMPONENTS} principal components, Mahalanobis distance to each surface; fold {REPORT_FOLD} kept "
        "back; attributes read off the components by ridge regression of class embeddings by hand"
    )
    fields: dict[str, object] = {
        "name": recipe.name,
        "kind": "gate",
        "surfaces": recipe.surfaces,
        "input": recipe.input,
        "outputs": OUTPUTS,
        "thresholds": Thresholds(how=how),
        "targets": Targets(frame_ms=recipe.target_frame_ms),
        "training": Training(
            data=recipe.data,
            licence=recipe.licence,
            images=images,
            date=datetime.date.today().isoformat(),
            command=command,
            note=note,
        ),
    }
    return write_bundle(path, fields, {**files, ARRAYS: pack_arrays(fitted)}, recipe.seed)


def report_on(
    recipe: Recipe, parts: Parts, graphs: dict[str, bytes], fitted: Fitted, run: Path, bar: Progress
) -> dict[str, dict[str, Any]]:
    """The kept-back and the unseen frames on every engine in both precisions."""
    samples = parts.reported + parts.unseen
    surface = np.array([s.surface for s in samples])
    defective = np.array([s.defective for s in samples])
    frames = [read_grey(s.path) for s in parts.reported[:: max(1, len(parts.reported) // 60)]]
    answer: dict[str, dict[str, Any]] = {}
    runnable = [(e, p) for e, p in ALL if p == "fp32" or not (e in OVERFLOWING and int8_overflows())]
    for engine, precision in runnable:
        called = fitted.called(features_of(engine, precision, graphs, samples, recipe.input, run, bar))
        _, session = opened(engine, precision, graphs)
        times = frame_ms(session, frames, recipe.input)
        session.close()
        answer[f"{engine}-{precision}"] = {**figures(surface, called, defective, recipe.surfaces), **times}
    return answer


def make_gate(path: Path, roots: list[Path], unseen: list[str], run: Path, out: Path, calibration: Path) -> Bundle:
    recipe = read_recipe(path)
    run.mkdir(parents=True, exist_ok=True)
    parts = draw_parts(recipe, roots, unseen)
    usable = candidates(parts.fitted)
    graphs, chosen = make_graphs(recipe, run, usable)
    with Progress() as bar:
        taught = [features_of(e, p, graphs, parts.fitted, recipe.input, run, bar) for e, p in TAUGHT]
        fitted = fit_on_both(recipe, parts.fitted, taught)
        by_graph = report_on(recipe, parts, graphs, fitted, run, bar)
    thresholds = dict(zip(fitted.surfaces, fitted.thresholds.round(2).tolist(), strict=True))
    counts = {"fitted": len(parts.fitted), "reported": len(parts.reported), "unseen": len(parts.unseen)}
    (run / "report.json").write_text(json.dumps({**counts, "thresholds": thresholds, "graphs": by_graph}, indent=1))
    fp32 = hashlib.sha256(graphs["model.onnx"]).hexdigest()
    drawn = recipe_of(recipe.name, recipe.data, roots, chosen, recipe.seed, len(usable), fp32, most=FLOATS)
    write_recipe(calibration / recipe.name, drawn)
    command = f"python -m tools.train.gate {path}"
    write_gate(out / recipe.name, recipe, fitted, graphs, len(parts.fitted), command)
    shares = ("seen", "unseen", "harmonic_mean")
    return set_measured(
        out / recipe.name, {f"{name} {key}": by_graph[name][key] for name in by_graph for key in shares}
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.gate", description=__doc__)
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--unseen", action="append", help="surface to report as unseen (default: all others)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where features and the report are kept")
    parser.add_argument("--out", type=Path, default=Path("exported_models"))
    parser.add_argument("--calibration", type=Path, default=Path("calibration"))
    given = parser.parse_args()
    unseen = given.unseen or surfaces_not_taught(read_recipe(given.recipe), given.data)
    bundle = make_gate(given.recipe, given.data, unseen, given.runs / "gate", given.out, given.calibration)
    report = json.loads((given.runs / "gate" / "report.json").read_text())
    for name, row in report["graphs"].items():
        head = ("seen", "unseen", "harmonic_mean", "seen_defective", "ms_p50", "ms_least")
        print(f"{name:15s}", "  ".join(f"{key} {row[key]}" for key in head))
    print(bundle.path)


if __name__ == "__main__":
    main()
