"""What the settings of the nearest judges are worth: on drawn cells, by the very judge that the line runs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="what chooses settings is not here (extra `train`)")

from sklearn.metrics import roc_auc_score

from edge.bundle import Graph
from edge.inspection.nearest import worst_mean
from edge.offline.teach import Seen, Settings, make_memories
from tools.train.data import Sample, read_samples, strangers
from tools.train.nearest import SURFACES
from tools.train.nearest_settings import (
    CELLS,
    EVEN,
    TILES,
    WORST,
    judged_by_others,
    mean_accuracy,
    ordered_by_others,
    score_settings,
)

GRAPH = Graph(file="model.onnx", sha256="0" * 64, format="onnx", precision="int8")


def sample(name: str, part: str, kind: str = "good", split: str = "test") -> Sample:
    return Sample(Path(name), "dark", split, kind, None, 0, part)


def test_a_settings_score_is_the_one_of_a_judge_made_with_it() -> None:
    cells = np.random.default_rng(0).random((12, 120, 6)).astype(np.float16)
    seen, taught = Seen(GRAPH, np.zeros((12, 1), np.float32), cells), np.arange(12) < 8
    found = score_settings(seen, taught, (1, 1), 50)
    assert len(found) == len(WORST) * len(EVEN)
    for its, scores in found.items():
        (memory,) = make_memories([seen], taught, its)
        by_judge = [worst_mean(memory.distances(image.astype(np.float32)), its.worst) for image in cells[~taught]]
        assert scores == pytest.approx(by_judge, rel=1e-5)


def test_what_is_shipped_is_among_what_was_tried() -> None:
    for surface in SURFACES.values():
        its = surface.settings
        assert its == replace(Settings(), tiles=its.tiles, worst=its.worst, even=its.even, cells=its.cells)
        assert its.tiles in TILES and its.worst in WORST and its.even in EVEN and its.cells in CELLS


def test_an_order_by_luck_is_not_reported() -> None:
    """Options that are good on some images alone: the best by all is better than chance, chosen by others it is not."""
    bad, lucky = np.arange(40) % 2 == 1, np.random.default_rng(1).random((200, 40))
    ordered, favourite = ordered_by_others(lucky, bad, np.arange(40))
    assert max(roc_auc_score(bad, row) for row in lucky) > 0.7 > ordered
    assert 0 <= favourite < 200


def test_one_option_is_worth_its_auroc() -> None:
    bad, scores = np.arange(30) % 3 == 2, np.random.default_rng(2).integers(0, 6, (1, 30)).astype(float)
    ordered, favourite = ordered_by_others(scores, bad, np.arange(30) // 2)
    assert ordered == pytest.approx(roc_auc_score(bad, scores[0])) and favourite == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_part_has_no_say_in_its_own_order(seed: int) -> None:
    """As by sorting out the images of the two parts one pair after the other."""
    rng = np.random.default_rng(seed)
    bad, parts, scores = np.arange(14) % 2 == 1, rng.integers(0, 9, 14), rng.integers(0, 9, (5, 14)).astype(float)
    found = []
    for i, j in product(np.flatnonzero(~bad), np.flatnonzero(bad)):
        kept = (parts != parts[i]) & (parts != parts[j])
        above = scores[:, kept & bad][:, None] - scores[:, kept & ~bad][:, :, None]
        value = ((above > 0) + 0.5 * (above == 0)).sum((1, 2))
        pair = scores[value == value.max()][:, [i, j]]
        found.append(np.mean((pair[:, 1] > pair[:, 0]) + 0.5 * (pair[:, 1] == pair[:, 0])))
    assert ordered_by_others(scores, bad, parts)[0] == pytest.approx(np.mean(found))


def test_a_part_has_no_say_in_its_own_verdict() -> None:
    """Each option is right on parts where the other is wrong: without its own say a part gets the other's verdict."""
    bad, parts = np.array([False, True] * 4), np.arange(8) // 2
    rejected = np.stack([np.where(parts >= 2, bad, ~bad), np.where(parts < 2, bad, ~bad)])
    assert mean_accuracy(rejected[0], bad) == mean_accuracy(rejected[1], bad) == 0.5
    assert judged_by_others(rejected, bad, parts) == 0


def test_a_part_that_was_taught_is_no_stranger() -> None:
    samples = [sample("a", "1", split="train"), sample("b", "1", "bad"), sample("c", "2", "bad"), sample("d", "3")]
    assert [s.path.name for s in strangers(samples)] == ["c", "d"]


def test_without_a_table_an_image_is_a_part_of_its_own_whatever_its_name(tmp_path: Path) -> None:
    for folder in ("train/good", "test/good", "test/bad"):
        path = tmp_path / "dark" / folder / "000.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.zeros((8, 8), np.uint8))
    assert len(strangers(read_samples([tmp_path], "dark"))) == 2
