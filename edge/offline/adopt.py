"""`edge import`: an exported network that maps a picture to a map of scores becomes a bundle.

What it saw in training is neither lost nor doubled: normalisation that the manifest cannot say (one mean and std for
each channel) goes in front of the graph as exact subtraction and division, that of the graph itself stays alone. Only
the map and the frame's score are kept; a threshold that was part of the graph is read from it and put outside.
"""

from __future__ import annotations

import datetime
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.bundle import MANIFEST, Bundle, Scoring, Thresholds, Training
from edge.config import Name
from edge.engines.choose import why_none
from edge.engines.session import ENGINES, Engine, installed
from edge.errors import BundleError, EngineError, MissingExtra
from edge.offline.adopt_answer import Plan, choose_answers
from edge.offline.adopt_input import check_cut, front, read_scale, read_shape, to_type
from edge.offline.adopt_threshold import choose_thresholds, read_limits
from edge.offline.adopt_wanted import Wanted
from edge.offline.anomalib import Export, Transform, find_export, generation, read_transform
from edge.offline.foreign import Network
from edge.offline.pack import write_bundle
from edge.offline.progress import Progress
from edge.offline.verify import GraphCheck, verify_bundle


@dataclass(frozen=True)
class Adopted:
    """notes: what was found and done, a sentence each."""

    bundle: Bundle
    rows: list[GraphCheck]
    notes: tuple[str, ...]


def adopt(source: Path, wanted: Wanted, out: Path, show: Progress) -> Adopted:
    """Write the bundle `out` and check it on every engine. All is tried in a folder that vanishes before the bundle
    appears, whole. Raises BundleError, EngineError, DataError, MissingExtra."""
    _check_place(out)
    export = find_export(source)
    plan = _plan(export, wanted)
    answers = choose_answers(plan, export, wanted)
    plan.network.keep(answers)
    files = _files(plan.network)
    fields = _fields(plan, wanted, out.name, [answer.role for answer in answers])
    with tempfile.TemporaryDirectory() as folder:
        unset = Thresholds(score=0.0, map=0.0, how="not set yet")  # until good images were scored by this very bundle
        trial = write_bundle(
            Path(folder) / out.name, {**fields, "thresholds": unset, **_trained(wanted, plan, 0)}, files
        )
        engine = _reader(trial)
        thresholds, images = choose_thresholds(plan, export, wanted, trial, engine, show)
    bundle = write_bundle(out, {**fields, "thresholds": thresholds, **_trained(wanted, plan, images)}, files)
    return Adopted(bundle, verify_bundle(bundle), tuple(plan.notes))


def _check_place(out: Path) -> None:
    """A bundle may be replaced, another folder never."""
    try:
        msgspec.convert(out.name, Name)
    except msgspec.ValidationError as error:
        raise BundleError(f"{out}: a bundle's name is of letters, digits, _ . -, as line.toml has it") from error
    if out.exists() and not (out / MANIFEST).is_file():
        raise BundleError(f"{out} is there and is no bundle; give another name")


def _files(network: Network) -> dict[str, bytes]:
    graph, weights = network.dump()
    precision = network.precision()
    stem = "model" if precision == "fp32" else f"model.{precision}"
    return {f"{stem}.onnx": graph} if network.form == "onnx" else {f"{stem}.xml": graph, f"{stem}.bin": weights}


def _network(export: Export) -> Network:
    data = _bytes(export.graph)
    if export.weights is not None:
        if not installed("openvino"):
            raise MissingExtra("openvino", "openvino", f"importing {export.graph.name}")
        from edge.offline.foreign_openvino import OpenvinoNetwork

        return OpenvinoNetwork(data, _bytes(export.weights), export.graph)
    try:
        from edge.offline.foreign_onnx import OnnxNetwork
    except ImportError as error:
        raise MissingExtra("onnx", "import", f"importing {export.graph.name}") from error
    return OnnxNetwork(data, export.graph)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error
    if not data:
        raise BundleError(f"{path} is empty; was it cut short?")
    return data


def _plan(export: Export, wanted: Wanted) -> Plan:
    """The network with its front, and what is known of it. Raises BundleError."""
    network, where = _network(export), export.graph
    made_by = generation(export, network.answers())
    told = read_transform(export) if made_by == "0.x" else Transform()
    given = network.given()
    shape = read_shape(given.sides, told, wanted, where)
    notes = [f"imported from {where.name}" + (f", an export of anomalib {made_by}" if made_by else "")]
    check_cut(network, made_by, shape, wanted, where)
    if made_by in ("1.x", "2.x"):
        notes.append("its graph resizes and normalises by itself: input.mean and input.std stay 0 and 1")
    said = read_scale(export, made_by, told, wanted, given.dtype)
    rule, steps = front(said, shape, notes)
    limits, bounded = read_limits(network, export, made_by)
    network.put_in_front([*steps, *to_type(given.dtype, shape, where, notes)], shape.fed(), shape.sides())
    return Plan(network, made_by, shape, rule, limits, bounded, notes)


def _fields(plan: Plan, wanted: Wanted, name: str, roles: list[str]) -> dict[str, object]:
    return {
        "name": name,
        "kind": "map",
        "surfaces": (wanted.surface,),
        "label": wanted.label,
        "input": plan.rule,
        "outputs": tuple(roles),
        "scoring": Scoring(answer=wanted.answer),
    }


def _trained(wanted: Wanted, plan: Plan, images: int) -> dict[str, object]:
    today = datetime.date.today().isoformat()
    return {"training": Training(wanted.data, wanted.licence, images, today, wanted.command, "; ".join(plan.notes))}


def _reader(trial: Bundle) -> Engine:
    """The first engine that does as expected. Raises EngineError."""
    rows: list[GraphCheck] = []
    for engine in (engine for engine in ENGINES if installed(engine)):
        rows += verify_bundle(trial, [engine])
        if rows and rows[-1].ok:
            return engine
    why = "; ".join(f"{r.engine}: {r.detail}" for r in rows) or why_none("auto", trial.manifest.graph)
    raise EngineError(f"no engine here reads the imported graph: {why}")
