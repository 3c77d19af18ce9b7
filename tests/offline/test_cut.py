"""A gate's graphs as far as their cells: what the nearest judges run where they look for themselves."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.bundle import MANIFEST, Bundle, Graph, open_bundle
from edge.engines.session import ENGINES, Engine, Session, installed, open_graph, open_session, readable
from edge.errors import BundleError
from edge.golden import check_golden, golden_batch, read_golden
from edge.offline.amend import copy_bundle, drop_graphs
from edge.offline.pack import write_borrowing
from edge.offline.verify import verify_bundle
from tests.lines import edit
from tests.small_gate import write_small_gate

onnx = pytest.importorskip("onnx", reason="pip install onnx: the test makes a graph")
pytestmark = [
    pytest.mark.usefixtures("own_cache"),
    pytest.mark.skipif(not installed("onnx"), reason="pip install onnxruntime: the test runs real graphs"),
]
TILES = (2, 2)


@pytest.fixture
def gate(tmp_path: Path) -> Bundle:
    return write_small_gate(tmp_path / "models" / "gate")


def opened(engine: Engine, bundle: Bundle, graph: Graph) -> Session:
    return open_session(engine, bundle.read(graph), 2, "cpu", bundle.read_weights(graph))


def test_the_shipped_gates_cuts_give_the_same_bits(exported_models: Path) -> None:
    gate = open_bundle(exported_models / "gate")
    compared = 0
    for engine in filter(installed, ENGINES):
        for graph in readable(engine, gate.manifest.graph):
            if graph.cut:
                batch = golden_batch(read_golden(gate, graph)[0], gate.manifest.input)
                with closing(opened(engine, gate, graph)) as whole, closing(opened(engine, gate, graph.cut)) as cut:
                    assert np.array_equal(whole.run(batch)[-1], cut.run(batch)[0]), (engine, graph.file)
                compared += 1
    assert compared


def test_every_shipped_nearest_judge_is_lent_its_gates_cuts(exported_models: Path) -> None:
    of_gate = {graph.file: graph.cut for graph in open_bundle(exported_models / "gate").manifest.graph}
    for path in exported_models.glob("nearest-*"):
        for graph in open_bundle(path).manifest.graph:
            wanted = of_gate[graph.file]
            assert (graph.cut and graph.cut.sha256) == (wanted and wanted.sha256), (path, graph.file)


def test_a_gates_graph_is_cut_when_it_is_written(gate: Bundle) -> None:
    (graph,) = gate.manifest.graph
    assert graph.cut and graph.cut.file == "model.cells.onnx" and [port.name for port in graph.cut.output] == ["cells"]
    nodes = {node.name or node.op_type for node in onnx.load_from_string(gate.read(graph.cut)).graph.node}
    assert "GlobalAveragePool" not in nodes, "what the features alone need is gone"


def test_a_bundle_that_borrows_runs_the_cut_and_the_gate_the_whole(gate: Bundle) -> None:
    lent = write_borrowing(gate.path.parent / "judge", nearest_fields(gate), gate, b"", TILES)
    (graph,) = lent.manifest.graph
    assert graph.cut and graph.cut.bundle == "gate" and lent.runs(graph) == graph.cut
    with closing(open_graph("onnx", lent, graph, 1, "cpu")) as cut, closing(opened("onnx", gate, graph)) as whole:
        batch = golden_batch(read_golden(gate, graph)[0], gate.manifest.input)
        assert len(cut.run(batch)) == 1 and len(whole.run(batch)) == 2
        assert check_golden(lent, graph, cut) == check_golden(gate, graph, whole) == 0


def nearest_fields(gate: Bundle) -> dict[str, object]:
    said = {key: getattr(gate.manifest, key) for key in ("thresholds", "training")}
    return {"name": "judge", "kind": "nearest", "surfaces": ("dark",), **said}


def test_a_cut_that_was_altered_is_found(gate: Bundle) -> None:
    (graph,) = gate.manifest.graph
    assert graph.cut
    path = gate.where(graph.cut)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleError, match=r"model\.cells\.onnx was altered"):
        verify_bundle(gate)


def test_a_cut_that_answers_otherwise_is_found_by_the_golden_frame(gate: Bundle) -> None:
    """Whoever wrote the manifest wrote its digest too."""
    lent = write_borrowing(gate.path.parent / "judge", nearest_fields(gate), gate, b"", TILES)
    (graph,) = lent.manifest.graph
    assert graph.cut
    model = onnx.load_from_string(gate.read(graph.cut))
    (white,) = (node for node in model.graph.node if node.op_type == "Constant")
    white.attribute[0].f = 2.0
    gate.where(graph.cut).write_bytes(model.SerializeToString())
    edit(lent.path / MANIFEST, graph.cut.sha256, hashlib.sha256(model.SerializeToString()).hexdigest())
    lent = open_bundle(lent.path)
    with (
        closing(open_graph("onnx", lent, lent.manifest.graph[0], 1, "cpu")) as session,
        pytest.raises(BundleError, match="the golden frame is off"),
    ):
        check_golden(lent, lent.manifest.graph[0], session)


def test_a_gate_that_gives_cells_alone_is_found(gate: Bundle) -> None:
    (graph,) = gate.manifest.graph
    assert graph.cut
    text = (gate.path / MANIFEST).read_text()
    swapped = text.replace(f'file = "{graph.file}"', f'file = "{graph.cut.file}"', 1)
    (gate.path / MANIFEST).write_text(swapped.replace(graph.sha256, graph.cut.sha256, 1))
    (check,) = (check for check in verify_bundle(open_bundle(gate.path)) if check.engine == "onnx")
    assert not check.ok


def test_a_cut_of_another_precision_is_refused(gate: Bundle) -> None:
    head, tail = (gate.path / MANIFEST).read_text().split("[graph.cut]")
    (gate.path / MANIFEST).write_text(f"{head}[graph.cut]{tail.replace('fp32', 'int8', 1)}")
    with pytest.raises(BundleError, match="its cut has its format and precision"):
        open_bundle(gate.path)


def test_a_copy_has_the_cuts_and_a_dropped_graph_leaves_none(gate: Bundle, tmp_path: Path) -> None:
    there = copy_bundle(gate, tmp_path / "there" / "gate")
    assert (there.path / "model.cells.onnx").is_file()
    other = msgspec.structs.replace(gate.manifest.graph[0], file="other.onnx", cut=None)
    two = msgspec.structs.replace(there.manifest, graph=(*there.manifest.graph, other))
    drop_graphs(msgspec.structs.replace(there, manifest=two), {"model.onnx"})
    assert not list(there.path.glob("model*"))
