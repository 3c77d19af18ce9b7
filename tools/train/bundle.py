"""`python -m tools.train.bundle RECIPE.toml ...`: from a finished training to a bundle that the line can open."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from edge.bundle import Bundle, Dense, Graph, Manifest, Scoring, Targets, Thresholds, Training
from edge.engines.session import Floats, open_session
from edge.errors import DataError
from edge.inspection.assemble import JUDGES
from edge.inspection.judge import Judge
from edge.inspection.model import Model
from edge.offline.calibrate import IMAGES, choose, inputs, recipe_of, write_recipe
from edge.offline.export import fp32_graphs, save_program, to_program
from edge.offline.gains import set_gains
from edge.offline.int8 import full_range, make_int8
from edge.offline.pack import ARRAYS, write_bundle
from edge.offline.progress import Progress
from edge.offline.report import progress_bar
from edge.offline.samples import Sample as Picture
from edge.records import Frame
from tools.train.data import Sample, read_grey, read_samples, split
from tools.train.density_fit import fit_density
from tools.train.equalise import equalised
from tools.train.recipe import EACH, Recipe, read_recipe, read_recipes
from tools.train.tasks import TASKS
from tools.train.trainer import build

IMAGE_LABEL_QUANTILE = 0.995
EQUALISING = 64  # images that the ranges of channels are taken from


def learns_defects(recipe: Recipe) -> bool:
    """Whether defective images were among what it was taught."""
    return TASKS[recipe.network].kind == "segdec"


@dataclass(frozen=True)
class Scored:
    """The judge's answers on the validation fold. score: `(n,)`; maps: `(n, h, w)`; defective: `(n,)` bool."""

    score: NDArray[np.float64]
    maps: Floats
    defective: NDArray[np.bool_]


def load_network(recipe: Recipe, run: Path) -> torch.nn.Module:
    """The trained network. Raises DataError where its training is not finished."""
    checkpoint = run / "checkpoint.pt"
    if not checkpoint.is_file():
        raise DataError(f"{checkpoint} is not there; run python -m tools.train for {recipe.name} first")
    saved = torch.load(checkpoint, weights_only=True)
    done = len(saved["curves"])
    if done < recipe.epochs:
        raise DataError(f"{checkpoint} is after {done} of {recipe.epochs} epochs; let the training end first")
    network = build(recipe)
    network.load_state_dict(saved["model"])
    return TASKS[recipe.network].exported(network).eval()


def candidates(recipe: Recipe, training: list[Sample]) -> list[Picture]:
    """What INT8 may be calibrated on: the training images; good ones alone for what was taught on good ones alone."""
    usable = [s for s in training if learns_defects(recipe) or (s.split == "train" and not s.defective)]
    return [Picture(s.path, s.surface, s.kind, s.mask) for s in usable]


def make_graphs(
    recipe: Recipe, network: torch.nn.Module, usable: list[Picture], run: Path, progress: Progress
) -> tuple[dict[str, bytes], list[Picture]]:
    """The files of the bundle, and the images that INT8 was calibrated on. The program is left in the run's folder."""
    some = inputs(recipe.input, usable[:: max(1, len(usable) // EQUALISING)], recipe.seed)
    if recipe.equalise:
        network = equalised(network, some)
    program = to_program(network, torch.from_numpy(some[:2].copy()))
    save_program(program, run / "model.pt2")
    files = fp32_graphs(program, TASKS[recipe.network].outputs, some.shape[1:], recipe.input.at_once)
    session = open_session("onnx", files["model.onnx"], 2, "cpu", at_once=recipe.input.at_once)
    chosen = choose(session, recipe.input, usable, IMAGES, recipe.seed, progress)
    session.close()
    calibration = full_range(inputs(recipe.input, chosen, recipe.seed), recipe.input)
    made = make_int8(files["model.onnx"], files["model.tflite"], calibration, progress, recipe.allowed, recipe.most)
    return {**files, **made.files}, chosen


def open_judge(fields: dict[str, object], graph: bytes) -> Judge:
    """The line's own judge on a graph that is in no bundle yet; its threshold lets everything pass."""
    nowhere = "0" * 64
    everything = Thresholds(score=sys.float_info.max, map=sys.float_info.max, how="not set yet")
    entry = Graph(file="model.onnx", sha256=nowhere, format="onnx", precision="fp32")
    draft = {**fields, "thresholds": everything, "format": 1, "graph": [entry]}
    draft["golden"] = {"file": "golden.npz", "sha256": nowhere}
    manifest = msgspec.convert(msgspec.to_builtins(draft), Manifest)
    session = open_session("onnx", graph, 2, "cpu", at_once=manifest.input.at_once)
    return JUDGES[manifest.kind](Model(Bundle(Path(manifest.name), manifest, nowhere), entry, session))


def score_all(judge: Judge, samples: list[Sample]) -> Scored:
    findings = [judge.inspect(Frame(read_grey(s.path), 255)) for s in samples]
    scores, maps = np.array([f.score for f in findings]), np.stack([f.score_map for f in findings])
    return Scored(scores, maps, np.array([s.defective for s in samples]))


def best_midpoint(score: NDArray[np.float64], defective: NDArray[np.bool_], pass_good: float) -> float:
    """Between two neighbouring scores, where balanced accuracy is best and at least pass_good of the good ones pass.

    That share is given up only where no defect would be caught otherwise. Among equals the widest gap wins.
    """
    values = np.unique(score)
    middles, gaps = (values[1:] + values[:-1]) / 2, np.diff(values)
    passed = np.array([np.mean(score[~defective] <= m) for m in middles])
    caught = np.array([np.mean(score[defective] > m) for m in middles])
    allowed = (passed >= pass_good) & (caught > 0)
    balanced = np.where(allowed, passed + caught, 0.0) if allowed.any() else passed + caught
    return float(middles[np.lexsort((gaps, balanced))[-1]])


def set_thresholds(recipe: Recipe, judge: Judge, validation: list[Sample]) -> Thresholds:
    """By the rule of the network's kind, on the validation fold, with the FP32 graph."""
    if learns_defects(recipe):
        return _segdec_thresholds(recipe, score_all(judge, validation))
    seen = score_all(judge, [s for s in validation if s.split == "train" and not s.defective])
    limit = float(np.quantile(seen.score, recipe.pass_good))
    worst = float(np.quantile(seen.maps.max((1, 2)), recipe.pass_good))
    how = f"{recipe.pass_good:.0%} of {len(seen.score)} good images of the validation fold stay below: the score, and "
    return Thresholds(score=limit, map=worst, how=how + "the worst pixel for the map")


def _segdec_thresholds(recipe: Recipe, seen: Scored) -> Thresholds:
    score = best_midpoint(seen.score, seen.defective, recipe.pass_good)
    passed, caught = np.sum(seen.score[~seen.defective] <= score), np.sum(seen.score[seen.defective] > score)
    how = (
        f"score: best balanced accuracy on the validation fold with at most {1 - recipe.pass_good:.0%} of the good "
        f"rejected where that is possible ({passed} of {np.sum(~seen.defective)} good passed, "
        f"{caught} of {np.sum(seen.defective)} defective caught); map: "
    )
    if recipe.labels != "image":
        return Thresholds(score=score, map=0.5, how=f"{how}0.5, as taught by masks")
    limit = float(np.quantile(seen.maps[~seen.defective], IMAGE_LABEL_QUANTILE))
    return Thresholds(score=score, map=limit, how=f"{how}{IMAGE_LABEL_QUANTILE:.1%} of the good images' map below")


def scoring(recipe: Recipe) -> Scoring:
    return Scoring(pooling=recipe.pooling, blur=recipe.blur, measure=recipe.measure, heat=recipe.heat)


def manifest_fields(recipe: Recipe, path: Path, run: Path, training: list[Sample]) -> dict[str, object]:
    """All that is known before the thresholds are."""
    one_of_several = f" --surface {recipe.surfaces[0]}" if EACH in read_recipe(path).name else ""
    date = datetime.date.fromtimestamp((run / "checkpoint.pt").stat().st_mtime)
    taught = [s for s in training if learns_defects(recipe) or (s.split == "train" and not s.defective)]
    return {
        "name": recipe.name,
        "kind": TASKS[recipe.network].kind,
        "surfaces": recipe.surfaces,
        "input": recipe.input,
        "outputs": TASKS[recipe.network].outputs,
        "scoring": scoring(recipe),
        "targets": Targets(patch_ms=recipe.target_patch_ms, frame_ms=recipe.target_frame_ms),
        "training": Training(
            data=recipe.data,
            licence=recipe.licence,
            images=len(taught),
            date=date.isoformat(),
            command=f"python -m tools.train {path}{one_of_several}",
            note=f"{recipe.epochs} epochs; fold 3 sets the thresholds; kept back: {kept_back(recipe)}",
        ),
    }


def make_bundle(path: Path, recipe: Recipe, roots: list[Path], runs: Path, out: Path, calibration: Path) -> Bundle:
    """path: the recipe's file, which the manifest names."""
    if recipe.network not in TASKS:
        raise DataError(f"{path}: a {recipe.network} has no training run; its bundle is made elsewhere")
    network = load_network(recipe, runs / recipe.name)
    training, validation = split([s for surface in recipe.surfaces for s in read_samples(roots, surface)])
    usable = candidates(recipe, training)
    with progress_bar() as progress:
        files, chosen = make_graphs(recipe, network, usable, runs / recipe.name, progress)
    fields = manifest_fields(recipe, path, runs / recipe.name, training)
    if "latent" in TASKS[recipe.network].outputs:
        session = open_session("onnx", files["model.onnx"], 2, "cpu")
        files[ARRAYS], fields["thresholds"] = fit_density(session, recipe, scoring(recipe), training, validation)
    else:
        fields["thresholds"] = set_thresholds(recipe, open_judge(fields, files["model.onnx"]), validation)
    if recipe.dense_stride:
        apart = msgspec.structs.replace(recipe.input, stride=recipe.dense_stride)
        judge = open_judge({**fields, "input": apart}, files["model.onnx"])
        fields["dense"] = Dense(stride=recipe.dense_stride, thresholds=set_thresholds(recipe, judge, validation))
    fp32 = hashlib.sha256(files["model.onnx"]).hexdigest()
    drawn = recipe_of(
        recipe.name, recipe.data, roots, chosen, recipe.seed, len(usable), fp32, recipe.allowed, recipe.most
    )
    write_recipe(calibration / recipe.name, drawn)
    return set_gains(write_bundle(out / recipe.name, fields, files, recipe.seed), chosen)


def kept_back(recipe: Recipe) -> str:
    """Which images neither training nor thresholds saw."""
    return "fold 4 of the test split" if learns_defects(recipe) else "all of the test split"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.bundle", description=__doc__)
    parser.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE.toml")
    parser.add_argument("--surface", help="only this one, of a recipe that has a bundle for each of its surfaces")
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the checkpoints are")
    parser.add_argument("--out", type=Path, default=Path("exported_models"))
    parser.add_argument("--calibration", type=Path, default=Path("calibration"))
    given = parser.parse_args()
    for path in given.recipes:
        for recipe in read_recipes(path, given.surface):
            bundle = make_bundle(path, recipe, given.data, given.runs, given.out, given.calibration)
            print(f"{bundle.path}: {bundle.manifest.thresholds}")


if __name__ == "__main__":
    main()
