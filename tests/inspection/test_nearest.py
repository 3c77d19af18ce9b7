"""The nearest judge: without a gate it looks at no more than it needs, and it compares on the line's threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread, get_native_id

import msgspec
import numpy as np
import pytest

from edge.bench.load import golden_frame
from edge.bundle import open_bundle
from edge.config import JudgeConfig, read_line
from edge.engines.session import installed, open_graph
from edge.inspection.assemble import open_pipeline
from edge.inspection.model import Model
from edge.inspection.nearest import HELPERS, NearestJudge
from tests.sessions import FaultySession


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
@pytest.mark.parametrize(("name", "pictures"), [("nearest-bottle", 1), ("nearest-screw", 16)])
def test_without_a_gate_only_the_view_that_it_compares_is_looked_at(
    exported_models: Path, name: str, pictures: int
) -> None:
    bundle = open_bundle(exported_models / name)
    graph = next(graph for graph in bundle.manifest.graph if (graph.format, graph.precision) == ("onnx", "fp32"))
    with closing(FaultySession(open_graph("onnx", bundle, graph, 2, "cpu"))) as session:
        model = Model(bundle, graph, session)
        judge, frame = NearestJudge(model), golden_frame(bundle)
        alone = judge.inspect(frame)
        assert session.batches == [pictures]
        model.look(frame)
        shared = judge.inspect(frame)
        assert session.batches == [pictures, bundle.manifest.input.batch], "what was looked at is not looked at again"
    assert alone.score == pytest.approx(shared.score, rel=1e-4)
    assert np.allclose(alone.score_map, shared.score_map, rtol=1e-3)


@pytest.fixture
def screws(exported_models: Path) -> Iterator[Model]:
    bundle = open_bundle(exported_models / "nearest-screw")
    graph = next(graph for graph in bundle.manifest.graph if (graph.format, graph.precision) == ("onnx", "fp32"))
    with closing(open_graph("onnx", bundle, graph, 2, "cpu")) as session:
        yield Model(bundle, graph, session, threads=3)


def priorities() -> list[int]:
    """Of the threads that help."""
    helpers = [each for each in threading.enumerate() if each.name.startswith("nearest")]
    return [os.getpriority(os.PRIO_PROCESS, each.native_id or 0) for each in helpers]


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_the_lines_threads_help_and_change_nothing(screws: Model) -> None:
    judge, frame = NearestJudge(screws), golden_frame(screws.bundle)
    assert len(priorities()) >= 2, "they are there before the first frame"
    several = judge.inspect(frame)
    screws.threads = 1
    alone = judge.inspect(frame)
    assert several.score == alone.score
    np.testing.assert_array_equal(several.score_map, alone.score_map)


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_who_gives_way_to_live_frames_compares_alone_and_calls_no_helper_of_low_priority(screws: Model) -> None:
    judge, frame = NearestJudge(screws), golden_frame(screws.bundle)
    found, over, here = [], Event(), len(priorities())
    busy = [HELPERS.submit(over.wait) for _ in range(here)]

    def shadow() -> None:
        os.setpriority(os.PRIO_PROCESS, get_native_id(), 10)
        found.append(judge.inspect(frame))

    thread = Thread(target=shadow)
    thread.start()
    thread.join(60)
    told = priorities()
    over.set()
    assert found and all(each.result() for each in busy)
    assert told == [os.getpriority(os.PRIO_PROCESS, os.getpid())] * here


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_a_lines_models_know_its_threads(exported_models: Path) -> None:
    line = read_line(exported_models / "line.toml")
    judges = {"bottle": JudgeConfig(bundle="nearest-bottle")}
    few = msgspec.structs.replace(line.config, judges=judges, gate=None, engine="onnx", threads=3)
    pipeline = open_pipeline(msgspec.structs.replace(line, config=few))
    assert [model.threads for model in pipeline.models] == [3]
    pipeline.close()
