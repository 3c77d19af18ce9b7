"""An engine that fails while it runs, as a GPU does that is taken away: that frame is Undefined, never OK."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import Line, read_line
from edge.inspection.assemble import open_pipeline
from edge.records import Evaluation, Frame
from tests.lines import write_line
from tests.small_line import JUDGE, write_bundle

pytestmark = pytest.mark.usefixtures("own_cache")


def gathers_out_of_bounds_where_a_pixel_is_white() -> list[Any]:
    """The input itself, until its brightest pixel, as an index, lies outside a table of one."""
    from onnx import TensorProto, helper

    table = helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0])
    return [
        helper.make_node("ReduceMax", ["in"], ["brightest"], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["index"], to=TensorProto.INT64),
        helper.make_node("Constant", [], ["table"], value=table),
        helper.make_node("Gather", ["table", "index"], ["nothing"]),
        helper.make_node("Add", ["in", "nothing"], ["out"]),
    ]


def test_a_session_that_fails_while_running_lets_no_part_pass(small_line: Line, tmp_path: Path) -> None:
    shutil.copytree(small_line.bundles / "gate", tmp_path / "gate")
    top = JUDGE.format(name="fragile", surface="dark")
    write_bundle(tmp_path / "fragile", top, gathers_out_of_bounds_where_a_pixel_is_white, 32)
    line = read_line(write_line(tmp_path, ".", '[judges]\ndark = { bundle = "fragile" }\n'))
    pipeline = open_pipeline(line)
    plain, white = np.full((64, 64), 51, np.uint8), np.full((64, 64), 51, np.uint8)
    white[3, 3] = 255
    seen = [pipeline.inspect(Frame(pixels, 255)) for pixels in (plain, white, plain)]
    pipeline.close()
    assert [each.evaluation for each in seen] == [Evaluation.OK, Evaluation.UNDEFINED, Evaluation.OK]
    assert seen[1].reason == "engine_failed" and "failed while running" in seen[1].detail
