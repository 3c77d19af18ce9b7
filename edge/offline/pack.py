"""Write a bundle: golden file, digests and manifest, and the folder appears whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import tomli_w
from numpy.typing import NDArray

from edge.bundle import FORMAT_VERSION, MANIFEST, Bundle, Format, Graph, Manifest, open_bundle
from edge.engines.session import Engine, Floats, open_session
from edge.errors import BundleError
from edge.golden import golden_batch, golden_key
from edge.offline.cut import cut_short
from edge.offline.ports import describe
from edge.vision.image import WHOLE, InputRule

# A manifest's keys that are made here, or are of the graphs that were there before.
MADE_HERE = ("format", "graph", "golden", "arrays", "measured", "parity")
GOLDEN = "golden.npz"
ARRAYS = "arrays.npz"
FILE_MODE, FOLDER_MODE = 0o644, 0o755  # the daemon reads them under a user of its own
# The engine whose answer is the golden one.
MAKERS: dict[Format, Engine] = {"onnx": "onnx", "openvino": "openvino", "tflite": "litert"}
FORMATS: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino", ".tflite": "tflite"}
WEIGHTS = ".bin"


def golden_frame(rule: InputRule, seed: int) -> NDArray[np.uint8]:
    """A smooth random texture at the input size, `(h, w)` or `(h, w, 3)`; nobody's picture."""
    shape = (rule.height, rule.width) if rule.channels == 1 else (rule.height, rule.width, 3)
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 4.0) * 8 + cv2.GaussianBlur(noise, (0, 0), 1.0)
    low, high = float(texture.min()), float(texture.max())
    return ((texture - low) * (255 / (high - low))).astype(np.uint8)


def write_bundle(path: Path, fields: dict[str, object], files: dict[str, bytes], seed: int = 1) -> Bundle:
    """Write a bundle and open it.

    fields: the manifest's, less `format`, `graph`, `golden` and `arrays`, which are made here from the files. files:
    `NAME.onnx`, `NAME.xml` with `NAME.bin`, `NAME.tflite`, with `.int8` or `.fp16` before the suffix where it is one,
    and perhaps `arrays.npz`. An older bundle of that name is replaced by two renames. Raises BundleError where the
    manifest would not be valid, or a graph does not fit it.
    """
    tables = [_graph(name, files) for name in files if Path(name).suffix in FORMATS]
    draft = {**fields, "format": FORMAT_VERSION, "graph": tables, "golden": entry_of(GOLDEN, b"")}
    if ARRAYS in files:
        draft["arrays"] = entry_of(ARRAYS, files[ARRAYS])
    checked = _checked(path, draft)
    described = tuple(_with_ports(graph, files) for graph in checked.graph)
    frame = golden_frame(checked.input, seed)
    batch = golden_batch(frame, checked.input)
    answers = [_answer(graph, files, batch) for graph in described]
    golden = _golden(checked, frame, answers)
    draft["graph"], shorter = _cut_graphs(msgspec.structs.replace(checked, graph=described), files, batch, answers)
    draft["golden"] = entry_of(GOLDEN, golden)
    manifest = tomli_w.dumps(plain(_checked(path, draft))).encode()
    replace_folder(path, {**files, **shorter, GOLDEN: golden, MANIFEST: manifest})
    return open_bundle(path)


def _cut_graphs(
    manifest: Manifest, files: dict[str, bytes], batch: Floats, answers: list[list[Floats]]
) -> tuple[list[Graph], dict[str, bytes]]:
    """Its graphs, and the files of what a gate's are as far as their cells, which is all that the nearest judges look
    at: of each graph that gives the same bits here when it is cut. answers: of each to the batch."""
    graphs, made = list(manifest.graph), dict[str, bytes]()
    if manifest.kind == "gate" and len(manifest.outputs) > 1:
        for place, (graph, answer) in enumerate(zip(manifest.graph, answers, strict=True)):
            name = graph.file.replace(".", f".{manifest.outputs[-1]}.", 1)
            short, weights = cut_short(graph.format, files[graph.file], _weights(graph, files))
            own = {name: short, **({Path(name).with_suffix(WEIGHTS).name: weights} if weights else {})}
            cut = msgspec.convert(_graph(name, own), Graph)
            if np.array_equal(answer[-1], _answer(cut, own, batch)[-1]):
                graphs[place] = msgspec.structs.replace(graph, cut=_with_ports(cut, own))
                made |= own
    return graphs, made


def _answer(graph: Graph, files: dict[str, bytes], batch: Floats) -> list[Floats]:
    with closing(open_session(MAKERS[graph.format], files[graph.file], 2, "cpu", _weights(graph, files))) as session:
        return [np.copy(out) for out in session.run(batch)]


def _weights(graph: Graph, files: dict[str, bytes]) -> bytes:
    return files[graph.weights.file] if graph.weights else b""


def write_borrowing(
    path: Path, fields: dict[str, object], lender: Bundle, arrays: bytes, tiles: tuple[int, int] = WHOLE
) -> Bundle:
    """Write a bundle of arrays around another one's network, and open it.

    fields: as for write_bundle, less `input` and `outputs`, which are the lender's, as its golden frame is. lender: a
    bundle in the same folder. tiles: that a frame is cut into.

    Raises BundleError where the manifest would not be valid, or the lender was altered.
    """
    if lender.path.resolve().parent != path.resolve().parent:
        raise BundleError(f"{path} would name files of {lender.path}, which has to lie beside it")
    lent = lender.path.name
    draft = {
        **fields,
        "format": FORMAT_VERSION,
        "input": msgspec.structs.replace(lender.manifest.input, tiles=tiles),
        "outputs": lender.manifest.outputs,
        "graph": [_lent(graph, lent) for graph in lender.manifest.graph],
        "arrays": entry_of(ARRAYS, arrays),
        "golden": msgspec.structs.replace(lender.manifest.golden, bundle=lent),
    }
    manifest = tomli_w.dumps(plain(_checked(path, draft))).encode()
    replace_folder(path, {ARRAYS: arrays, MANIFEST: manifest})
    return open_bundle(path)


def rewrite(path: Path, text: str) -> None:
    """Replace a text file in one step; its mode and owner stay, a link goes on pointing to it. Raises BundleError."""
    path = path.resolve()
    fresh = path.with_name(f".{path.name}")
    try:
        fresh.write_text(text)
        shutil.copymode(path, fresh)
        with suppress(PermissionError):  # only root gives files away
            os.chown(fresh, path.stat().st_uid, path.stat().st_gid)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise BundleError(f"cannot write {path}: {error.strerror}; is the folder writable?") from error


def entry_of(name: str, data: bytes) -> dict[str, str]:
    """A file as a manifest names it."""
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def _graph(name: str, files: dict[str, bytes]) -> dict[str, object]:
    """Its table in the manifest. Raises BundleError where it is no graph, or lacks its weights."""
    form = FORMATS[Path(name).suffix]
    apart = Path(name).with_suffix(WEIGHTS).name if form == "openvino" else None
    if apart and apart not in files:
        raise BundleError(f"{name} has no {apart} beside it; OpenVINO keeps a network's weights there")
    precision = next((kind for kind in ("int8", "fp16") if f".{kind}." in name), "fp32")
    table: dict[str, object] = {**entry_of(name, files[name]), "format": form, "precision": precision}
    return {**table, "weights": entry_of(apart, files[apart])} if apart else table


def _with_ports(graph: Graph, files: dict[str, bytes]) -> Graph:
    into, out, opset = describe(graph.format, files[graph.file], _weights(graph, files))
    return msgspec.structs.replace(graph, input=into, output=out, opset=opset)


def _lent(graph: Graph, lender: str) -> Graph:
    weights = msgspec.structs.replace(graph.weights, bundle=lender) if graph.weights else None
    cut = _lent(graph.cut, lender) if graph.cut else None
    return msgspec.structs.replace(graph, bundle=lender, weights=weights, cut=cut)


def _checked(path: Path, fields: dict[str, object]) -> Manifest:
    try:
        return msgspec.convert(msgspec.to_builtins(fields), Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{path / MANIFEST} would not be valid: {error}") from error


def plain(manifest: Manifest) -> dict[str, object]:
    """As TOML has it: no null, and what was left out stays out."""

    def without_none(value: object) -> object:
        if isinstance(value, dict):
            return {key: without_none(inner) for key, inner in value.items() if inner is not None}
        return [without_none(inner) for inner in value] if isinstance(value, list | tuple) else value

    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    if manifest.input.tiles == WHOLE:
        del fields["input"]["tiles"]
    return {key: without_none(value) for key, value in fields.items() if value is not None}


def _golden(manifest: Manifest, frame: NDArray[np.uint8], answers: list[list[Floats]]) -> bytes:
    arrays: dict[str, NDArray[np.uint8] | Floats] = {"frame": frame}
    for graph, outputs in zip(manifest.graph, answers, strict=True):
        if len(outputs) != len(manifest.outputs):
            raise BundleError(f"{graph.file} has {len(outputs)} outputs; the manifest names {manifest.outputs}")
        arrays |= {golden_key(graph, name): out for name, out in zip(manifest.outputs, outputs, strict=True)}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    return packed.getvalue()


def replace_folder(path: Path, files: dict[str, bytes]) -> None:
    """A folder of these files in place of what is there, whole or not at all. Raises BundleError.

    What an earlier try left behind is put right first."""
    if path.resolve() == Path.cwd():
        raise BundleError(f"{path} is the folder that you stand in, and would be replaced; go one up and give its name")
    old = path.with_name(f".{path.name}.old")
    fresh = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        for name, data in files.items():
            (fresh / name).write_bytes(data)
            (fresh / name).chmod(FILE_MODE)
        fresh.chmod(FOLDER_MODE)  # mkdtemp's own is for its maker alone
        if path.exists():
            path.rename(old)
        fresh.rename(path)
    except OSError as error:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
        raise BundleError(f"cannot write {path}: {error.strerror}; is {path.parent} writable?") from error
    shutil.rmtree(old, ignore_errors=True)
