"""Named regions of a frame: each box a patch of its own, the worst of them the frame's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.config import Line, read_line
from edge.errors import BundleError, ConfigError
from edge.inspection.assemble import line_bundles, open_pipeline
from edge.inspection.pipeline import Inspection, Pipeline
from edge.inspection.regions import RegionJudge, badness, worst
from edge.records import Evaluation, Finding, Frame, RegionScore
from edge.vision.draw import annotate
from tests.lines import write_line
from tests.sessions import FaultySession
from tests.strip import REGIONS, SIDE, VIALS, box, regions, strip

pytestmark = pytest.mark.usefixtures("own_cache")


def judged(pipeline: Pipeline, pixels: NDArray[np.uint8]) -> tuple[Inspection, Finding]:
    inspection = pipeline.inspect(Frame(pixels, 255))
    assert inspection.finding is not None, inspection.detail
    return inspection, inspection.finding


@pytest.fixture(scope="module")
def pipeline(small_line: Line, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("regions")
    opened = open_pipeline(read_line(write_line(folder, small_line.bundles, regions())))
    yield opened
    opened.close()


def opened(line: Line, folder: Path, table: str) -> Pipeline:
    return open_pipeline(read_line(write_line(folder, line.bundles, table)))


def test_a_good_frame_has_a_score_for_each_box_of_each_region(pipeline: Pipeline) -> None:
    inspection, finding = judged(pipeline, strip())
    assert inspection.evaluation is Evaluation.OK and not finding.defects
    assert list(finding.regions) == list(REGIONS)
    for number, name in enumerate(REGIONS):
        assert [list(scored.box) for scored in finding.regions[name]] == [box(vial, number) for vial in range(VIALS)]
        assert all(scored.score <= scored.threshold == 0.05 for scored in finding.regions[name])


@pytest.mark.parametrize(("vial", "region"), [(0, 0), (2, 2), (4, 3)])
def test_one_rejected_box_rejects_the_frame_and_its_defect_is_where_it_is(
    pipeline: Pipeline, vial: int, region: int
) -> None:
    inspection, finding = judged(pipeline, strip(vial, region))
    assert (inspection.evaluation, inspection.reason) == (Evaluation.NOT_OK, "defect")
    rejected = [
        (name, i) for name, all_ in finding.regions.items() for i, s in enumerate(all_) if s.score > s.threshold
    ]
    assert rejected == [(REGIONS[region], vial)]
    assert finding.score == worst(finding.regions[REGIONS[region]]).score > finding.threshold
    assert {defect.region for defect in finding.defects} == {REGIONS[region]}
    x, y, w, h = finding.defects[0].bbox
    left, top = box(vial, region)[:2]
    assert left <= x <= left + 21 and top <= y <= top + 21 and x + w >= left + 27 and y + h >= top + 27
    assert x + w <= left + SIDE and y + h <= top + SIDE


def test_what_lies_outside_all_regions_is_not_looked_at(small_line: Line, tmp_path: Path) -> None:
    table = '[judges.dark]\nbundle = "smoother"\n[judges.dark.regions.flag]\nboxes = [[0, 0, 64, 64]]\n'
    pipeline = opened(small_line, tmp_path, table)
    assert pipeline.inspect(Frame(strip(1, 1), 255)).evaluation is Evaluation.OK
    assert pipeline.inspect(Frame(strip(0, 0), 255)).evaluation is Evaluation.NOT_OK
    pipeline.close()


def test_a_box_outside_the_frame_makes_it_undefined_and_names_the_region(pipeline: Pipeline) -> None:
    inspection = pipeline.inspect(Frame(strip()[:, :-1], 255))
    assert (inspection.evaluation, inspection.reason) == (Evaluation.UNDEFINED, "bad_frame")
    assert "region flag" in inspection.detail and "319 x 256" in inspection.detail and "line.toml" in inspection.detail


def test_a_box_that_cannot_be_scored_makes_the_whole_frame_undefined(small_line: Line, tmp_path: Path) -> None:
    table = '[judges.light]\nbundle = "brittle"\n[judges.light.regions.a]\nboxes = [[0, 0, 64, 64], [64, 0, 64, 64]]\n'
    pipeline = opened(small_line, tmp_path, table)
    pixels = np.full((64, 128), 204, np.uint8)
    pixels[0, 100] = 0
    inspection = pipeline.inspect(Frame(pixels, 255))
    assert (inspection.evaluation, inspection.reason) == (Evaluation.UNDEFINED, "bad_score")
    pipeline.close()


def test_a_region_has_its_own_threshold_and_the_others_have_the_judges(small_line: Line, tmp_path: Path) -> None:
    table = regions().replace('"smoother"\n', '"smoother"\nthreshold = 0.2\n', 1) + "threshold = 100\n"
    pipeline = opened(small_line, tmp_path, table)
    _, lenient = judged(pipeline, strip(1, 3))
    assert {name: scores[0].threshold for name, scores in lenient.regions.items()} == {
        "flag": 0.2,
        "top": 0.2,
        "liquid": 0.2,
        "bottom": 100,
    }
    assert lenient.score <= lenient.threshold
    assert pipeline.inspect(Frame(strip(1, 2), 255)).evaluation is Evaluation.NOT_OK
    pipeline.close()


def copied(line: Line, folder: Path, name: str, **changes: str) -> None:
    """A bundle of the small line under another name, its manifest changed."""
    there = folder / name
    there.mkdir()
    for file in (line.bundles / "smoother").iterdir():
        data = file.read_text() if file.name == "manifest.toml" else ""
        for old, new in changes.items():
            data = data.replace(f"{old} = 0.05", f"{old} = {new}")
        (there / file.name).write_bytes(data.encode() if data else file.read_bytes())


def test_a_region_may_have_a_bundle_of_its_own_whose_threshold_is_not_the_judges(
    small_line: Line, tmp_path: Path
) -> None:
    copied(small_line, tmp_path, "gentle", score="0.4")
    for name in ("gate", "smoother"):
        (tmp_path / name).symlink_to(small_line.bundles / name)
    table = regions().replace('"smoother"\n', '"smoother"\nthreshold = 0.2\n', 1) + 'bundle = "gentle"\n'
    line = read_line(write_line(tmp_path, ".", table))
    assert list(line_bundles(line)) == ["gate", "smoother", "gentle"]
    pipeline = open_pipeline(line)
    inspection, finding = judged(pipeline, strip())
    assert {name: scores[0].threshold for name, scores in finding.regions.items()} == {
        "flag": 0.2,
        "top": 0.2,
        "liquid": 0.2,
        "bottom": 0.4,
    }
    assert len(inspection.models) == 3
    pipeline.close()


def test_a_wrong_region_is_named_with_its_file(small_line: Line, tmp_path: Path) -> None:
    for old, new, named in (
        ("boxes = [[0, 0, 64, 64]", "boxes = [[-1, 0, 64, 64]", r"regions\.flag\.boxes\[0\]\[0\]"),
        ("boxes = [[0, 0, 64, 64]", "boxes = [[0, 0, 0, 64]", r"regions\.flag\.boxes\[0\]\[2\]"),
        ("boxes = [[0, 0, 64, 64]", "boxes = [[0, 0, 64.5, 64]", r"regions\.flag\.boxes\[0\]\[2\]"),
        ("boxes = [[0, 0, 64, 64]", "boxs = [[0, 0, 64, 64]", "boxs"),
        ("boxes = [[0, 0, 64, 64]", "boxes = []\nother = [[0]", r"boxes|other"),
        ("boxes = [[0, 0", "threshold = nan\nboxes = [[0, 0", "threshold = nan"),
        ("regions.flag", 'regions."a b"', "regions"),
    ):
        text = regions()
        assert old in text
        path = write_line(tmp_path, small_line.bundles, text.replace(old, new, 1))
        with pytest.raises(ConfigError, match=named) as raised:
            read_line(path)
        assert str(path) in str(raised.value)
    for bundle, error, named in (("gate", ConfigError, "is a gate"), ("nowhere", BundleError, "nowhere")):
        line = read_line(write_line(tmp_path, small_line.bundles, regions(), f'bundle = "{bundle}"\n'))
        with pytest.raises(error, match=named):
            line_bundles(line)


def test_all_boxes_of_one_bundle_are_one_batch(pipeline: Pipeline) -> None:
    judge = pipeline.judges["dark"]
    assert isinstance(judge, RegionJudge) and len(judge.models) == 1
    model = judge.models[0]
    noting = FaultySession(model.session)
    model.session = noting
    try:
        judge.inspect(Frame(strip(), 255))
        assert noting.batches == [len(REGIONS) * VIALS * 4]  # the small judge cuts each box into four
    finally:
        model.session = noting.session


def test_boxes_are_scored_as_frames_of_their_own_would_be(pipeline: Pipeline) -> None:
    judge = pipeline.judges["dark"]
    assert isinstance(judge, RegionJudge)
    pixels = np.random.default_rng(3).integers(30, 70, (256, 320)).astype(np.uint8)
    finding = judge.inspect(Frame(pixels, 255))
    for region in judge.regions:
        for (x, y, w, h), scored in zip(region.boxes, finding.regions[region.name], strict=True):
            alone = region.judge.inspect(Frame(pixels[y : y + h, x : x + w].copy(), 255))
            assert scored.score == pytest.approx(alone.score, rel=1e-5)


def test_the_map_covers_the_frame_and_can_be_drawn(pipeline: Pipeline) -> None:
    pixels = strip(3, 1)
    inspection, finding = judged(pipeline, pixels)
    assert finding.score_map.shape == (256, 320)
    y, x = divmod(int(finding.score_map.argmax()), 320)
    left, top = box(3, 1)[:2]
    assert left + 15 <= x <= left + 32 and top + 15 <= y <= top + 32
    picture = annotate(pixels, 255, inspection.evaluation, finding, "strip")
    assert picture.ndim == 3


def test_stage_times_and_provenance_are_of_all_that_ran(pipeline: Pipeline) -> None:
    inspection, _ = judged(pipeline, strip())
    assert [model.manifest.name for model in inspection.models] == ["gate", "smoother"]
    assert inspection.times_ns["gate"] + inspection.times_ns["judge"] >= inspection.times_ns["run"] > 0


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(-1, 9)), min_size=1, max_size=9))
def test_the_worst_box_is_rejected_if_any_is(pairs: list[tuple[float, float]]) -> None:
    scores = [RegionScore(score, threshold, (0, 0, 1, 1)) for score, threshold in pairs]
    decides = worst(scores)
    assert (decides.score > decides.threshold) == any(s.score > s.threshold for s in scores)
    assert badness(decides.score, decides.threshold) == max(badness(s.score, s.threshold) for s in scores)
