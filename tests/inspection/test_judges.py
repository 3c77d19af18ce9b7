"""Gate, judges and the decision: only OK lets a part pass, and a rejected one shows where to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Bundle, open_bundle
from edge.config import Line, read_line
from edge.engines.session import installed, open_session
from edge.errors import BundleError, ConfigError, EdgeError, EngineError, FrameError, ScoreError
from edge.inspection.assemble import open_pipeline
from edge.inspection.decide import decide, reason_of
from edge.inspection.gate import Gate
from edge.inspection.judge import finding
from edge.inspection.model import Model
from edge.inspection.pipeline import Pipeline
from edge.inspection.reconstruction import ReconstructionJudge
from edge.inspection.regions import RegionJudge
from edge.inspection.segdec import SegDecJudge
from edge.records import Admission, Evaluation, Finding, Frame
from edge.vision.image import Pixels
from tests.lines import edit, write_line
from tests.small_line import JUDGE, write_bundle

SIDE = 64
SEEN, UNSEEN = Admission("dark", 0.5, 1.0), Admission("dark", 1.5, 1.0)


def found(score: float) -> Finding:
    return Finding(score, 0.5, (), np.zeros((2, 2), np.float32), 0.5)


@pytest.mark.parametrize(
    ("admission", "answer", "evaluation", "reason"),
    [
        (SEEN, found(0.1), Evaluation.OK, "ok"),
        (SEEN, found(0.5), Evaluation.OK, "ok"),
        (SEEN, found(0.9), Evaluation.NOT_OK, "defect"),
        (SEEN, None, Evaluation.NOT_DECIDABLE, "no_judge"),
        (UNSEEN, None, Evaluation.NOT_DECIDABLE, "unseen_surface"),
        (UNSEEN, found(0.1), Evaluation.NOT_DECIDABLE, "unseen_surface"),
        (UNSEEN, found(0.9), Evaluation.NOT_DECIDABLE, "unseen_surface"),
        (None, found(0.1), Evaluation.OK, "ok"),
        (None, found(0.9), Evaluation.NOT_OK, "defect"),
        (None, None, Evaluation.NOT_DECIDABLE, "no_judge"),
    ],
)
def test_what_was_found_decides(
    admission: Admission | None, answer: Finding | None, evaluation: Evaluation, reason: str
) -> None:
    assert decide(admission, answer) == (evaluation, reason)


NUMBERS = (-np.inf, -1.0, 0.0, 0.5, 1.0, np.inf, np.nan)


def test_nothing_but_a_seen_surface_with_a_score_up_to_its_threshold_is_ok() -> None:
    for distance, limit, score, threshold in product(NUMBERS, repeat=4):
        answer = replace(found(score), threshold=threshold)
        evaluation, _ = decide(Admission("dark", distance, limit), answer)
        assert (evaluation is Evaluation.OK) == (distance <= limit and score <= threshold)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(FrameError("x"), "bad_frame"), (ScoreError("x"), "bad_score"), (EngineError("x"), "engine_failed")],
)
def test_every_fault_of_a_frame_has_its_reason(error: EdgeError, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_fault_of_the_line_is_no_verdict() -> None:
    with pytest.raises(ConfigError):
        reason_of(ConfigError("x"))


def model(line: Line, name: str) -> Model:
    bundle = open_bundle(line.bundles / name)
    graph = bundle.manifest.graph[0]
    return Model(bundle, graph, open_session("onnx", bundle.read(graph), 1, "cpu"))


def frame(level: int, spot: int | None = None) -> Frame:
    pixels: Pixels = np.full((SIDE, SIDE), level, np.uint8)
    if spot is not None:
        pixels[20:28, 30:38] = spot
    return Frame(pixels, 255)


def test_the_gate_tells_its_surfaces_apart_and_sends_others_away(small_line: Line) -> None:
    gate = Gate(model(small_line, "gate"))
    dark, light, neither = (gate.admit(frame(level)) for level in (51, 204, 128))
    assert (dark.surface, dark.seen, light.surface, light.seen) == ("dark", True, "light", True)
    assert not neither.seen and neither.distance > neither.threshold
    assert dark.distance == pytest.approx(0, abs=1e-4)


def test_a_judge_passes_the_plain_and_boxes_the_spot(small_line: Line) -> None:
    judge = ReconstructionJudge(model(small_line, "smoother"))
    good, bad = judge.inspect(frame(51)), judge.inspect(frame(51, spot=255))
    assert good.score < judge.threshold and not good.defects
    assert bad.score > judge.threshold and bad.score_map.shape == (SIDE, SIDE)
    x, y, w, h = bad.defects[0].bbox
    assert x <= 31 and y <= 21 and x + w >= 37 and y + h >= 27
    assert bad.defects[0].label == "defect"


def test_a_score_that_is_no_number_is_an_error_that_names_the_judge(small_line: Line) -> None:
    judge = ReconstructionJudge(model(small_line, "brittle"))
    with pytest.raises(ScoreError, match="brittle"):
        judge.inspect(frame(220, spot=0))


@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, SIDE * SIDE - 1), st.booleans())
def test_no_score_and_no_map_that_is_not_finite_gets_through(
    small_line: Line, value: float, place: int, in_map: bool
) -> None:
    bundle = open_bundle(small_line.bundles / "smoother")
    scores = np.zeros((SIDE, SIDE), np.float32)
    if in_map:
        scores.flat[place] = value
    with pytest.raises(ScoreError, match="smoother"):
        finding(bundle, 0.0 if in_map else value, 0.5, scores, frame(51))


@given(st.floats(0, 1, width=32), st.floats(0, 1), st.integers(0, 40), st.integers(1, 99), st.integers(1, 99))
def test_a_rejected_frame_always_shows_where_to_look(
    small_line: Line, worst: float, map_limit: float, least_area: int, height: int, width: int
) -> None:
    """Whatever the map holds: even where nothing of it is above its own threshold, or all is too small to be named."""
    bundle = open_bundle(small_line.bundles / "smoother")
    changed = msgspec.structs.replace
    manifest = changed(
        bundle.manifest,
        thresholds=changed(bundle.manifest.thresholds, map=map_limit),
        scoring=changed(bundle.manifest.scoring, least_area=least_area),
    )
    scores = np.zeros((8, 8), np.float32)
    scores[3, 5] = worst
    seen = Frame(np.zeros((height, width), np.uint8), 255)
    rejected = finding(changed(bundle, manifest=manifest), 0.9, 0.5, scores, seen)
    assert rejected.defects
    for defect in rejected.defects:
        x, y, w, h = defect.bbox
        assert w >= 1 and h >= 1 and 0 <= x <= width - w and 0 <= y <= height - h
    assert not finding(changed(bundle, manifest=manifest), 0.5, 0.5, scores, seen).defects


def without_threshold(line: Line, name: str, key: str) -> Bundle:
    bundle = open_bundle(line.bundles / name)
    changed = msgspec.structs.replace
    thresholds = changed(bundle.manifest.thresholds, **{key: None})
    return changed(bundle, manifest=changed(bundle.manifest, thresholds=thresholds))


def test_a_judge_without_a_threshold_is_refused_when_it_is_opened(small_line: Line) -> None:
    whole = model(small_line, "smoother")
    for key in ("score", "map"):
        lacking = replace(whole, bundle=without_threshold(small_line, "smoother", key))
        with pytest.raises(BundleError, match=rf"thresholds\.{key}"):
            ReconstructionJudge(lacking)
    lacking = replace(whole, bundle=without_threshold(small_line, "smoother", "score"))
    assert ReconstructionJudge(lacking, 0.3).threshold == 0.3


@pytest.fixture
def pipeline(small_line: Line, own_cache: Path) -> Iterator[Pipeline]:
    opened = open_pipeline(small_line)
    yield opened
    opened.close()


def test_a_frame_goes_through_gate_and_judge(pipeline: Pipeline) -> None:
    answers = [pipeline.inspect(frame(51)), pipeline.inspect(frame(51, 255)), pipeline.inspect(frame(204))]
    assert [a.reason for a in answers] == ["ok", "defect", "no_judge"]
    assert [a.surface for a in answers] == ["dark", "dark", "light"]
    assert pipeline.inspect(frame(128)).surface is None


def test_the_lines_own_threshold_goes_before_the_manifests(small_line: Line, tmp_path: Path, own_cache: Path) -> None:
    path = edit(write_line(tmp_path, small_line.bundles), '"smoother"', '"smoother", threshold = 100')
    pipeline = open_pipeline(read_line(path))
    lenient = pipeline.inspect(frame(51, 255))
    assert lenient.evaluation is Evaluation.OK and lenient.finding is not None and lenient.finding.threshold == 100
    pipeline.close()


def test_a_line_without_a_gate_asks_its_only_judge(small_line: Line, tmp_path: Path, own_cache: Path) -> None:
    pipeline = open_pipeline(read_line(edit(write_line(tmp_path, small_line.bundles), 'gate = "gate"', "")))
    assert [pipeline.inspect(frame(51, spot)).reason for spot in (None, 255)] == ["ok", "defect"]
    assert pipeline.inspect(frame(51)).surface == "dark"
    pipeline.close()


DENSE = '[dense]\nstride = 32\nthresholds = { score = 0.2, map = 0.1, how = "by hand" }\n'


def thick_line(line: Line, folder: Path, dense: str, judge: str) -> Line:
    """The small line with a smoother of sixteen patches, its gate beside it."""
    onnx = pytest.importorskip("onnx", reason="onnx, which writes the graph, is not here (extra `test`)")
    pool = onnx.helper.make_node("AveragePool", ["in"], ["out"], kernel_shape=[15, 15], pads=[7, 7, 7, 7])
    top = JUDGE.format(name="smoother", surface="dark").replace("stride = 32", "stride = 16")
    write_bundle(folder / "smoother", top + dense, lambda: [pool], 32)
    (folder / "gate").symlink_to(line.bundles / "gate")
    return read_line(write_line(folder, ".", f'[judges.dark]\nbundle = "smoother"\n{judge}'))


def test_a_dense_judge_has_fewer_patches_and_thresholds_of_its_own(
    small_line: Line, tmp_path: Path, own_cache: Path
) -> None:
    bad, found = frame(51, 255), {}
    for mode in ("full", "dense"):
        (tmp_path / mode).mkdir()
        pipeline = open_pipeline(thick_line(small_line, tmp_path / mode, DENSE, f'mode = "{mode}"\n'))
        found[mode] = pipeline.inspect(bad).finding
        assert pipeline.judges["dark"].model.manifest.input.patches == {"full": 16, "dense": 4}[mode]
        pipeline.close()
    full, dense = found["full"], found["dense"]
    assert full is not None and dense is not None
    assert (full.threshold, dense.threshold, dense.map_threshold) == (0.05, 0.2, 0.1)
    alone = ReconstructionJudge(model(small_line, "smoother"))  # the same network, its patches 32 px apart
    np.testing.assert_array_equal(dense.score_map, alone.inspect(bad).score_map)
    assert not np.array_equal(full.score_map, dense.score_map)


def test_regions_of_a_dense_judge_are_one_batch_and_dense_too(
    small_line: Line, tmp_path: Path, own_cache: Path
) -> None:
    table = 'mode = "dense"\n[judges.dark.regions.all]\nboxes = [[0, 0, 64, 64]]\n'
    table += "[judges.dark.regions.most]\nboxes = [[0, 0, 60, 60]]\n"
    pipeline = open_pipeline(thick_line(small_line, tmp_path, DENSE, table))
    answer = pipeline.inspect(frame(51)).finding
    assert answer is not None and {s.threshold for scored in answer.regions.values() for s in scored} == {0.2}
    judge = pipeline.judges["dark"]
    assert isinstance(judge, RegionJudge) and len(judge.models) == 1
    pipeline.close()


def test_a_dense_judge_of_a_bundle_without_that_mode_is_refused(
    small_line: Line, tmp_path: Path, own_cache: Path
) -> None:
    with pytest.raises(BundleError, match="smoother has no dense mode"):
        open_pipeline(thick_line(small_line, tmp_path, "", 'mode = "dense"\n'))


@pytest.mark.parametrize("stride", [16, 33])
def test_a_dense_mode_of_no_use_is_refused(small_line: Line, tmp_path: Path, stride: int) -> None:
    with pytest.raises(BundleError, match=rf"dense\.stride = {stride}"):
        thick_line(small_line, tmp_path, DENSE.replace("32", str(stride)), "")


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_segdec_answers_with_probabilities_and_a_map_of_an_eighth(exported_models: Path) -> None:
    if not (exported_models / "segdec-commutator" / "manifest.toml").is_file():
        pytest.skip(f"no segdec-commutator in {exported_models}")
    bundle = open_bundle(exported_models / "segdec-commutator")
    graph = next(g for g in bundle.manifest.graph if g.format == "onnx" and g.precision == "int8")
    judge = SegDecJudge(Model(bundle, graph, open_session("onnx", bundle.read(graph), 1, "cpu")), threshold=0.0)
    golden = bundle.read_arrays(bundle.manifest.golden)["frame"].astype(np.uint8)
    answer = judge.inspect(Frame(golden, 255))
    rule = bundle.manifest.input
    assert answer.score_map.shape == (rule.height // 8, rule.width // 8)
    assert 0 <= answer.score <= 1 and answer.score_map.min() >= 0 and answer.score_map.max() <= 1
    assert answer.defects, "above a threshold of 0 everything is rejected, and shows where"
