"""Frames that are inspected at once: each is answered as it would be alone, whatever the others are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config import Line, read_line
from edge.errors import EngineError
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


GOOD, DEFECTIVE, LIGHT, BLACK_PIXEL, UNSEEN = grey(51), grey(51, 255), grey(204), grey(220, 0), grey(128)
UNREADABLE = Frame(np.zeros((64, 64), np.float32), 255)  # type: ignore[arg-type]  # that it is wrong is the point
KINDS = [GOOD, DEFECTIVE, LIGHT, BLACK_PIXEL, UNSEEN, UNREADABLE]


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
@given(st.lists(st.sampled_from(range(len(KINDS))), min_size=1, max_size=5))
def test_each_of_several_is_answered_as_it_is_alone(pipeline: Pipeline, chosen: list[int]) -> None:
    frames = [replace(KINDS[number], pixels=KINDS[number].pixels.copy()) for number in chosen]
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


def test_a_frame_that_an_engine_fails_at_costs_the_others_nothing_but_time(pipeline: Pipeline) -> None:
    model = pipeline.judges["dark"].model
    real = model.session

    class FailsAtWhite(FaultySession):
        def run(self, batch: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[np.ndarray, ...]:
            if batch.max() > 0.9:
                raise EngineError("it fails at white")
            return super().run(batch)

    model.session = FailsAtWhite(real)
    try:
        found = pipeline.inspect_all([GOOD, DEFECTIVE, GOOD])
    finally:
        model.session = real
    assert [each.reason for each in found] == ["ok", "engine_failed", "ok"]


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
