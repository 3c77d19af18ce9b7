"""The nearest judge: without a gate it looks at no more than it needs, and it compares on the line's threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Thread, get_native_id

import msgspec
import numpy as np
import pytest

from edge.bench.load import golden_frame
from edge.bundle import open_bundle
from edge.config import JudgeConfig, read_line
from edge.engines.session import installed, open_graph
from edge.errors import EngineError
from edge.inspection import nearest
from edge.inspection.assemble import open_pipeline
from edge.inspection.model import Model
from edge.inspection.nearest import NearestJudge
from edge.records import Finding
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


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """None has been called yet."""
    with ThreadPoolExecutor(8, "helper of this test") as fresh:
        monkeypatch.setattr(nearest, "HELPERS", fresh)
        yield fresh


def priorities() -> list[int]:
    """Of the threads that help."""
    own = [each for each in threading.enumerate() if each.name.startswith("helper of this test")]
    return [os.getpriority(os.PRIO_PROCESS, each.native_id or 0) for each in own]


def counted(helpers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What they are asked for from now on."""
    asked: list[object] = []
    submit = helpers.submit

    def counting(work: Callable[..., object], *given: object) -> Future[object]:
        asked.append(work)
        return submit(work, *given)

    monkeypatch.setattr(helpers, "submit", counting)
    return asked


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_the_lines_threads_help_and_change_nothing(
    screws: Model, helpers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, frame = NearestJudge(screws), golden_frame(screws.bundle)
    assert len(priorities()) == 2, "they are there before the first frame"
    asked = counted(helpers, monkeypatch)
    several = judge.inspect(frame)
    assert len(asked) == 2
    screws.threads = 1
    alone = judge.inspect(frame)
    assert len(asked) == 2
    assert several.score == alone.score
    np.testing.assert_array_equal(several.score_map, alone.score_map)


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
@pytest.mark.skipif(os.getpriority(os.PRIO_PROCESS, 0) > 18, reason="there is no lower priority than that of this run")
def test_who_gives_way_to_live_frames_compares_alone(
    screws: Model, helpers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, frame, found = NearestJudge(screws), golden_frame(screws.bundle), list[Finding]()
    asked = counted(helpers, monkeypatch)

    def shadow() -> None:
        os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + 1)
        found.append(judge.inspect(frame))

    thread = Thread(target=shadow)
    thread.start()
    thread.join(60)
    assert len(found) == 1 and asked == []


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_where_no_thread_can_be_had_the_judge_is_refused_and_nothing_waits(
    screws: Model, helpers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, asked = helpers.submit, list[object]()

    def refusing(work: Callable[..., object], *given: object) -> Future[object]:
        if asked:
            raise RuntimeError("can't start new thread")
        asked.append(work)
        return submit(work, *given)

    monkeypatch.setattr(helpers, "submit", refusing)
    with pytest.raises(EngineError, match="can't start new thread; allow more, or lower `threads`"):
        NearestJudge(screws)
    helpers.shutdown(wait=True)


@pytest.mark.usefixtures("own_cache")
@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_a_lines_models_know_its_threads(exported_models: Path) -> None:
    line = read_line(exported_models / "line.toml")
    judges = {"bottle": JudgeConfig(bundle="nearest-bottle")}
    few = msgspec.structs.replace(line.config, judges=judges, gate=None, engine="onnx", threads=3)
    with closing(open_pipeline(msgspec.structs.replace(line, config=few))) as pipeline:
        assert [model.threads for model in pipeline.models] == [3]
