"""A line small enough for a test: real bundles around graphs of one or two operators, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.lines import write_line


def entry(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return f'file = "{path.name}"\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'


def npz(**arrays: object) -> bytes:
    data = io.BytesIO()
    np.savez(data, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]  # its stub
    return data.getvalue()


def write_bundle(folder: Path, top: str, nodes: Callable[[], list[Any]], side: int, arrays: bytes = b"") -> None:
    """A real bundle around a graph of one or two operators, with the golden frame that its own engine gives."""
    from onnx import TensorProto, helper

    from edge.bundle import Graph, Manifest, open_bundle
    from edge.engines.session import open_session
    from edge.golden import golden_batch, golden_key

    folder.mkdir(parents=True)
    given = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 1, side, side])
    answer = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    made = helper.make_model(
        helper.make_graph(nodes(), folder.name, [given], [answer]), opset_imports=[helper.make_opsetid("", 17)]
    )
    made.ir_version = 8
    data = made.SerializeToString()
    graph = 'format = "onnx"\nprecision = "fp32"\n' + entry(folder / "model.onnx", data)
    extra = f"[arrays]\n{entry(folder / 'arrays.npz', arrays)}" if arrays else ""
    training = '[training]\ndata = "drawn"\nlicence = "none"\nimages = 0\ndate = "-"\ncommand = "-"\n'

    def write(golden: bytes) -> Manifest:
        text = f"{top}\n{extra}[[graph]]\n{graph}[golden]\n{entry(folder / 'golden.npz', golden)}{training}"
        (folder / "manifest.toml").write_text(text)
        return open_bundle(folder).manifest

    manifest = write(b"")
    frame = np.random.default_rng(1).integers(40, 255, (side, side)).astype(np.uint8)
    session = open_session("onnx", data, 1, "cpu")
    (out,) = session.run(golden_batch(frame, manifest.input))
    first: Graph = manifest.graph[0]
    write(npz(frame=frame, **{golden_key(first, "out"): out}))


GATE = """format = 1
name = "gate"
kind = "gate"
surfaces = ["dark", "light"]
outputs = ["out"]
input = { width = 64, height = 64 }
thresholds = { how = "by hand" }
"""
JUDGE = """format = 1
name = "{name}"
kind = "reconstruction"
surfaces = ["{surface}"]
outputs = ["out"]
input = {{ width = 64, height = 64, patch = 32, stride = 32 }}
thresholds = {{ score = 0.05, map = 0.05, how = "by hand" }}
"""


def write_small_line(folder: Path) -> Path:
    """gate: goes by the mean grey, knows `dark` and `light`. smoother: a judge that cannot rebuild what a 15x15 mean
    smooths away. brittle: a judge that answers NaN where a pixel is black. Returns line.toml: only `dark` is judged."""
    from onnx import helper

    one = np.ones((1, 1))
    arrays = npz(
        mean=np.zeros(1),
        projection=one,
        centres=[[0.2], [0.8]],
        whiteners=[one, one],
        thresholds=[0.1, 0.1],
        surfaces=["dark", "light"],
        attributes=["bright", "striped"],
        readout=[[1.0], [0.0]],
        readout_offset=[0.0, 0.5],
    )

    def mean_grey() -> list[Any]:
        return [helper.make_node("GlobalAveragePool", ["in"], ["mean"]), helper.make_node("Flatten", ["mean"], ["out"])]

    def smooth() -> list[Any]:
        return [helper.make_node("AveragePool", ["in"], ["out"], kernel_shape=[15, 15], pads=[7, 7, 7, 7])]

    def logarithm() -> list[Any]:
        return [helper.make_node("Log", ["in"], ["log"]), helper.make_node("Mul", ["log", "in"], ["out"])]

    write_bundle(folder / "gate", GATE, mean_grey, 64, arrays)
    write_bundle(folder / "smoother", JUDGE.format(name="smoother", surface="dark"), smooth, 32)
    write_bundle(folder / "brittle", JUDGE.format(name="brittle", surface="light"), logarithm, 32)
    return write_line(folder, ".")
