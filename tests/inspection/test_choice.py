"""Which engine a line's bundles are fastest on together: each by the graphs that it has, for all it looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bundle import open_bundle
from edge.engines.choose import Row, common_engine
from edge.inspection.assemble import own_rows

pytestmark = pytest.mark.usefixtures("vnni")  # figures by hand, of INT8 on every engine


def test_a_judge_of_sixteen_tiles_weighs_as_much_and_only_by_graphs_that_it_has(exported_models: Path) -> None:
    gate, screw = (open_bundle(exported_models / name) for name in ("gate", "nearest-screw"))
    assert screw.manifest.input.tiles == (4, 4) and len(gate.manifest.input.views) == 2
    missing = "model.int8.tflite"
    assert missing not in {graph.file for graph in screw.manifest.graph}
    rows = [Row("litert", missing, 2.0), Row("litert", "model.tflite", 5.0), Row("openvino", "model.int8.xml", 3.0)]
    found = {(row.engine, row.file): row.ms for row in own_rows(screw, rows)}
    assert found == {("litert", "model.tflite"): 40.0, ("openvino", "model.int8.xml"): 24.0}
    assert [row.ms for row in own_rows(gate, rows)] == [2.0, 5.0, 3.0]
    assert common_engine([own_rows(gate, rows)]) == "litert"
    assert common_engine([own_rows(gate, rows), own_rows(screw, rows)]) == "openvino"


def test_what_did_not_run_weighs_nothing(exported_models: Path) -> None:
    screw = open_bundle(exported_models / "nearest-screw")
    (row,) = own_rows(screw, [Row("openvino", "model.int8.xml", None, "refused")])
    assert row.ms is None and row.why == "refused"
