"""A bundle whose files or manifest are not what they should be is refused, and the file is named."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import MANIFEST, Bundle, open_bundle
from edge.config import Line
from edge.engines.session import open_session
from edge.errors import BundleError, ScoreError
from edge.inspection.gate import Gate
from edge.inspection.model import Model
from edge.records import Frame
from tests.lines import edit
from tests.small_line import npz


@pytest.fixture
def gate(small_line: Line, tmp_path: Path) -> Path:
    """A copy of the small gate, which has every kind of file, to be damaged."""
    return Path(shutil.copytree(small_line.bundles / "gate", tmp_path / "gate"))


def put_arrays(folder: Path, data: bytes) -> Bundle:
    """Other arrays with a digest that is right: whoever made the bundle made it wrong."""
    before = hashlib.sha256((folder / "arrays.npz").read_bytes()).hexdigest()
    (folder / "arrays.npz").write_bytes(data)
    edit(folder / MANIFEST, before, hashlib.sha256(data).hexdigest())
    return open_bundle(folder)


def read_arrays(bundle: Bundle) -> None:
    assert bundle.manifest.arrays is not None
    bundle.read_arrays(bundle.manifest.arrays)


def test_a_whole_one_is_read(gate: Path) -> None:
    bundle = open_bundle(gate)
    assert bundle.manifest.surfaces == ("dark", "light") and len(bundle.sha256) == 64
    assert hashlib.sha256(bundle.read(bundle.manifest.graph[0])).hexdigest() == bundle.manifest.graph[0].sha256
    read_arrays(bundle)


def test_a_missing_folder_and_a_missing_manifest_are_named(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BundleError, match="is this a bundle") as raised:
            open_bundle(folder)
        assert str(folder / "manifest.toml") in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("format = 1", "format = 2", "format 2"),
        ("format = 1\n", "", "format"),
        ("format = 1\n", "format = 1\nspeed = 3\n", "speed"),
        ("[training]", "[training]\nmood = 3", "mood"),
        ('kind = "gate"', 'kind = "oracle"', "kind: "),
        ('kind = "gate"', 'kind = "segdec"', "a segdec has 2"),
        ('kind = "gate"', 'kind = "reconstruction"', r"input\.patch"),
        ("width = 64", "width = 0", "input: "),
        ("width = 64", "wide = 64", r"wide"),
        ("width = 64", "width = 64, patch = 32, stride = 64", "input: "),
        ("width = 64", "width = 64, patch = 32, stride = 32", r"input\.patch = 32"),
        ('surfaces = ["dark", "light"]', "surfaces = []", "surfaces"),
        ('precision = "fp32"', 'precision = "fp7"', "precision: "),
        ("[[graph]]", "[graph]", "graph: "),
        ('sha256 = "', 'sha256 = "A', r"\.sha256"),
        ("[golden]", "[silver]", "silver"),
    ],
)
def test_a_wrong_field_of_the_manifest_is_named(old: str, new: str, named: str, gate: Path) -> None:
    edit(gate / MANIFEST, old, new)
    with pytest.raises(BundleError, match=named) as raised:
        open_bundle(gate)
    assert str(gate / "manifest.toml") in str(raised.value)


def test_a_manifest_without_graphs_is_refused(gate: Path) -> None:
    text = (gate / "manifest.toml").read_text()
    start, end = text.index("[[graph]]"), text.index("[golden]")
    (gate / "manifest.toml").write_text(f"graph = []\n{text[:start]}{text[end:]}")
    with pytest.raises(BundleError, match=r"\[\[graph\]\]"):
        open_bundle(gate)


@pytest.mark.parametrize("data", [b"format = ", b"\xff\xfe", b"a = " + b"[" * 9000])
def test_a_manifest_that_is_not_toml_is_refused(data: bytes, gate: Path) -> None:
    (gate / "manifest.toml").write_bytes(data)
    with pytest.raises(BundleError, match="not TOML"):
        open_bundle(gate)


@pytest.mark.parametrize("path", ["../gate/model.onnx", "/etc/passwd", "a/b", "..", ".", "", "a\\\\b", "model.onnx\\n"])
@pytest.mark.parametrize("file", ["model.onnx", "golden.npz", "arrays.npz"])
def test_no_file_lies_outside_the_folder(file: str, path: str, gate: Path) -> None:
    edit(gate / MANIFEST, f'file = "{file}"', f'file = "{path}"')
    with pytest.raises(BundleError, match=r"file"):
        open_bundle(gate)


@pytest.mark.parametrize("file", ["model.onnx", "arrays.npz"])
def test_a_missing_or_altered_file_is_named(file: str, gate: Path) -> None:
    bundle = open_bundle(gate)
    entry = next(e for e in (*bundle.manifest.graph, bundle.manifest.arrays) if e is not None and e.file == file)
    data = bytearray((gate / file).read_bytes())
    data[len(data) // 2] ^= 1
    (gate / file).write_bytes(data)
    with pytest.raises(BundleError, match=f"{file} was altered"):
        bundle.read(entry)
    (gate / file).unlink()
    with pytest.raises(BundleError, match=f"{file}: No such file"):
        bundle.read(entry)


def test_a_link_is_followed_and_what_it_leads_to_is_held_to_the_digest(gate: Path, tmp_path: Path) -> None:
    """Stores that keep files by their digest lay out bundles as links; the manifest pins the bytes all the same."""
    bundle = open_bundle(gate)
    graph = bundle.manifest.graph[0]
    (gate / graph.file).rename(tmp_path / "stored")
    (gate / graph.file).symlink_to(tmp_path / "stored")
    bundle.read(graph)
    (gate / graph.file).unlink()
    (gate / graph.file).symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="altered"):
        bundle.read(graph)


def test_a_pipe_or_a_folder_in_a_files_place_is_refused_at_once(gate: Path) -> None:
    bundle = open_bundle(gate)
    graph = bundle.manifest.graph[0]
    (gate / graph.file).unlink()
    os.mkfifo(gate / graph.file)
    with pytest.raises(BundleError, match="no plain file"):
        bundle.read(graph)
    (gate / graph.file).unlink()
    (gate / graph.file).mkdir()
    with pytest.raises(BundleError, match="no plain file"):
        bundle.read(graph)


def zipped(name: str, data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, data)
    return packed.getvalue()


def pickled() -> bytes:
    packed = io.BytesIO()
    np.savez(packed, mean=np.array([{"a": 1}], dtype=object))
    return packed.getvalue()


def plain_npy() -> bytes:
    packed = io.BytesIO()
    np.save(packed, np.zeros(3))
    return packed.getvalue()


WHOLE = npz(mean=np.zeros(500))
HUGE = plain_npy().replace(b"(3,), }" + b" " * 10, b"(3" + b"0" * 10 + b",), }")
NO_ARRAYS = {
    "a pickle": pickled(),
    "a bare pickle": b"\x80\x04N.",
    "one bare array": plain_npy(),
    "nothing": b"",
    "half a file": WHOLE[:300],
    "damaged inside": WHOLE[:200] + b"\xff" * 20 + WHOLE[220:],
    "a text among arrays": zipped("mean.npy", b"no array"),
    "an array of a claimed size": zipped("mean.npy", HUGE),
}


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_arrays_that_are_none_are_refused(kind: str, gate: Path) -> None:
    bundle = put_arrays(gate, NO_ARRAYS[kind])
    with pytest.raises(BundleError, match=r"arrays\.npz is not a plain \.npz"):
        read_arrays(bundle)


GOOD = {
    "mean": np.zeros(1),
    "projection": np.ones((1, 1)),
    "centres": np.ones((2, 1)),
    "whiteners": np.ones((2, 1, 1)),
    "thresholds": np.ones(2),
    "surfaces": np.array(["dark", "light"]),
}


@pytest.mark.parametrize(
    ("name", "wrong", "named"),
    [
        ("mean", None, "lacks the array 'mean'"),
        ("mean", np.zeros(3), "mean has not the shape"),
        ("mean", np.array(["x"]), "could not convert"),
        ("centres", np.zeros((3, 1)), "centres has not the shape"),
        ("whiteners", np.zeros((2, 1)), "whiteners"),
        ("whiteners", np.zeros((2, 1, 3)), "whiteners has not the shape"),
        ("projection", np.zeros(1), "projection"),
        ("thresholds", np.zeros(2), "threshold is not positive"),
        ("thresholds", np.array([1, np.nan]), "threshold is not positive"),
        ("thresholds", np.array([1, np.inf]), "threshold is not positive"),
        ("surfaces", np.array(["light", "dark"]), "other surfaces"),
    ],
)
def test_arrays_that_make_no_gate_are_refused(
    name: str, wrong: np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None, named: str, gate: Path
) -> None:
    arrays = {**GOOD, name: wrong} if wrong is not None else {k: v for k, v in GOOD.items() if k != name}
    bundle = put_arrays(gate, npz(**arrays))
    graph = bundle.manifest.graph[0]
    session = open_session("onnx", bundle.read(graph), 1, "cpu")
    with pytest.raises(BundleError, match=named) as raised:
        Gate(Model(bundle, graph, session))
    assert str(gate / "arrays.npz") in str(raised.value)
    session.close()


def test_arrays_for_another_backbone_are_no_score(gate: Path) -> None:
    wider = {**GOOD, "mean": np.zeros(2), "projection": np.ones((1, 2))}
    bundle = put_arrays(gate, npz(**wider))
    graph = bundle.manifest.graph[0]
    session = open_session("onnx", bundle.read(graph), 1, "cpu")
    with pytest.raises(ScoreError, match="gate answered with 1 numbers"):
        Gate(Model(bundle, graph, session)).admit(Frame(np.zeros((64, 64), np.uint8), 255))
    session.close()
