"""`edge doctor` as people and scripts meet it, on a real line and on real measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.bundle import open_bundle
from edge.config import Line
from edge.doctor.measured import graphs
from edge.engines.choose import NO_ANSWER, Row, choose
from edge.engines.session import installed
from tests.lines import called, edit, write_line

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_box_is_checked_without_a_line(own_cache: Path) -> None:
    code, out, _ = called("doctor", "--json")
    rows = {row["check"]: row for row in json.loads(out)}
    assert code == any(row["state"] == "problem" for row in rows.values())
    assert set(rows) >= {
        "edge",
        "cpu",
        "cores",
        "governor",
        "stolen time",
        "memory",
        "gpu",
        "onnx",
        "openvino",
        "litert",
    }
    assert set(rows) >= {"conflicts", "clock", "clock source", "user", "cache", "disk", "limits"}
    assert str(own_cache) in rows["cache"]["found"]


def test_a_line_is_checked_and_each_bundles_graph_named(small_line: Line, tmp_path: Path) -> None:
    path = write_line(tmp_path, small_line.bundles)
    code, out, _ = called("doctor", "--config", path)
    assert code == 0, out
    assert "graph gate" in out and "graph smoother" in out and "onnx model.onnx is used" in out
    assert "threads = 1" in out and "socket frames" in out


def test_a_line_that_cannot_be_read_is_a_problem_and_the_box_is_checked_all_the_same(
    small_line: Line, tmp_path: Path
) -> None:
    path = edit(write_line(tmp_path, small_line.bundles), "threads", "treads")
    code, out, _ = called("doctor", "--config", path, "--json")
    rows = {row["check"]: row for row in json.loads(out)}
    assert code == 1 and rows["line"]["state"] == "problem" and "treads" in rows["line"]["found"]
    assert rows["cpu"]["found"]


def test_a_folder_that_is_no_bundle_is_a_problem(tmp_path: Path) -> None:
    code, out, _ = called("doctor", tmp_path, "--json")
    (row,) = [row for row in json.loads(out) if row["check"] == f"bundle {tmp_path.name}"]
    assert code == 1 and row["state"] == "problem" and "is this a bundle?" in row["found"]


def test_a_bundle_by_itself_is_measured(small_line: Line) -> None:
    code, out, _ = called("doctor", small_line.bundles / "smoother", "--json")
    rows = [row for row in json.loads(out) if row["check"] == "graph smoother"]
    assert code == 0 and any(" is used: " in row["found"] for row in rows)


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not here (extra `openvino`)")
@pytest.mark.usefixtures("vnni")
def test_int8_that_is_slower_here_is_told_with_how_much_and_what_failed_with_why(exported_models: Path) -> None:
    bundle = open_bundle(exported_models / "segdec-commutator")
    rows = [
        Row("onnx", "model.onnx", 9.0),
        Row("onnx", "model.int8.onnx", 10.0),
        Row("openvino", "model.onnx", 8.0),
        Row("openvino", "model.int8.xml", 4.0),
        Row("litert", "-", None, "the measuring process ended with -9"),
    ]
    told = graphs(bundle, rows, choose(bundle, "auto", rows))
    assert [(row.state, row.found) for row in told] == [
        ("ok", "openvino model.int8.xml is used: 4 ms, 2x as fast as FP32"),
        ("note", "INT8 is 0.9x as fast as FP32 on onnx here: not used"),
        ("warning", "litert -: the measuring process ended with -9"),
    ]
    late = graphs(bundle, [rows[0], Row("openvino", "-", None, NO_ANSWER)], ("onnx", bundle.manifest.graph[0]))[-1]
    assert late.state == "warning" and "edge verify --warm" in late.advice
    (used, *_) = graphs(bundle, rows, choose(bundle, "onnx", rows))
    assert used.found == "onnx model.onnx is used: 9 ms"
