"""A gate that gives cells too, around a graph of a few operators, and a line with it: enough to teach by."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from edge.bundle import Bundle, Thresholds, Training
from edge.offline.pack import ARRAYS, write_bundle
from edge.vision.image import InputRule

SIDE = 64


def graph() -> bytes:
    """`(n, 1, 64, 64)` -> features `(n, 2)`: mean grey and mean square; cells `(n, 2, 8, 8)`: how light and how
    dark a place is."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Mul", ["in", "in"], ["square"]),
        helper.make_node("Concat", ["in", "square"], ["both"], axis=1),
        helper.make_node("GlobalAveragePool", ["both"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"]),
        helper.make_node("Constant", [], ["white"], value_float=1.0),
        helper.make_node("Sub", ["white", "in"], ["dark"]),
        helper.make_node("Concat", ["in", "dark"], ["places"], axis=1),
        helper.make_node("AveragePool", ["places"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
    ]
    given = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    answers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("features", "cells")]
    model = helper.make_model(
        helper.make_graph(nodes, "small", [given], answers), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return bytes(model.SerializeToString())


def write_small_gate(folder: Path) -> Bundle:
    """Knows `dark` (grey 0.1 to 0.3)."""
    arrays = io.BytesIO()
    np.savez(
        arrays,
        surfaces=np.array(["dark"]),
        mean=np.zeros(2, np.float32),
        projection=np.eye(2, dtype=np.float32),
        centres=np.array([[0.2, 0.05]], np.float32),
        whiteners=np.eye(2, dtype=np.float32)[None] * 50,
        thresholds=np.array([5.0], np.float32),
    )
    fields: dict[str, object] = {
        "name": folder.name,
        "kind": "gate",
        "surfaces": ("dark",),
        "input": InputRule(width=SIDE, height=SIDE),
        "outputs": ("features", "cells"),
        "thresholds": Thresholds(how="by hand"),
        "training": Training(data="drawn", licence="none", images=0, date="-", command="-"),
    }
    return write_bundle(folder, fields, {"model.onnx": graph(), ARRAYS: arrays.getvalue()})


def write_line(folder: Path) -> Path:
    """A gate that knows `dark` and a line that has no judge yet, with a comment that must survive."""
    write_small_gate(folder / "gate")
    path = folder / "line.toml"
    path.write_text(
        '# kept as it is\nline = "small"\nframes = "ipc:///tmp/small-f"\nverdicts = "ipc:///tmp/small-v"\n'
        'gate = "gate"\nengine = "onnx"\n\n[judges]\n'
    )
    return path
