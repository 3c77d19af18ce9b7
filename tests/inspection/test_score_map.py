"""A network that answers with the map: probabilities shown as they are, the score from the smoothed map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import Scoring, open_bundle
from edge.engines.session import installed, open_session
from edge.errors import BundleError
from edge.inspection.model import Model
from edge.inspection.score_map import ScoreMapJudge, smoothed_score
from edge.records import Frame
from tests.small_line import write_bundle

SIDE = 64
MAP = """format = 1
name = "finder"
kind = "map"
surfaces = ["dark"]
outputs = ["out"]
input = { width = 64, height = 64 }
scoring = { blur = 2.0 }
thresholds = { score = 0.4, map = 0.5, how = "by hand" }
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    helper = pytest.importorskip("onnx.helper", reason="onnx, which writes the small graph, is not here (extra `test`)")
    if not installed("onnx"):
        pytest.skip("ONNX Runtime is not here (extra `onnx`)")
    folder: Path = tmp_path_factory.mktemp("map") / "finder"

    def bright() -> list[Any]:
        """Logits: 20 times the grey, less 10."""
        steep = helper.make_node("Constant", [], ["steep"], value_float=20.0)
        half = helper.make_node("Constant", [], ["half"], value_float=10.0)
        return [
            steep,
            half,
            helper.make_node("Mul", ["in", "steep"], ["x"]),
            helper.make_node("Sub", ["x", "half"], ["out"]),
        ]

    write_bundle(folder, MAP, bright, SIDE)
    bundle = open_bundle(folder)
    graph = bundle.manifest.graph[0]
    return Model(bundle, graph, open_session("onnx", bundle.read(graph), 1, "cpu"))


def frame(spot: int) -> Frame:
    pixels = np.full((SIDE, SIDE), 51, np.uint8)
    pixels[20 : 20 + spot, 30 : 30 + spot] = 255
    return Frame(pixels, 255)


def test_a_spot_is_rejected_and_boxed_to_the_pixel(model: Model) -> None:
    found = ScoreMapJudge(model).inspect(frame(8))
    assert found.score > 0.4 and found.score_map.shape == (SIDE, SIDE)
    assert found.score_map.max() == pytest.approx(1, abs=1e-3)
    assert [defect.bbox for defect in found.defects] == [(30, 20, 8, 8)]


def test_a_single_bright_pixel_is_smoothed_away(model: Model) -> None:
    found = ScoreMapJudge(model).inspect(frame(1))
    assert found.score_map.max() > 0.9 and found.score < 0.1 and not found.defects


def test_frames_of_one_batch_are_scored_apart(model: Model) -> None:
    judge = ScoreMapJudge(model)
    scores = [score for score, _ in judge.score_all([frame(8), frame(0)])]
    assert scores == pytest.approx([judge.inspect(frame(8)).score, judge.inspect(frame(0)).score], abs=1e-6)


def test_pooling_is_the_manifests() -> None:
    scores = np.zeros((8, 8), np.float32)
    scores[2, 2] = 1
    assert smoothed_score(scores, Scoring()) == 1
    assert smoothed_score(scores, Scoring(pooling="mean")) == pytest.approx(1 / 64)
    assert 0 < smoothed_score(scores, Scoring(blur=1.0)) < 0.2


def test_a_threshold_that_no_probability_passes_is_refused(model: Model) -> None:
    with pytest.raises(BundleError, match=r"0\.\.1"):
        ScoreMapJudge(model, 1.5)
