"""`tools/train/all`: what is up to date is left alone, what changed is done anew, a failure stops nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="the trainings need torch: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="export needs litert-torch: pip install '.[train]'")
pytest.importorskip("ai_edge_quantizer", reason="quantisation needs ai-edge-quantizer: pip install '.[train]'")

from edge.bundle import open_bundle  # after the skip
from edge.errors import DataError  # after the skip
from tools.train.everything import Folders, Job  # after the skip
from tools.train.recipe import digest, read_recipe, read_recipes  # after the skip

TINY = """name = "tiny-{surface}"
network = "bergmann-cae"
surfaces = ["dots", "bars"]
data = "drawn"
licence = "none"
epochs = 1
crops = 4
batch = 4
allowed = 9.0
input = { width = 128, height = 128, patch = 128, stride = 128 }
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders([tmp_path / "data"], tmp_path / "runs", tmp_path / "out", tmp_path / "calibration")


def draw_dots(data: Path) -> None:
    """A surface of its own with a split.csv; `bars` is left out, so that its training must fail."""
    rows = ["path,surface,split,kind,mask,group,fold"]
    for number in range(10):
        path = f"dots/train/good/{number}.png"
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (128, 128)).astype(np.uint8)
        assert cv2.imwrite(str(data / path), cv2.GaussianBlur(pixels, (0, 0), 3))
        rows.append(f"{path},dots,train,good,0,{number},{number % 5}")
    (data / "split.csv").write_text("\n".join(rows))


def run_all(recipe: Path, folders: Folders) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.train.everything", str(recipe), f"--data={folders.data[0]}"]
    command += [f"--runs={folders.runs}", f"--out={folders.out}", f"--calibration={folders.calibration}"]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])


def test_a_recipe_for_several_surfaces_is_one_for_each(recipe_file: Path) -> None:
    assert [(r.name, r.surfaces) for r in read_recipes(recipe_file)] == [
        ("tiny-dots", ("dots",)),
        ("tiny-bars", ("bars",)),
    ]
    assert [r.name for r in read_recipes(recipe_file, "bars")] == ["tiny-bars"]
    with pytest.raises(DataError, match="dots, bars"):
        read_recipes(recipe_file, "holes")


def test_the_digest_is_of_what_the_training_depends_on(recipe_file: Path) -> None:
    recipe = read_recipe(recipe_file)
    change = msgspec.structs.replace
    assert digest(change(recipe, blur=2.0)) == digest(recipe)
    assert digest(change(recipe, blur=2.0), ()) != digest(recipe, ())
    assert digest(change(recipe, epochs=2)) != digest(recipe)
    assert digest(change(recipe, input=change(recipe.input, stride=30))) != digest(recipe)


def test_what_is_still_to_be_done(recipe_file: Path, folders: Folders) -> None:
    job = Job(recipe_file, read_recipes(recipe_file)[0], several=True)

    def steps() -> list[str]:
        return [what for what, _ in job.commands(folders)]

    assert steps() == ["train", "bundle"]
    assert next(iter(job.commands(folders)))[1][2:4] == ["--surface", "dots"]
    run, bundle = folders.runs / "tiny-dots", folders.out / "tiny-dots"
    run.mkdir(parents=True)
    bundle.mkdir(parents=True)
    (run / "training.json").write_text(json.dumps({"recipe": digest(job.recipe)}))
    assert steps() == ["bundle"]
    (run / "bundled.json").write_text(json.dumps({"recipe": digest(job.recipe, ())}))
    assert steps() == ["bundle"]
    (bundle / "manifest.toml").write_text("")
    assert steps() == []
    blurred = Job(recipe_file, msgspec.structs.replace(job.recipe, blur=1.0), several=True)
    assert [what for what, _ in blurred.commands(folders)] == ["bundle"]
    (run / "training.json").write_text("{cut off")
    assert steps() == ["train", "bundle"]


def test_a_failure_stops_nothing_else_and_the_second_start_does_nothing(recipe_file: Path, folders: Folders) -> None:
    draw_dots(folders.data[0])
    first = run_all(recipe_file, folders)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "[1/2] tiny-dots 1/1 loss" in first.stdout and "failed: tiny-bars" in first.stdout
    assert "no folder of the surface 'bars'" in (folders.runs / "tiny-bars" / "log.txt").read_text()
    bundle = open_bundle(folders.out / "tiny-dots")
    assert bundle.manifest.surfaces == ("dots",)
    assert bundle.manifest.training.command.endswith("tiny.toml --surface dots")
    second = run_all(recipe_file, folders)
    assert "[1/2] tiny-dots up to date" in second.stdout
