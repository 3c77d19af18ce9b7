"""`edge export`: a trained network and what a manifest says of it become a bundle, checked against each other."""

from __future__ import annotations

import io
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxslim
from google.protobuf.message import DecodeError

from edge.bundle import Bundle, File, Graph, Manifest
from edge.engines.session import EXTERNAL_DATA, Engine, Session, installed, open_session
from edge.errors import BundleError, DataError
from edge.golden import golden_batch
from edge.offline.export import fp32_graphs, quiet, to_fp16, to_openvino
from edge.offline.fold_input import fold_into_onnx, fold_into_program
from edge.offline.pack import ARRAYS, MADE_HERE, golden_frame, write_bundle
from edge.offline.ports import describe
from edge.offline.program import TorchSession, load_program, trained_rule
from edge.offline.progress import Progress
from edge.vision.image import InputRule

AGREE = 1e-3  # of the outputs' range: FP32 graphs of one network differ by the order of their sums
SEED = 1


def export_bundle(
    model: Path, manifest: Path, out: Path, arrays: Path | None, progress: Progress, formats: Sequence[str]
) -> tuple[Bundle, dict[str, float]]:
    """Write the bundle of a torch.export program (.pt2) or of an ONNX file.

    manifest: TOML with a manifest's keys, less those that are made here (MADE_HERE are passed over). arrays: the .npz
    that a gate or a density needs. formats: those that are wanted besides ONNX. Returns the bundle, and by how much
    each graph differs from the model as it was given, as a share of the outputs' range.
    Raises DataError for the model, BundleError for what does not fit the manifest; then nothing is left behind.
    """
    fields, checked = read_fields(manifest)
    npz = None if arrays is None else read_npz(arrays)
    if model.suffix == ".onnx":
        files, rule, source = from_onnx(model, checked, progress)
    else:
        files, rule, source = from_program(model, checked, progress)
    files = {name: data for name, data in files.items() if keeps(name, formats)}
    progress("comparing", 0, 1)
    apart = compare(files, checked.input, rule, source)
    if npz is not None:
        files[ARRAYS] = npz
    progress("writing", 0, 1)
    if rule != checked.input:
        fields["folded"] = (checked.input.mean, checked.input.std)
    return write_bundle(out, {**fields, "input": rule}, files, SEED), apart


def read_npz(path: Path) -> bytes:
    """The bytes of an .npz file. Raises DataError where it is none, or holds pickles."""
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no .npz file of plain arrays: {error}") from error
    return data


def keeps(name: str, formats: Sequence[str]) -> bool:
    """Whether a file is wanted; the FP32 ONNX graph, which all others are compared with, always is."""
    kind = {".onnx": "fp16", ".xml": "openvino", ".bin": "openvino", ".tflite": "tflite"}[Path(name).suffix]
    return name == "model.onnx" or kind in formats


def read_fields(path: Path) -> tuple[dict[str, object], Manifest]:
    """What a manifest says before its graphs are there, as it was read and checked; of a bundle that was exported
    before, with the scale that its network was trained with. Raises BundleError."""
    try:
        fields = {k: v for k, v in tomllib.loads(path.read_text()).items() if k not in MADE_HERE}
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}; give the manifest's TOML with --manifest") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not TOML: {error}") from error
    nowhere = "0" * 64
    graph = Graph(file="model.onnx", sha256=nowhere, format="onnx", precision="fp32")
    draft = {**fields, "format": 1, "graph": [graph], "golden": File(file="golden.npz", sha256=nowhere)}
    try:
        checked = msgspec.convert(msgspec.to_builtins(draft), Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{path}: {error}") from error
    fields.pop("folded", None)
    return fields, msgspec.structs.replace(checked, input=trained_rule(checked), folded=None)


def shape_of(rule: InputRule) -> tuple[int, int, int]:
    """Of one picture that the network sees, `(c, h, w)`."""
    return rule.channels, rule.patch or rule.height, rule.patch or rule.width


def check_shape(where: Path, given: Sequence[int | None], rule: InputRule) -> None:
    """given: None is a free side. Raises BundleError where a picture of the manifest does not fit."""
    wanted = shape_of(rule)
    if len(given) != 4 or tuple(given[1:]) != wanted or given[0] not in (None, 1):
        shown = ", ".join("n" if side is None else str(side) for side in given)
        expected = ", ".join(map(str, wanted))
        raise BundleError(f"{where}: the input is ({shown}), the manifest's pictures are (n, {expected}), n free or 1")


def from_program(path: Path, manifest: Manifest, progress: Progress) -> tuple[dict[str, bytes], InputRule, Session]:
    """Graphs, the rule that goes with them, and the program as it was."""
    progress("reading", 0, 1)
    program = load_program(path)
    source = TorchSession(load_program(path))
    inputs = [n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs]
    if len(inputs) != 1:
        raise BundleError(f"{path}: the program has {len(inputs)} inputs; a network of edge has one, the picture")
    sides = [side if isinstance(side, int) else None for side in inputs[0].meta["val"].shape]
    check_shape(path, sides, manifest.input)
    rule = fold_into_program(program, manifest.input) if may_fold(manifest) else manifest.input
    progress("exporting", 0, 1)
    return fp32_graphs(program, manifest.outputs, shape_of(rule), sides[0] or rule.at_once), rule, source


def from_onnx(path: Path, manifest: Manifest, progress: Progress) -> tuple[dict[str, bytes], InputRule, Session]:
    """As `from_program`; to TFLite there is no way from ONNX that keeps its own environment to itself."""
    progress("reading", 0, 1)
    graph = read_onnx(path)
    port, outputs, _ = describe("onnx", graph)
    check_shape(path, [side or None for side in port.shape], manifest.input)
    if len(outputs) != len(manifest.outputs):
        raise BundleError(f"{path} has {len(outputs)} outputs; the manifest names {', '.join(manifest.outputs)}")
    progress("simplifying", 0, 1)
    with quiet():
        slim = onnxslim.slim(onnx.load_from_string(graph))
    simple, rule = bytes(slim.SerializeToString()), manifest.input
    if may_fold(manifest):
        simple, rule = fold_into_onnx(simple, rule)
    xml, weights = to_openvino(simple)
    files = {"model.onnx": simple, "model.fp16.onnx": to_fp16(simple), "model.fp16.xml": xml, "model.fp16.bin": weights}
    return files, rule, open_session("onnx", graph, 2, "cpu")


def may_fold(manifest: Manifest) -> bool:
    """Not where the answer is held against the input itself: it would be on another scale."""
    return manifest.kind != "reconstruction"


def read_onnx(path: Path) -> bytes:
    """The bytes of a whole ONNX file. Raises DataError where it is none, or keeps its weights elsewhere."""
    try:
        graph = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if EXTERNAL_DATA in graph:
        raise DataError(f"{path} keeps weights in another file; save it as one (onnx.save_model, no external data)")
    try:
        model = onnx.load_from_string(graph)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:  # a name that is no UTF-8
        raise DataError(f"{path} is no whole ONNX file: {str(error).strip().splitlines()[0]}") from error
    return graph


def compare(files: dict[str, bytes], before: InputRule, after: InputRule, source: Session) -> dict[str, float]:
    """How far each FP32 graph's answer to the golden frame is from the source's, as a share of its range.

    before: the rule that the source was trained with; after: the one that the graphs have. Raises BundleError naming a
    graph that differs by more than AGREE, EngineError where it does not run.
    """
    frame = golden_frame(before, SEED)
    wanted = [np.copy(out) for out in source.run(golden_batch(frame, before))]
    span = max(float(np.ptp(np.concatenate([out.ravel() for out in wanted]))), 1e-6)
    engines: dict[str, Engine] = {".onnx": "onnx", ".tflite": "litert"}
    apart = {}
    for name, data in files.items():
        engine = engines.get(Path(name).suffix)
        if engine is None or ".fp16." in name or not installed(engine):
            continue
        session = open_session(engine, data, 2, "cpu")
        found = session.run(golden_batch(frame, after))
        if [out.shape for out in found] != [out.shape for out in wanted]:
            shapes = f"{[out.shape for out in found]}, the model with {[out.shape for out in wanted]}"
            raise BundleError(f"{name} answers with {shapes}")
        apart[name] = max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True)) / span
        session.close()
        if not apart[name] <= AGREE:
            raise BundleError(
                f"{name} differs from the model by {apart[name]:.2%} of its range; {AGREE:.1%} is allowed"
            )
    return apart
