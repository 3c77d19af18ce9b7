"""`edge reference`: from good images to a file that the daemon watches by."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge.cli import main
from edge.config import Line, read_line
from edge.drift.drift import open_drift
from edge.drift.features import FEATURES
from edge.drift.reference import read_reference
from edge.inspection.assemble import open_pipeline
from tests.drift.test_drift import Camera
from tests.lines import DARK, write_line

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def config(small_line: Line, tmp_path: Path) -> Path:
    return write_line(tmp_path, small_line.bundles, DARK)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 good dark parts, four that the gate does not know."""
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(5)
    for number in range(84):
        level = 51 if number < 80 else 128
        part = level + rng.normal(0, 1, (64, 64)) + rng.normal(0, 0.5)
        cv2.imwrite(str(folder / f"{number:03d}.png"), part.astype(np.uint8))
    return folder


def reference(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["reference", *map(str, words)])
    return done.exit_code, done.stdout if done.exit_code == 0 else done.output


def test_good_images_become_what_the_daemon_watches_by(small_line: Line, config: Path, images: Path) -> None:
    before = config.read_text()
    code, said = reference(images, "--config", config, "--json")
    assert code == 0
    made = json.loads(said)
    assert made["frames"] == {"dark": 80} and "4 images are not in it: unseen surface" in made["notes"]
    line = read_line(config)
    assert line.config.drift is not None and line.config.drift.reference == "reference.toml"
    assert config.read_text().startswith(before.rstrip("\n"))
    found = read_reference(config.with_name("reference.toml"))
    assert set(found.surfaces["dark"].features) == set(FEATURES)
    pipeline = open_pipeline(line)
    assert found.bundles == {model.manifest.name: model.bundle.sha256 for model in pipeline.models}
    said_too: list[str] = []
    drift = open_drift(line, pipeline.models, said_too.append)
    assert drift is not None and not said_too
    camera = Camera(pipeline, drift)
    assert not camera.show(400)
    (alarm,) = camera.show(400, level=41)
    assert alarm.reason == "light" and alarm.raised
    pipeline.close()


def test_made_again_it_replaces_the_file_and_leaves_the_line_alone(config: Path, images: Path) -> None:
    reference(images, "--config", config)
    text, first = config.read_text(), config.with_name("reference.toml").read_text()
    code, said = reference(images, "--config", config)
    assert code == 0 and "dark: 80 good frames" in said and "note:" in said
    assert config.read_text() == text and config.with_name("reference.toml").read_text() == first


def test_a_line_that_learns_keeps_doing_so_and_is_told(small_line: Line, tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path, small_line.bundles, DARK, "[drift]\nlearn = 500\n")
    text = path.read_text()
    code, said = reference(images, "--config", path)
    assert code == 0 and path.read_text() == text and 'write reference = "reference.toml"' in said


def test_too_few_images_make_none(config: Path, images: Path) -> None:
    few = sorted(images.iterdir())[:49]
    code, said = reference(*few, "--config", config)
    assert code == 16 and "dark: 49 good frames are too few" in said
    assert not config.with_name("reference.toml").exists() and "drift" not in config.read_text()
