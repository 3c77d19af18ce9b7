"""From a bundle to its line in the table: measured by itself, in INT8, and no figure where nothing was measured."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx, which writes the small graphs, is not here (extra `test`)")
pytest.importorskip("sklearn", reason="scikit-learn (extra `evaluate`) is not here")

from edge.bundle import Thresholds, Training, open_bundle
from edge.engines.processor import int8_overflows
from edge.offline.pack import write_bundle
from edge.vision.image import InputRule
from tools.train.recipe import read_recipe
from tools.train.table import ALL, RECIPES, System

pytestmark = pytest.mark.usefixtures("own_cache")
SIDE = 32


def smoothing(times: int) -> bytes:
    """`(n, 1, 32, 32)`: what means over 3x3 leave of it."""
    from onnx import TensorProto, helper

    names = ["in", *(f"mean{number}" for number in range(times - 1)), "out"]
    nodes = [
        helper.make_node("AveragePool", [a], [b], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0)
        for a, b in pairwise(names)
    ]
    given = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    answer = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "smoothing", [given], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def write_judge(bundles: Path, name: str, *files: str) -> None:
    """A judge of `bottle` that cannot rebuild a spot. Its INT8 graph, where it has one, is the slower by far."""
    fields: dict[str, object] = {
        "name": name,
        "kind": "reconstruction",
        "surfaces": ("bottle",),
        "input": InputRule(width=2 * SIDE, height=2 * SIDE, patch=SIDE, stride=SIDE),
        "outputs": ("out",),
        "thresholds": Thresholds(score=0.02, map=0.02, how="by hand"),
        "training": Training(data="drawn", licence="none", images=0, date="-", command="-"),
    }
    write_bundle(bundles / name, fields, {file: smoothing(60 if "int8" in file else 1) for file in files})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bottle: smooth ones, and some with a spot."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(3)
    for folder, count in (("train/good", 30), ("test/good", 6), ("test/spot", 4)):
        (root / "bottle" / folder).mkdir(parents=True)
        for number in range(count):
            image = np.full((2 * SIDE, 2 * SIDE), rng.integers(90, 110), np.uint8)
            if "spot" in folder:
                image[20:23, 40:43] = 255
            assert cv2.imwrite(str(root / "bottle" / folder / f"{number}.png"), image)
    return root


def run(module: str, *arguments: object) -> str:
    command = [sys.executable, "-m", f"tools.train.{module}", *map(str, arguments)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def lines(bundles: Path, runs: Path) -> dict[str, list[str]]:
    """The table's cells by their system."""
    table = run("table", "--bundles", bundles, "--runs", runs).splitlines()[2:]
    return {cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in table)}


def measured(bundles: Path, name: str) -> dict[str, Any]:
    return dict(open_bundle(bundles / name).manifest.measured)


def test_where_nothing_is_there_is_no_figure_of_ours(tmp_path: Path) -> None:
    found = lines(tmp_path, tmp_path)
    assert len(found) == len(ALL)
    for system, (paper, ours, ms, why) in found.items():
        assert ours.startswith("not trained yet") and "." not in ours, system
        assert ms == "-" and paper and why
    assert found["Ferrari: DRAE"][1] == "not trained yet: bottle"
    json_rows = json.loads(run("table", "--bundles", tmp_path, "--runs", tmp_path, "--json"))
    assert len(json_rows) == len(ALL) and not any(row["ours"] for row in json_rows)


@pytest.mark.skipif(int8_overflows(), reason="its judges have INT8 for ONNX Runtime, which overflows without VNNI")
def test_a_judge_is_measured_in_int8_once_and_again_when_it_is_made_anew(tmp_path: Path, data: Path) -> None:
    bundles = tmp_path / "bundles"
    write_judge(bundles, "drae-bottle", "model.onnx", "model.int8.onnx")
    write_judge(bundles, "galacz-metal_nut", "model.onnx")
    assert "not measured yet: bottle" in lines(bundles, tmp_path)["Ferrari: DRAE"][1]

    run("measured", "--bundles", bundles, "--data", data)
    found = measured(bundles, "drae-bottle")
    assert str(found["graph"]).endswith("/cpu/int8") and str(found["command"]).endswith("measured --bundles")
    assert (found["n_good"], found["n_defect"], found["image_auroc"]) == (6, 4, 1.0)
    assert measured(bundles, "galacz-metal_nut")["graph"].endswith("/cpu/fp32")
    table = lines(bundles, tmp_path)
    assert "bottle 1.000 (6 + 4)" in table["Ferrari: DRAE"][1] and table["Ferrari: DRAE"][2].endswith(" a frame")
    assert "cpu/fp32)" in table["Galacz: CAE and density"][1]

    before = (bundles / "drae-bottle" / "manifest.toml").stat().st_mtime_ns
    run("measured", "--bundles", bundles, "--data", data)
    assert (bundles / "drae-bottle" / "manifest.toml").stat().st_mtime_ns == before
    run("measured", "--bundles", bundles, "--data", data, "--again")
    assert (bundles / "drae-bottle" / "manifest.toml").stat().st_mtime_ns > before
    write_judge(bundles, "drae-bottle", "model.onnx")
    run("measured", "--bundles", bundles, "--data", data)
    assert measured(bundles, "drae-bottle")["graph"].endswith("/cpu/fp32")


def test_a_surface_without_images_is_named_and_stops_no_other(tmp_path: Path, data: Path) -> None:
    bundles, elsewhere = tmp_path / "bundles", tmp_path / "elsewhere"
    write_judge(bundles, "drae-bottle", "model.onnx")
    (elsewhere / "pill" / "test" / "good").mkdir(parents=True)
    run("measured", "--bundles", bundles, "--data", elsewhere)
    assert measured(bundles, "drae-bottle") == {}
    run("measured", "--bundles", bundles, "--data", elsewhere, "--data", data)
    assert measured(bundles, "drae-bottle")["n_good"] == 6


@pytest.mark.skipif(int8_overflows(), reason="its judges have INT8 for ONNX Runtime, which overflows without VNNI")
def test_the_thesis_row_is_of_the_bundle_that_is_there_now(tmp_path: Path, data: Path) -> None:
    bundles, row = tmp_path / "bundles", "Zouar: Bergmann's L2 CAE"
    write_judge(bundles, "cae-bottle", "model.onnx", "model.int8.onnx")
    run("zouar_table", "--bundles", bundles, "--data", data, "--out", tmp_path / "zouar.json")
    kept = json.loads((tmp_path / "zouar.json").read_text())["rows"]
    assert [found["graph"].split("/")[-1] for found in kept] == ["int8"]
    mean = sum(kept[0]["ours"][-1]) / 2
    paper, ours, ms, _ = lines(bundles, tmp_path)[row]
    assert f"bottle {mean:.3f} (6 + 4)" in ours and ms.endswith(" a patch") and "bottle 0.605" in paper
    write_judge(bundles, "cae-bottle", "model.onnx")
    assert "not measured yet: bottle" in lines(bundles, tmp_path)[row][1]


def test_recalls_and_gates_are_read_from_what_their_commands_kept(tmp_path: Path) -> None:
    bundles, runs = tmp_path / "bundles", tmp_path / "runs"
    write_judge(bundles, "draem-metal_nut", "model.onnx")
    write_judge(bundles, "gate", "model.onnx")
    digest = hashlib.sha256(smoothing(1)).hexdigest()
    recall = {"100%": {"value": {"image": 0.5, "map": 0.7, "both": 0.75}}}
    kinds = {"bottle": {"judge": [digest], "kinds": {"good": 5, "bent": 3, "flip": 4}, "binary_recall": recall}}
    (runs / "gate").mkdir(parents=True)
    (runs / "kinds.json").write_text(json.dumps(kinds))
    gates = {"seen": 0.9, "unseen": 0.8, "harmonic_mean": 0.847}
    graphs = {"onnx-fp32": {**gates, "ms_p50": 1}, "onnx-int8": {**gates, "ms_p50": 3}, "litert-int8": gates}
    graphs["litert-int8"] = {"seen": 0.95, "unseen": 1.0, "harmonic_mean": 0.974, "ms_p50": 2}
    (runs / "gate" / "report.json").write_text(json.dumps({"reported": 7, "unseen": 9, "graphs": graphs}))
    (runs / "gate" / "tables.json").write_text(json.dumps({"VAEGAN, learned CE": {"seen": 90, "unseen": 60}}))
    found = lines(bundles, runs)
    assert "metal_nut 0.500 / 0.750 (5 + 7);" in found["Rožanec: image and DRAEM's map"][1]
    assert found["the shipped gate"][1:3] == ["gate 0.950 / 1.000 / 0.974 (7 + 9)", "2.0 a frame"]
    assert found["Cheng: gate by VAEGAN, learned CE"][1:3] == ["gate 0.900 / 0.600 / 0.720", "-"]
    kinds["bottle"]["judge"] = ["of a judge that was made anew since"]
    (runs / "kinds.json").write_text(json.dumps(kinds))
    assert "not measured yet: metal_nut" in lines(bundles, runs)["Rožanec: image and DRAEM's map"][1]


def system(name: str) -> System:
    return next(one for one in ALL if one.name == name)


@pytest.mark.parametrize("name", ["cae", "bergmann-ssim", "oh-yun", "chow", "memae"])
def test_the_patches_that_explain_a_difference_are_the_recipes(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.toml")
    assert system(name).why.startswith(f"{recipe.epochs * recipe.crops:,} patches")


def test_the_papers_figures_are_those_of_the_full_tables() -> None:
    from tools.train.kinds_tables import PAPER_3

    for surface in ("shavers", "shaft"):
        image, _, both = (figures[3] for figures in PAPER_3[surface])
        assert f"{surface} {image:.4f} / {both:.4f}" in system("draem").paper
    pytest.importorskip("torch", reason="the gate's systems need torch: pip install '.[train]'")
    from tools.train.gate_tables import PAPER

    assert " / ".join(f"{value / 100:.4f}" for value in PAPER["VAEGAN", "learned"]) in system("gate").paper
