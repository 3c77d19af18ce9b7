"""A rejected frame's kind of defect: told by features of frame and map, and never a reason to let the part pass."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import Bundle, open_bundle
from edge.config import Line, read_line
from edge.errors import BundleError, ConfigError
from edge.inspection.assemble import open_pipeline
from edge.inspection.files import read_frame
from edge.inspection.kinds import GOOD, Classifier, Kinds, map_frame, maps_of, probabilities, read_classifier
from edge.inspection.pipeline import Inspection, Pipeline
from edge.records import Evaluation, Frame
from tests.lines import edit

SIDE = 64
HERE = Path("arrays.npz")


def by_map(bias: float = 0.0) -> Classifier:
    """By the mean of the map alone, the second feature of the small line: much of it is `large`, a little `small`."""
    weights = np.array([[0.0, 1.0, -1.0]], np.float32) * 10_000
    return Classifier((GOOD, "large", "small"), np.array([1]), ((weights, np.array([bias, -40, 40], np.float32)),), 1.0)


def write_kinds(folder: Path, classifier: Classifier, judge: Bundle, name: str = "smoother") -> Bundle:
    pack = pytest.importorskip("edge.offline.pack", reason="what writes bundles is not here (extra `train`)")
    packed = io.BytesIO()
    np.savez(packed, judge=sorted(maps_of(judge)), **classifier.arrays())  # type: ignore[arg-type]  # its stub
    fields = {
        "name": "kinds-dark",
        "kind": "kinds",
        "surfaces": ["dark"],
        "judge": name,
        "thresholds": {"how": "none"},
        "training": {"data": "drawn", "licence": "none", "images": 0, "date": "-", "command": "-"},
    }
    bundle: Bundle = pack.write_borrowing(
        folder / "kinds-dark", fields, open_bundle(folder / "gate"), packed.getvalue()
    )
    return bundle


@pytest.fixture
def bundles(small_line: Line, tmp_path: Path) -> Path:
    shutil.copytree(small_line.bundles, tmp_path / "bundles")
    return tmp_path / "bundles"


def with_kinds(bundles: Path, extra: str = "") -> Line:
    return read_line(edit(bundles / "line.toml", '"smoother"', f'"smoother", kinds = "kinds-dark"{extra}'))


def frame(spot: int = 0) -> Frame:
    pixels = np.full((SIDE, SIDE), 51, np.uint8)
    pixels[20 : 20 + spot, 30 : 30 + spot] = 255
    return Frame(pixels, 255)


@pytest.fixture
def pipeline(bundles: Path, own_cache: Path) -> Iterator[Pipeline]:
    write_kinds(bundles, by_map(), open_bundle(bundles / "smoother"))
    opened = open_pipeline(with_kinds(bundles))
    yield opened
    opened.close()


def labels(inspection: Inspection) -> set[str]:
    assert inspection.finding is not None
    return {defect.label for defect in inspection.finding.defects}


def test_a_rejected_frame_gets_its_kind_as_label(pipeline: Pipeline) -> None:
    large, small = pipeline.inspect(frame(spot=14)), pipeline.inspect(frame(spot=4))
    assert [a.evaluation for a in (large, small)] == [Evaluation.NOT_OK, Evaluation.NOT_OK]
    assert (labels(large), labels(small)) == ({"large"}, {"small"})
    assert large.finding is not None and all(d.label_score and d.label_score > 0.5 for d in large.finding.defects)
    assert large.times_ns["kinds"] > 0
    assert [model.manifest.name for model in large.models] == ["gate", "kinds-dark", "smoother"]


def test_a_good_frame_is_not_asked_for_a_kind(pipeline: Pipeline) -> None:
    good = pipeline.inspect(frame())
    assert good.evaluation is Evaluation.OK and "kinds" not in good.times_ns
    assert [model.manifest.name for model in good.models] == ["gate", "smoother"]


def test_the_gates_session_serves_the_kinds_too(pipeline: Pipeline) -> None:
    assert pipeline.gate is not None
    assert pipeline.kinds["dark"].model.session is pipeline.gate.model.session


def test_a_kind_that_is_good_does_not_let_the_part_pass(bundles: Path, own_cache: Path) -> None:
    write_kinds(bundles, by_map(bias=1e6), open_bundle(bundles / "smoother"))
    opened = open_pipeline(with_kinds(bundles))
    answer = opened.inspect(frame(spot=14))
    assert answer.evaluation is Evaluation.NOT_OK and labels(answer) == {"defect"}
    opened.close()


def test_a_kind_that_cannot_be_told_leaves_the_rejection(bundles: Path, own_cache: Path) -> None:
    astray = by_map()
    write_kinds(bundles, Classifier(astray.kinds, np.array([7]), astray.layers, 1.0), open_bundle(bundles / "smoother"))
    opened = open_pipeline(with_kinds(bundles))
    answer = opened.inspect(frame(spot=14))
    assert (answer.evaluation, answer.reason, labels(answer)) == (Evaluation.NOT_OK, "defect", {"defect"})
    assert "kinds-dark" in answer.detail
    opened.close()


def test_kinds_of_another_judge_are_refused(bundles: Path, own_cache: Path) -> None:
    write_kinds(bundles, by_map(), open_bundle(bundles / "brittle"))
    with pytest.raises(BundleError, match="make it anew"):
        open_pipeline(with_kinds(bundles))
    write_kinds(bundles, by_map(), open_bundle(bundles / "smoother"), name="brittle")
    with pytest.raises(BundleError, match="another brittle"):
        open_pipeline(read_line(bundles / "line.toml"))


def test_a_bundle_that_tells_no_kinds_is_refused(bundles: Path, own_cache: Path) -> None:
    path = edit(bundles / "line.toml", '"smoother"', '"smoother", kinds = "brittle"')
    with pytest.raises(ConfigError, match="tells no kinds"):
        open_pipeline(read_line(path))


def test_kinds_and_regions_are_one_or_the_other(bundles: Path) -> None:
    with pytest.raises(ConfigError, match="regions"):
        with_kinds(bundles, ", regions = { left = { boxes = [[0, 0, 8, 8]] } }")


def test_a_map_becomes_a_picture() -> None:
    drawn = map_frame(np.array([[-1.0, 0.0, 0.25, 0.5, 2.0]], np.float32), 0.5)
    assert drawn.pixels.tolist() == [[0, 0, 127, 255, 255]] and drawn.full_scale == 255


def test_layers_answer_with_a_softmax() -> None:
    rng = np.random.default_rng(1)
    shapes = ((3, 5), (5, 4))
    layers = tuple(
        (rng.standard_normal(s).astype(np.float32), rng.standard_normal(s[1]).astype(np.float32)) for s in shapes
    )
    x = rng.standard_normal((6, 3)).astype(np.float32)
    told = probabilities(layers, x)
    hidden = np.maximum(x @ layers[0][0] + layers[0][1], 0)
    powers = np.exp(hidden @ layers[1][0] + layers[1][1])
    np.testing.assert_allclose(told, powers / powers.sum(1, keepdims=True), rtol=1e-4)
    assert np.isfinite(probabilities(layers, x * np.float32(1e6))).all()


def test_arrays_come_back_as_they_went() -> None:
    back = read_classifier(by_map().arrays(), HERE)
    assert back.kinds == (GOOD, "large", "small") and back.full == 1.0
    np.testing.assert_array_equal(back.layers[0][0], by_map().layers[0][0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights_0": np.zeros((2, 3), np.float32)}, "do not fit"),
        ({"bias_0": np.array([0, np.nan, 0], np.float32)}, "finite"),
        ({"kinds": np.array(["one"])}, "1 kinds"),
        ({"full": np.array(0.0)}, "full"),
        ({"full": np.zeros(2)}, "arrays.npz"),
        ({"chosen": np.array([-1])}, "do not fit"),
    ],
)
def test_arrays_that_make_no_classifier_are_refused(change: dict[str, NDArray[np.generic]], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        read_classifier({**by_map().arrays(), **change}, HERE)


def test_a_missing_array_is_named() -> None:
    arrays = by_map().arrays()
    del arrays["chosen"]
    with pytest.raises(BundleError, match="chosen"):
        read_classifier(arrays, HERE)


@pytest.fixture(scope="module")
def shipped_line(exported_models: Path, own_cache: Path) -> Iterator[Pipeline]:
    pipeline = open_pipeline(read_line(exported_models / "line.toml"))
    yield pipeline
    pipeline.close()


def test_the_shipped_line_gives_most_kept_back_tile_defects_their_real_kind(
    shipped_line: Pipeline, shared_data: Path
) -> None:
    """Fold 4: neither the judge nor the kinds saw it."""
    with (shared_data / "split.csv").open(newline="") as rows:
        kept = [r for r in csv.DictReader(rows) if (r["surface"], r["fold"]) == ("magnetic_tile", "4")]
    told = []
    for row in kept:
        if row["kind"] != GOOD:
            finding = shipped_line.inspect(read_frame(shared_data / row["path"])).finding
            told += [defect.label == row["kind"] for defect in finding.defects[:1]] if finding else []
    assert len(told) > 30
    assert np.mean(told) > 0.7


def test_kinds_of_a_nearest_judge_that_was_taught_again_are_refused(shipped_line: Pipeline) -> None:
    """Its graphs are the gate's and stay the same; its memory does not."""
    kinds, judge = shipped_line.kinds["metal_nut"], shipped_line.judges["metal_nut"].model.bundle
    memory = judge.manifest.arrays
    assert memory is not None
    again = msgspec.structs.replace(judge.manifest, arrays=msgspec.structs.replace(memory, sha256="0" * 64))
    with pytest.raises(BundleError, match="taught on the maps of another nearest-metal_nut"):
        Kinds(kinds.model, msgspec.structs.replace(judge, manifest=again))
