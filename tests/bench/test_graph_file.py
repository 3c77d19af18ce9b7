"""Any graph file by its network alone: inputs as it declares them, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bench.graph_file import engines_for, open_file
from edge.engines.processor import int8_overflows
from edge.engines.session import ENGINES, installed
from edge.errors import DataError, EngineError

onnx = pytest.importorskip("onnx", reason="onnx, which writes the graphs, is not here (extra `test`)")
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@pytest.fixture(params=["onnx", "openvino"])
def engine(request: pytest.FixtureRequest) -> str:
    if not installed(request.param):
        pytest.skip(f"the engine {request.param} is not here")
    return str(request.param)


def write(path: Path, first: list[object]) -> Path:
    """An image and a number, as a detector has them: out = image * number."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["number"], ["factor"], to=FLOAT),
        helper.make_node("Mul", ["image", "factor"], ["out"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("image", FLOAT, first), value("number", INT64, [1])]
    graph = helper.make_graph(nodes, "g", inputs, [value("out", FLOAT, first)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_graph_of_two_inputs_of_two_kinds_runs_with_the_batch_that_is_asked_for(tmp_path: Path, engine: str) -> None:
    path = write(tmp_path / "two.onnx", ["n", 3, 8, 8])
    known = next(name for name in ENGINES if name == engine)
    run, device = open_file(path, known, 1, "cpu", 5)
    answer = run()
    out = answer[0]  # type: ignore[index]  # each engine's own kind of answer
    assert out.shape == (5, 3, 8, 8) and device == "cpu"


def test_an_open_side_other_than_the_batch_is_named(tmp_path: Path, engine: str) -> None:
    path = write(tmp_path / "open.onnx", ["n", 3, "h", 8])
    known = next(name for name in ENGINES if name == engine)
    with pytest.raises(EngineError, match=r"input image is \[None, 3, None, 8\]: fix all sides but the first"):
        open_file(path, known, 1, "cpu", 1)


def test_a_damaged_graph_is_refused_by_its_name(tmp_path: Path, engine: str) -> None:
    (tmp_path / "cut.onnx").write_bytes(write(tmp_path / "two.onnx", [1, 3, 8, 8]).read_bytes()[:40])
    known = next(name for name in ENGINES if name == engine)
    with pytest.raises(EngineError, match=r"cut\.onnx"):
        open_file(tmp_path / "cut.onnx", known, 1, "cpu", 1)


def test_a_file_of_another_kind_is_no_graph(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"picture\.png is no graph; edge-bench reads \.onnx, \.xml, \.tflite"):
        engines_for(tmp_path / "picture.png")


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.int8.onnx", "model.int8.xml", "model.tflite", "model.int8.tflite"]
)
def test_the_shipped_graphs_run_on_all_engines_that_read_them(exported_models: Path, name: str) -> None:
    path = exported_models / "segdec-commutator" / name
    for known in engines_for(path):
        if installed(known) and not ("int8" in name and known != "litert" and int8_overflows()):
            run, device = open_file(path, known, 2, "cpu", 1)
            assert run() and device == "cpu"
