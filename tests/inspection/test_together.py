"""Frames that are inspected at once: each is answered as it would be alone, whatever the others are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config import Line, read_line
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Inspection, Pipeline
from edge.records import Frame
from tests.lines import write_line
from tests.sessions import FaultySession

BOTH = '[judges]\ndark = { bundle = "smoother" }\nlight = { bundle = "brittle" }\n'


def grey(level: int, spot: int | None = None) -> Frame:
    pixels = np.full((64, 64), level, np.uint8)
    if spot is not None:
        pixels[20:26, 20:26] = spot
    return Frame(pixels, 255)


GOOD, DEFECTIVE, LIGHT, UNSEEN = grey(51), grey(51, 255), grey(204), grey(128)
SOUND = [GOOD, DEFECTIVE, LIGHT, UNSEEN]


@pytest.fixture(scope="module")
def pipeline(small_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(folder))
        opened = open_pipeline(read_line(write_line(folder, small_line.bundles, BOTH)))
    yield opened
    opened.close()


def told(inspection: Inspection) -> tuple[object, ...]:
    finding = inspection.finding
    models = [model.bundle.path.name for model in inspection.models]
    scored = finding and (finding.score, finding.defects, finding.score_map.tobytes())
    return inspection.evaluation, inspection.reason, inspection.detail, inspection.admission, scored, models


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(range(len(SOUND))), min_size=1, max_size=5))
def test_each_of_several_is_answered_as_it_is_alone(pipeline: Pipeline, chosen: list[int]) -> None:
    frames = [replace(SOUND[number], pixels=SOUND[number].pixels.copy()) for number in chosen]
    together = [told(found) for found in pipeline.inspect_all(frames)]
    assert together == [told(pipeline.inspect(frame)) for frame in frames]


def test_the_gate_sees_all_in_one_run_and_each_judge_its_own(pipeline: Pipeline) -> None:
    models = [pipeline.gate.model if pipeline.gate else None, *(judge.model for judge in pipeline.judges.values())]
    noted = [FaultySession(model.session) for model in models if model]
    for model, session in zip(models, noted, strict=True):
        assert model is not None
        model.session = session
    try:
        pipeline.inspect_all([GOOD, LIGHT, DEFECTIVE])
    finally:
        for model, session in zip(models, noted, strict=True):
            assert model is not None
            model.session = session.session
    assert [session.batches for session in noted] == [[3], [8], [4]], "a frame of the judges is four patches"


def test_on_a_cpu_each_frame_is_inspected_by_itself(pipeline: Pipeline) -> None:
    assert {model.session.device for model in pipeline.models} == {"cpu"} and pipeline.together == 1


def test_a_bundle_that_shares_the_gates_session_finds_each_frames_own_answer(pipeline: Pipeline) -> None:
    assert pipeline.gate is not None
    model = pipeline.gate.model
    frames = [GOOD, LIGHT, UNSEEN]
    alone = [model.look(frame)[0].copy() for frame in frames]
    model.look_all(frames)
    began = model.spent_ns
    for frame, expected in reversed(list(zip(frames, alone, strict=True))):
        np.testing.assert_array_equal(model.look_again(frame)[0], expected)
    assert model.spent_ns == began, "nothing was run again"
    np.testing.assert_array_equal(model.look_again(GOOD)[0], alone[0])
    assert model.spent_ns > began, "each answer is given once"
