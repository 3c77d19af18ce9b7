"""What the settings of the nearest judges are worth: on drawn cells, by the very judge that the line runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="what chooses settings is not here (extra `train`)")

from edge.bundle import Graph
from edge.inspection.nearest import worst_mean
from edge.offline.teach import Seen, Settings, make_memory
from tools.train.data import Sample, read_samples, strangers
from tools.train.nearest import SURFACES
from tools.train.nearest_settings import CELLS, EVEN, TILES, WORST, choose_on_others, halves, score_settings

GRAPH = Graph(file="model.onnx", sha256="0" * 64, format="onnx", precision="int8")


def sample(name: str, part: str, kind: str = "good", split: str = "test") -> Sample:
    return Sample(Path(name), "dark", split, kind, None, 0, part)


def test_a_settings_score_is_the_one_of_a_judge_made_with_it() -> None:
    cells = np.random.default_rng(0).random((12, 120, 6)).astype(np.float16)
    seen, taught = Seen(GRAPH, np.zeros((12, 1), np.float32), cells), np.arange(12) < 8
    found = score_settings(seen, taught, (1, 1), 50)
    assert len(found) == len(WORST) * len(EVEN)
    for settings, scores in found.items():
        memory = make_memory(seen, taught, settings)
        by_judge = [worst_mean(memory.distances(image.astype(np.float32)), settings.worst) for image in cells[~taught]]
        assert scores == pytest.approx(by_judge, rel=1e-5)


def test_what_is_shipped_is_among_what_was_tried() -> None:
    for surface in SURFACES.values():
        its = surface.settings
        assert its == replace(Settings(), tiles=its.tiles, worst=its.worst, even=its.even, cells=its.cells)
        assert its.tiles in TILES and its.worst in WORST and its.even in EVEN and its.cells in CELLS


def test_no_part_is_in_both_halves() -> None:
    test = [sample(f"{n}", f"{n // 3}", "bad" if n % 3 == 2 else "good") for n in range(60)]
    for chosen_on, reported_on in halves(test):
        assert not {test[i].group for i in chosen_on} & {test[i].group for i in reported_on}
        assert len(chosen_on) + len(reported_on) == len(test)


def test_a_value_that_is_luck_is_not_reported() -> None:
    """Options that are good on some images alone: the best by all is better than chance, chosen by others it is not."""
    rng = np.random.default_rng(1)
    test = [sample(f"{n}", f"{n}", "bad" if n % 2 else "good") for n in range(40)]
    lucky = rng.random((200, 40))
    (mean, low, high), favourite = choose_on_others(test, list(range(200)), lambda o, of: float(lucky[o][of].mean()))
    assert lucky.mean(axis=1).max() > 0.6 > mean > 0.4
    assert low <= mean <= high and favourite in range(200)


def test_a_part_that_was_taught_is_no_stranger() -> None:
    samples = [sample("a", "1", split="train"), sample("b", "1", "bad"), sample("c", "2", "bad"), sample("d", "3")]
    assert [s.path.name for s in strangers(samples)] == ["c", "d"]


def test_without_a_table_an_image_is_a_part_of_its_own_whatever_its_name(tmp_path: Path) -> None:
    for folder in ("train/good", "test/good", "test/bad"):
        path = tmp_path / "dark" / folder / "000.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.zeros((8, 8), np.uint8))
    assert len(strangers(read_samples([tmp_path], "dark"))) == 2
