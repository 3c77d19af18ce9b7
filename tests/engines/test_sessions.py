"""The three engines behind one protocol, on real graphs and on broken ones."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import Bundle, Graph, open_bundle
from edge.engines import session as sessions
from edge.engines.processor import int8_overflows
from edge.engines.session import (
    ENGINES,
    OVERFLOWING,
    Engine,
    Session,
    installed,
    open_graph,
    open_session,
    readable,
)
from edge.errors import EngineError, MissingExtra
from edge.golden import TOLERANCE, check_golden, golden_batch

BUNDLE = "segdec-commutator"


@pytest.fixture(scope="module")
def bundle(exported_models: Path) -> Bundle:
    if not (exported_models / BUNDLE / "manifest.toml").is_file():
        pytest.skip(f"no {BUNDLE} in {exported_models}")
    return open_bundle(exported_models / BUNDLE)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    if not installed(request.param):
        pytest.skip(f"the engine {request.param} is not here")
    name: Engine = request.param
    return name


def graph_for(bundle: Bundle, engine: Engine, precision: str) -> Graph:
    if precision == "int8" and engine in OVERFLOWING and int8_overflows():
        pytest.skip(f"INT8 of {engine} overflows on this processor, which has no VNNI")
    return next(g for g in readable(engine, bundle.manifest.graph) if g.precision == precision)


def opened(bundle: Bundle, engine: Engine, precision: str, threads: int = 2) -> tuple[Graph, Session]:
    graph = graph_for(bundle, engine, precision)
    return graph, open_graph(engine, bundle, graph, threads, "cpu")


def golden(bundle: Bundle) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    frame = bundle.read_arrays(bundle.manifest.golden)["frame"].astype(np.uint8)
    return golden_batch(frame, bundle.manifest.input)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_golden_answer_is_repeated(bundle: Bundle, engine: Engine, precision: str) -> None:
    graph, session = opened(bundle, engine, precision)
    assert check_golden(bundle, graph, session) <= TOLERANCE[graph.precision] / 2
    assert (session.engine, session.device) == (engine, "cpu")
    session.close()


def test_the_engines_agree(bundle: Bundle) -> None:
    batch, answers = golden(bundle), []
    for engine in (e for e in ENGINES if installed(e)):
        _, session = opened(bundle, engine, "fp32")
        answers.append([np.copy(out) for out in session.run(batch)])
        session.close()
    for other in answers[1:]:
        for out, first in zip(other, answers[0], strict=True):
            np.testing.assert_allclose(out, first, atol=1e-3 * float(np.ptp(answers[0][1])))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_batch_of_several_is_as_each_alone(bundle: Bundle, engine: Engine, precision: str) -> None:
    image = golden(bundle)
    batch = np.concatenate([image, image[..., ::-1], 0.5 * image])
    _, session = opened(bundle, engine, precision)
    together = [np.copy(out) for out in session.run(batch)]
    assert [len(out) for out in together] == [3, 3] and all(out.dtype == np.float32 for out in together)
    for index in range(3):
        alone = session.run(batch[index : index + 1])
        for out, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(out[index : index + 1], single, rtol=1e-3, atol=1e-3)
    session.close()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_images_run_four_at_once_are_as_one_by_one_and_the_same_bits_again(
    bundle: Bundle, engine: Engine, precision: str, count: int
) -> None:
    graph = graph_for(bundle, engine, precision)
    batch = np.concatenate([golden(bundle) * np.float32(share) for share in np.linspace(0.4, 1, count)])
    answers = []
    for at_once in (1, 4, 4):
        session = open_session(engine, bundle.read(graph), 2, "cpu", bundle.read_weights(graph), at_once)
        answers.append([np.copy(out) for out in session.run(batch)])
        session.close()
    for single, four, again in zip(*answers, strict=True):
        assert len(four) == count
        np.testing.assert_allclose(four, single, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(four, again)


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not here (extra `openvino`)")
@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("shape", [["n", 1, 8, 8], ["n", 1, "h", "w"]])
def test_openvino_compiles_for_the_images_that_it_is_given_at_once(
    shape: list[object], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph whose batch is left open pays for its shapes at each run."""
    onnx = pytest.importorskip("onnx", reason="onnx, which writes the graph, is not here (extra `test`)")
    openvino = importlib.import_module("openvino")
    helper, compile_model = onnx.helper, openvino.Core.compile_model
    batches: list[str] = []

    def noted(core: object, model: Any, *more: object) -> object:
        batches.append(str(model.input().partial_shape[0]))
        return compile_model(core, model, *more)

    monkeypatch.setattr(openvino.Core, "compile_model", noted)
    given, answer = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("in", "out"))
    graph = helper.make_graph([helper.make_node("Neg", ["in"], ["out"])], "g", [given], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = open_session("openvino", model.SerializeToString(), 1, "cpu", at_once=at_once)
    batch = np.random.default_rng(0).random((6, 1, 8, 8), dtype=np.float32)
    np.testing.assert_array_equal(session.run(batch)[0], -batch)
    session.close()
    assert batches == [str(at_once)]


def test_one_thread_is_one_thread(bundle: Bundle, engine: Engine) -> None:
    """Whatever else runs on the box, one thread cannot spend more processor time than has passed."""
    batch = golden(bundle)
    _, session = opened(bundle, engine, "fp32", threads=1)
    session.run(batch)
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(6):
        session.run(batch)
    assert time.process_time() - spent < 1.2 * (time.perf_counter() - began)
    session.close()


def test_a_batch_of_another_shape_is_an_engine_error(bundle: Bundle, engine: Engine) -> None:
    _, session = opened(bundle, engine, "fp32")
    with pytest.raises(EngineError, match="failed while running"):
        session.run(np.zeros((1, 1, 7, 7), np.float32))
    assert session.run(golden(bundle))
    session.close()


BREAK = """
import sys
from edge.engines.session import open_session
from edge.errors import EngineError

engine, path = sys.argv[1:]
whole = open(path, "rb").read()
size = len(whole)
broken = [b"", b"no graph", bytes(size), whole[:8], whole[:8] + bytes(size), whole[:8] + b"\\xff" * size]
broken += [whole[: size * share // 100] for share in (1, 30, 60, 99)] + [whole[:-1]]
for data in broken:
    try:
        open_session(engine, data, 1, "cpu")
    except EngineError as error:
        print("refused", len(data), str(error).splitlines()[0])
"""


def test_a_broken_graph_is_refused_and_nothing_crashes(bundle: Bundle, engine: Engine) -> None:
    """In a process of its own: an engine that crashes would take the tests along."""
    path = bundle.path / graph_for(bundle, engine, "fp32").file
    done = subprocess.run([sys.executable, "-c", BREAK, engine, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 11 and "Traceback" not in done.stderr


def test_a_graph_of_another_format_is_refused(bundle: Bundle, engine: Engine) -> None:
    other: Engine = "onnx" if engine == "litert" else "litert"
    with pytest.raises(EngineError, match="cannot open the graph"):
        open_session(engine, bundle.read(graph_for(bundle, other, "fp32")), 1, "cpu")


@pytest.mark.skipif(not installed("litert"), reason="LiteRT is not here (extra `litert`)")
def test_a_graph_without_the_signature_is_refused_by_name(bundle: Bundle) -> None:
    data = bundle.read(graph_for(bundle, "litert", "fp32"))
    assert b"serving_default" in data
    with pytest.raises(EngineError, match="no signature serving_default"):
        open_session("litert", data.replace(b"serving_default", b"sleepy__default"), 1, "cpu")


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_weights_in_another_file_are_never_read(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would come from the current folder, whatever lies there."""
    onnx = pytest.importorskip("onnx", reason="onnx, which writes the graph, is not here (extra `test`)")
    if not installed(engine):
        pytest.skip(f"the engine {engine} is not here")
    helper = onnx.helper
    weights = onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")
    given, answer = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 4]) for name in ("in", "out"))
    graph = helper.make_graph([helper.make_node("Add", ["in", "w"], ["out"])], "g", [given], [answer], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    open_session(engine, model.SerializeToString(), 1, "cpu").close()
    onnx.save(model, tmp_path / "g.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").stat().st_size == 16
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="in another file"):
        open_session(engine, (tmp_path / "g.onnx").read_bytes(), 1, "cpu")


def test_a_graph_without_an_input_is_refused() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx, which writes the graph, is not here (extra `test`)")
    if not installed("onnx"):
        pytest.skip("ONNX Runtime is not here (extra `onnx`)")
    helper = onnx.helper
    constant = helper.make_node("Constant", [], ["out"], value=onnx.numpy_helper.from_array(np.ones(3, np.float32)))
    answer = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [3])
    graph = helper.make_graph([constant], "g", [], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(EngineError, match="0 inputs"):
        open_session("onnx", model.SerializeToString(), 1, "cpu")


def has_gpu(engine: Engine) -> bool:
    if engine == "onnx":
        return "CUDAExecutionProvider" in importlib.import_module("onnxruntime").get_available_providers()
    if engine == "openvino":
        return any(name.startswith("GPU") for name in importlib.import_module("openvino").Core().available_devices)
    return False


def test_a_gpu_that_is_not_there_is_named(bundle: Bundle, engine: Engine) -> None:
    if has_gpu(engine):
        pytest.skip("this box has a GPU")
    data = bundle.read(graph_for(bundle, engine, "fp32"))
    with pytest.raises(EngineError, match='device = "cpu"'):
        open_session(engine, data, 1, "gpu")
    session = open_session(engine, data, 1, "auto")
    assert session.device == "cpu"
    session.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_is_not_installed_names_its_extra(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=rf"pip install '\.\[{engine}\]'") as raised:
        open_session(engine, b"", 1)
    assert raised.value.exit_code == 17


def test_a_session_leaves_nothing_behind_and_sends_nothing(bundle: Bundle, engine: Engine, tmp_path: Path) -> None:
    """ONNX Runtime's own telemetry keeps its queue in the temporary folder, and an identifier in the user's home."""
    script = f"""if True:
        from pathlib import Path
        from edge.bundle import open_bundle
        from edge.engines.session import open_graph, readable
        bundle = open_bundle(Path({str(bundle.path)!r}))
        graph = next(g for g in readable({engine!r}, bundle.manifest.graph) if g.precision == "fp32")
        open_graph({engine!r}, bundle, graph, 2, "cpu").close()
    """
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, env=environment)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_may_only_be_read_or_is_a_view_is_answered_alike(bundle: Bundle, engine: Engine) -> None:
    _, session = opened(bundle, engine, "fp32")
    batch = golden(bundle).copy()
    expected = [np.copy(out) for out in session.run(batch)]
    view = np.repeat(batch, 2, axis=-1)[..., ::2]
    batch.flags.writeable = False
    for given in (batch, view):
        for out, wanted in zip(session.run(given), expected, strict=True):
            np.testing.assert_array_equal(out, wanted)
    session.close()


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_an_open_graph_does_not_keep_the_bytes_of_its_file(bundle: Bundle, engine: Engine) -> None:
    graph = bundle.read(graph_for(bundle, engine, "fp32"))
    before = sys.getrefcount(graph)
    session = open_session(engine, graph, 1, "cpu")
    assert sys.getrefcount(graph) == before
    session.close()


CLOSED = """
import signal, sys
from pathlib import Path
from threading import Thread
from edge.bundle import open_bundle
from edge.engines.session import open_graph, readable

bundle, engine, by = open_bundle(Path(sys.argv[1])), *sys.argv[2:]
graph = next(g for g in readable(engine, bundle.manifest.graph) if g.precision == "fp32")
sessions = [open_graph(engine, bundle, graph, 1, "cpu") for _ in range(2)]
close = [session.close for session in sessions]
sessions.clear()
while close:
    call = close.pop(0)
    if by == "another thread":
        thread = Thread(target=call)
        thread.start()
        thread.join()
        del thread
    else:
        call()
    del call
signal.signal(signal.SIGTERM, lambda *_: print("told"))
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.parametrize("by", ["the same thread", "another thread"])
def test_signals_are_handled_after_engines_were_closed(bundle: Bundle, engine: Engine, by: str) -> None:
    command = [sys.executable, "-c", CLOSED, str(bundle.path), engine, by]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr
