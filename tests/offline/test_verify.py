"""A bundle of the house, whole and damaged in each way that a copy can be."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import MANIFEST, Graph, open_bundle
from edge.engines.choose import candidates
from edge.engines.session import ENGINES, Engine, Floats, installed, open_session, readable
from edge.errors import BundleError
from edge.golden import TOLERANCE, check_golden
from edge.inspection.assemble import TOGETHER
from edge.offline.verify import Opening, verify_bundle
from tests.lines import called, edit

NAME = "segdec-commutator"


@pytest.fixture
def bundle_path(exported_models: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(exported_models / NAME, tmp_path / NAME))


def rewrite_arrays(path: Path, name: str, **changed: NDArray[np.generic]) -> None:
    """Other arrays in one file of the bundle, with a digest that is right."""
    file = path / name
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **{**kept, **changed})
    file.write_bytes(packed.getvalue())
    edit(path / MANIFEST, before, hashlib.sha256(packed.getvalue()).hexdigest())


def some_graph(path: Path) -> tuple[Graph, Engine]:
    """The first graph that an installed engine reads, and that engine."""
    graphs = open_bundle(path).manifest.graph
    return next((g, e) for g in graphs for e in ENGINES if g in readable(e, graphs) and installed(e))


def test_every_bundle_does_here_what_it_did_where_it_was_made(exported_models: Path) -> None:
    paths = sorted(exported_models.glob("*/manifest.toml"))
    assert paths
    for path in paths:
        bundle = open_bundle(path.parent)
        rows = verify_bundle(bundle)
        assert len(rows) == sum(
            len(candidates(readable(e, bundle.manifest.graph), "cpu")) for e in ENGINES if installed(e)
        )
        for row in rows:
            assert row.ok, row.detail
            assert row.error is not None
            assert row.milliseconds is not None
            assert row.milliseconds > 0


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.tflite", "golden.npz"])
@pytest.mark.parametrize("damage", ["altered", "cut short", "missing"])
def test_a_damaged_file_is_named(bundle_path: Path, name: str, damage: str) -> None:
    file = bundle_path / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "altered":
        file.write_bytes(data)
    elif damage == "cut short":
        file.write_bytes(data[:-1])
    else:
        file.unlink()
    with pytest.raises(BundleError, match=name):
        verify_bundle(open_bundle(bundle_path))


def test_a_manifest_that_was_cut_short_is_refused(bundle_path: Path) -> None:
    manifest = bundle_path / "manifest.toml"
    manifest.write_bytes(manifest.read_bytes()[:700])
    with pytest.raises(BundleError, match=r"manifest\.toml"):
        open_bundle(bundle_path)


def test_a_key_that_nobody_reads_is_refused(bundle_path: Path) -> None:
    edit(bundle_path / MANIFEST, "[thresholds]\n", "[thresholds]\nscroe = 0.5\n")
    with pytest.raises(BundleError, match="scroe"):
        open_bundle(bundle_path)


def test_an_output_that_is_not_named_is_told(bundle_path: Path) -> None:
    edit(bundle_path / MANIFEST, '    "map",\n', "")
    with pytest.raises(BundleError, match="a segdec has 2, 1 are named"):
        open_bundle(bundle_path)


def test_a_size_that_the_graph_does_not_take_is_told(bundle_path: Path) -> None:
    """Another height changes the input, so either the engine refuses or the outputs have another shape."""
    edit(bundle_path / MANIFEST, "height = 640", "height = 512")
    assert not any(row.ok for row in verify_bundle(open_bundle(bundle_path)))


@pytest.mark.parametrize("factor", [2.0, np.nan])
def test_other_numbers_than_the_golden_ones_are_refused(bundle_path: Path, factor: float) -> None:
    graph, engine = some_graph(bundle_path)
    key = f"{graph.file}/map"
    with np.load(bundle_path / "golden.npz") as arrays:
        expected = arrays[key]
    rewrite_arrays(bundle_path, "golden.npz", **{key: expected * np.float32(factor)})
    bundle = open_bundle(bundle_path)
    session = open_session(engine, bundle.read(graph), 2, "cpu")
    with pytest.raises(BundleError, match="golden frame is off"):
        check_golden(bundle, graph, session)
    session.close()


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [("nearest-bottle", "{graph}/scale", "memory is"), ("kinds-metal_nut", "bias_0", "layers do not fit")],
)
def test_arrays_that_nothing_can_be_scored_with_are_told_although_the_graphs_do_as_expected(
    exported_models: Path, tmp_path: Path, name: str, array: str, said: str
) -> None:
    for copied in ("gate", name):
        shutil.copytree(exported_models / copied, tmp_path / copied)
    graph, _ = some_graph(tmp_path / name)
    rewrite_arrays(tmp_path / name, "arrays.npz", **{array.format(graph=graph.file): np.ones(3, np.float32)})
    rows = verify_bundle(open_bundle(tmp_path / name))
    damaged = [row for row in rows if "{graph}" not in array or row.graph == graph.file]
    assert damaged and {row.detail for row in rows if row.ok} <= {"as expected"}
    assert all(not row.ok and said in row.detail for row in damaged)


def test_a_threshold_may_be_left_to_the_line(bundle_path: Path) -> None:
    score = open_bundle(bundle_path).manifest.thresholds.score
    edit(bundle_path / MANIFEST, f"score = {score}\n", "")
    assert open_bundle(bundle_path).manifest.thresholds.score is None
    assert all(row.ok for row in verify_bundle(open_bundle(bundle_path)))


def test_a_golden_file_without_the_graph_is_refused(bundle_path: Path) -> None:
    graph, engine = some_graph(bundle_path)
    golden = bundle_path / "golden.npz"
    before = hashlib.sha256(golden.read_bytes()).hexdigest()
    with np.load(golden) as arrays:
        frame = arrays["frame"]
    np.savez(golden, allow_pickle=False, frame=frame)
    edit(bundle_path / MANIFEST, before, hashlib.sha256(golden.read_bytes()).hexdigest())
    bundle = open_bundle(bundle_path)
    session = open_session(engine, bundle.read(graph), 2, "cpu")
    with pytest.raises(BundleError, match="lacks"):
        check_golden(bundle, graph, session)
    session.close()


def test_an_untouched_graph_is_far_inside_the_tolerance(bundle_path: Path) -> None:
    bundle = open_bundle(bundle_path)
    precisions = {graph.file: graph.precision for graph in bundle.manifest.graph}
    for row in verify_bundle(bundle):
        assert row.error is not None
        assert row.error < TOLERANCE[precisions[row.graph]] / 2


def test_warm_opens_each_graph_twice_on_the_device_asked_for_and_says_how_long(bundle_path: Path) -> None:
    rows = verify_bundle(open_bundle(bundle_path), opening=Opening(device="auto", warm=True, batch=3))
    assert rows and all(row.ok for row in rows)
    for row in rows:
        assert row.device == "cpu" and row.cold_s is not None and row.warm_s is not None
        assert row.cold_s > 0 and row.warm_s > 0
    assert all(row.cold_s is row.warm_s is None for row in verify_bundle(open_bundle(bundle_path)))


def test_warm_runs_the_largest_batch_that_it_was_given(bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines' own sessions run; only the sizes are noted on the way."""
    import edge.offline.verify as verify

    sizes: list[int] = []
    sized = verify._sized

    def noted(batch: Floats, size: int) -> Floats:
        sizes.append(size)
        answer = sized(batch, size)
        assert answer.shape == (size, *batch.shape[1:])
        return answer

    monkeypatch.setattr(verify, "_sized", noted)
    graph, engine = some_graph(bundle_path)
    bundle = open_bundle(bundle_path)
    assert verify.seconds_to_open(bundle, graph, engine, Opening(batch=5)) > 0
    assert sizes == [1, TOGETHER, 5], "a frame, as many as may come together, and what was asked for"


def test_the_command_says_where_no_gpu_is(bundle_path: Path) -> None:
    if any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dri").exists():
        pytest.skip("a GPU is here")
    code, out, _ = called("verify", "--warm", "--device", "gpu", bundle_path, "--json")
    rows = json.loads(out)
    assert code == 1 and rows and not any(row["ok"] for row in rows)
    assert all("device" in row["detail"] for row in rows)
    code, out, _ = called("verify", "--warm", bundle_path)
    assert code == 0 and "cold_s" in out and "warm_s" in out
