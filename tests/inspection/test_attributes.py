"""The class embedding in the verdict: what the gate reads off a frame, and why a surface was called unseen."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import MANIFEST, open_bundle
from edge.config import Line
from edge.engines.session import open_session
from edge.errors import BundleError
from edge.inspection.assemble import open_pipeline
from edge.inspection.attributes import ReadOut, open_read_out
from edge.inspection.gate import Gate
from edge.inspection.model import Model
from edge.inspection.verdict import make_verdict
from edge.records import Evaluation, Frame, Verdict
from tests.lines import edit

CENTRES = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
SURFACES = ("cloth", "steel")
GOOD = {
    "attributes": np.array(["woven", "shine", "striped"]),
    "readout": np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 0.1]], np.float32),
    "readout_offset": np.array([0.0, 0.0, 0.0], np.float32),
}


def opened() -> ReadOut:
    read_out = open_read_out(GOOD, CENTRES, SURFACES)
    assert read_out is not None
    return read_out


def test_a_frame_is_read_by_name_and_stays_between_no_and_yes() -> None:
    read_out = opened()
    named = read_out.named(read_out.read(np.array([-3.0, 0.7], np.float32)))
    assert named == {"woven": 0.7, "shine": 0.0, "striped": 0.0}


def test_the_sentence_names_the_greatest_difference_first() -> None:
    read_out = opened()
    sentence = read_out.why(read_out.read(np.array([0.4, 0.1], np.float32)), "cloth")
    assert sentence == "unseen surface; nearest is cloth, but: woven 0.1 (there 1.0), shine 0.4 (there 0.0)"
    assert "every named attribute" in read_out.why(read_out.read(CENTRES[0]), "cloth")


def test_a_gate_without_attributes_is_a_gate() -> None:
    assert open_read_out({"centres": CENTRES}, CENTRES, SURFACES) is None


@pytest.mark.parametrize(
    "broken",
    [
        {"readout": np.zeros((2, 2), np.float32)},
        {"readout": np.zeros((3, 5), np.float32)},
        {"readout_offset": np.zeros(2, np.float32)},
        {"readout_offset": np.full(3, np.nan, np.float32)},
        {"attributes": np.array(["woven", "woven", "shine"])},
        {"attributes": np.array("woven")},
        {"readout": np.array([["a", "b"]] * 3)},
        {"readout": None},
    ],
)
def test_a_read_out_that_does_not_fit_is_a_bundle_error(
    small_line: Line, tmp_path: Path, broken: dict[str, NDArray[np.generic] | None]
) -> None:
    folder = tmp_path / "gate"
    shutil.copytree(small_line.bundles / "gate", folder)
    path = folder / "arrays.npz"
    old = path.read_bytes()
    with np.load(path, allow_pickle=False) as kept:
        arrays = {**kept, "readout": np.zeros((3, 1)), **{k: v for k, v in GOOD.items() if k != "readout"}, **broken}
    np.savez(path, allow_pickle=False, **{name: value for name, value in arrays.items() if value is not None})
    before, after = (hashlib.sha256(data).hexdigest() for data in (old, path.read_bytes()))
    edit(folder / MANIFEST, before, after)
    bundle = open_bundle(folder)
    graph = bundle.manifest.graph[0]
    session = open_session("onnx", bundle.read(graph), 1, "cpu")
    with pytest.raises(BundleError, match=r"arrays\.npz"):
        Gate(Model(bundle, graph, session))
    session.close()


def verdict_on(line: Line, level: int) -> Verdict:
    pipeline = open_pipeline(line)
    inspection = pipeline.inspect(Frame(np.full((64, 64), level, np.uint8), 255))
    pipeline.close()
    return make_verdict(line, "s", 0, "cam", None, inspection)


def test_the_verdict_carries_the_class_embedding_and_says_why(small_line: Line, own_cache: Path) -> None:
    seen, unseen = verdict_on(small_line, 51), verdict_on(small_line, 128)
    assert seen.attributes == pytest.approx({"bright": 0.2, "striped": 0.5}, abs=0.01)
    assert seen.evaluation == Evaluation.OK and not seen.detail
    assert unseen.reason == "unseen_surface" and unseen.attributes["bright"] == pytest.approx(0.5, abs=0.01)
    assert unseen.detail.startswith("unseen surface; nearest is ") and "bright 0.5 (there 0." in unseen.detail
