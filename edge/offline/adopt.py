"""`edge import`: an exported network that maps a picture to a map of scores becomes a bundle.

What it saw in training is neither lost nor doubled: normalisation that the manifest cannot say (one mean and std for
each channel) goes in front of the graph as exact subtraction and division, that of the graph itself stays alone. Only
the map and the frame's score are kept; a threshold that was part of the graph is read from it and put outside.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edge.bundle import MANIFEST, Bundle, Scoring, Thresholds, Training
from edge.config import Name
from edge.engines.session import ENGINES, READS, Engine, Floats, installed, open_graph, open_session
from edge.errors import BundleError, EdgeError, EngineError, MissingExtra
from edge.golden import golden_batch
from edge.inspection.files import read_frame
from edge.inspection.model import Model
from edge.inspection.score_map import ScoreMapJudge
from edge.offline.anomalib import (
    KEYS,
    LABEL,
    MAP,
    MASK,
    SCORE,
    Export,
    Generation,
    Transform,
    find_export,
    generation,
    read_transform,
)
from edge.offline.foreign import Answer, Network, Step
from edge.offline.pack import golden_frame, write_bundle
from edge.offline.teach_line import good_images
from edge.offline.verify import GraphCheck, verify_bundle
from edge.vision.image import InputRule

Progress = Callable[[str, int, int], None]
Size = tuple[int, int]
SAY = "give --threshold and --map-threshold, or --good with a folder of pictures of good parts to set them on"


@dataclass(frozen=True)
class Wanted:
    """What is said of the network where its files do not say it.

    width, height: pixels of the input. centre: (width, height) of its middle that the network sees, where the graph
    cuts the rest off. mean, std: one or one for each channel, of a scale on which white is `white`. answer: whether map
    and score are logits. map_output, score_output: names in the graph. threshold, map_threshold: of the answers, after
    the sigmoid of logits. good, pass_good: pictures that thresholds are set on, and the share that passes.
    """

    surface: str
    width: int | None = None
    height: int | None = None
    channels: int | None = None
    centre: Size | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    white: float = 1.0
    answer: Literal["logit", "score"] = "score"
    map_output: str | None = None
    score_output: str | None = None
    threshold: float | None = None
    map_threshold: float | None = None
    good: tuple[Path, ...] = ()
    pass_good: float = 0.98
    label: str = "defect"
    data: str = "unknown"
    licence: str = "unknown"
    command: str = "edge import"


@dataclass(frozen=True)
class Adopted:
    """notes: what was found and done, a sentence each."""

    bundle: Bundle
    rows: list[GraphCheck]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Shape:
    """size: (width, height) of the manifest's input. seen: of what the graph's own input is given of that. centre: of
    what its map covers. last: the graph takes its channels last."""

    batch: int
    channels: int
    size: Size
    seen: Size
    centre: Size
    last: bool

    def fed(self) -> tuple[int, ...]:
        return self.batch, self.channels, self.size[1], self.size[0]

    def sides(self) -> tuple[int, ...]:
        width, height = self.seen
        return (self.batch, height, width, self.channels) if self.last else (self.batch, self.channels, height, width)


@dataclass
class _Plan:
    """The network on its way, with its front. limits: what the export itself says of thresholds, and how it came to be
    known. bounded: answers lie in 0..1."""

    network: Network
    made_by: Generation | None
    shape: _Shape
    rule: InputRule
    limits: dict[str, tuple[float, str]]
    bounded: bool
    notes: list[str]


def adopt(source: Path, wanted: Wanted, out: Path, show: Progress) -> Adopted:
    """Write the bundle `out` and check it on every engine. All is tried in a folder that vanishes before the bundle
    appears, whole. Raises BundleError, EngineError, DataError, MissingExtra."""
    _check_place(out)
    export = find_export(source)
    plan = _plan(export, wanted)
    answers = _choose(plan, export, wanted)
    plan.network.keep(answers)
    files = _files(plan.network)
    fields = _fields(plan, wanted, out.name, [answer.role for answer in answers])
    with tempfile.TemporaryDirectory() as folder:
        unset = Thresholds(score=0.0, map=0.0, how="not set yet")  # until good images were scored by this very bundle
        trial = write_bundle(
            Path(folder) / out.name, {**fields, "thresholds": unset, **_trained(wanted, plan, 0)}, files
        )
        engine = _reader(trial)
        thresholds, images = _thresholds(plan, export, wanted, trial, engine, show)
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


def _plan(export: Export, wanted: Wanted) -> _Plan:
    """The network with its front, and what is known of it. Raises BundleError."""
    network, where = _network(export), export.graph
    made_by = generation(export, network.answers())
    told = read_transform(export) if made_by == "0.x" else Transform()
    given = network.given()
    shape = _shape(given.sides, told, wanted, where)
    notes = [f"imported from {where.name}" + (f", an export of anomalib {made_by}" if made_by else "")]
    _check_cut(network, made_by, shape, wanted, where)
    if made_by in ("1.x", "2.x"):
        notes.append("its graph resizes and normalises by itself: input.mean and input.std stay 0 and 1")
    said = _said(export, made_by, told, wanted, given.dtype)
    rule, steps = _front(said, shape, notes)
    limits, bounded = _limits(network, export, made_by)
    network.put_in_front([*steps, *_to_type(given.dtype, shape, where, notes)], shape.fed(), shape.sides())
    return _Plan(network, made_by, shape, rule, limits, bounded, notes)


def _shape(sides: tuple[int, ...], told: Transform, wanted: Wanted, where: Path) -> _Shape:
    """Free sides are fixed, fixed ones have to agree. Raises BundleError."""
    if len(sides) != 4:
        raise BundleError(f"{where} takes an input of {len(sides)} sides {sides}; a picture has four: n, c, h, w")
    if sides[0] not in (0, 1):
        raise BundleError(f"{where} takes {sides[0]} pictures at a time; export it with a free batch, or one of 1")
    last = sides[3] in (1, 3) and sides[1] not in (1, 3)
    batch, height, width, channels = sides if last else (sides[0], *sides[2:], sides[1])
    channels = _agreed(channels, wanted.channels, "channels", where)
    if channels not in (1, 3):
        raise BundleError(f"{where} takes {channels} channels; edge gives 1 (grey) or 3 (RGB)")
    centre = told.centre or wanted.centre
    cut = centre is not None and (told.centre is not None or (width, height) == centre)
    size = told.size or (0, 0)
    size = _agreed(size[0], wanted.width, "width", where), _agreed(size[1], wanted.height, "height", where)
    if not cut:
        size = _agreed(width, size[0], "width", where), _agreed(height, size[1], "height", where)
    if 0 in size:
        raise BundleError(f"{where} leaves its input's width or height free; give --width and --height, as in training")
    if centre is None:
        return _Shape(batch, channels, size, size, size, last)
    if centre[0] > size[0] or centre[1] > size[1]:
        raise BundleError(f"{where}: a centre of {centre} is larger than the input {size}")
    if cut and (width or centre[0], height or centre[1]) != centre:
        raise BundleError(f"{where} takes {width} x {height}, its metadata cut {centre[0]} x {centre[1]}")
    return _Shape(batch, channels, size, centre if cut else size, centre, last)


def _agreed(own: int, asked: int | None, name: str, where: Path) -> int:
    if own and asked and own != asked:
        raise BundleError(f"{where} takes a {name} of {own}, not {asked}; leave --{name} out, or export it anew")
    return own or asked or 0


def _check_cut(network: Network, made_by: Generation | None, shape: _Shape, wanted: Wanted, where: Path) -> None:
    """Raises BundleError where boxes would be misplaced: a graph cuts a picture of which --centre does not tell it, or
    does not although it tells."""
    width, height = shape.size
    cuts = network.cuts_the_picture()
    if made_by in ("1.x", "2.x") and cuts and wanted.centre is None:
        raise BundleError(
            f"{where} cuts the middle out of the picture: say with --centre WIDTH,HEIGHT how much of {width} x "
            f"{height} that is (anomalib's patchcore keeps 224,224 of 256,256), or its boxes would be misplaced"
        )
    if wanted.centre not in (None, shape.size) and shape.seen == shape.size and not cuts:
        raise BundleError(f"{where} sees all of {width} x {height}, nothing in it cuts the picture; leave --centre out")


Scale = tuple[tuple[float, ...], tuple[float, ...]]


def _said(export: Export, made_by: Generation | None, told: Transform, wanted: Wanted, dtype: str) -> Scale:
    """Mean and std of a scale where white is 1, one or one for each channel. Raises BundleError where normalisation
    would be lost or doubled."""
    asked = wanted.mean is not None or wanted.std is not None
    if asked and (made_by or dtype == "uint8"):
        why = f"is an export of anomalib {made_by}, and says" if made_by else "takes uint8, and so does by itself"
        raise BundleError(f"{export.graph} {why} how its input is normalised; leave --mean and --std out")
    if wanted.answer == "logit" and made_by:
        raise BundleError(f"{export.graph} is an export of anomalib {made_by}, which answers with scores, not logits")
    if made_by or dtype == "uint8":
        return told.mean or (0.0,), told.std or (1.0,)
    if wanted.mean is None or wanted.std is None:
        raise BundleError(
            f"{export.graph} does not say how its input was normalised: give --mean and --std as in training (those of "
            "ImageNet: 0.485,0.456,0.406 and 0.229,0.224,0.225), or --mean 0 --std 1 where the graph takes 0..1"
        )
    if wanted.white <= 0 or min(wanted.std) <= 0:
        raise BundleError("--std and --white must be positive")
    return tuple(value / wanted.white for value in wanted.mean), tuple(value / wanted.white for value in wanted.std)


def _front(scale: Scale, shape: _Shape, notes: list[str]) -> tuple[InputRule, list[Step]]:
    """The manifest's rule, and what the graph itself is to do before its own first step."""
    for values, name in zip(scale, ("mean", "std"), strict=True):
        if len(values) not in (1, shape.channels):
            raise BundleError(f"{name} has {len(values)} values; the network takes {shape.channels} channels")
    mean, std = scale
    rule = InputRule(*shape.size, channels=3 if shape.channels == 3 else 1)
    steps: list[Step] = []
    if len(set(mean)) == len(set(std)) == 1:
        rule = msgspec.structs.replace(rule, mean=mean[0], std=std[0])
    else:
        subtrahend, divisor = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in scale)
        steps = [("subtract", subtrahend), ("divide", divisor)]
        notes.append(
            f"mean {_numbers(mean)} and std {_numbers(std)} were put in front of the graph: input.mean and input.std "
            "stay 0 and 1"
        )
    (width, height), (seen_width, seen_height) = shape.size, shape.seen
    if shape.seen != shape.size:
        steps.append(("cut", ((height - seen_height) // 2, (width - seen_width) // 2, seen_height, seen_width)))
    if shape.centre != shape.size:
        middle = f"{shape.centre[0]} x {shape.centre[1]} of {width} x {height}"
        notes.append(f"it sees the middle {middle}: beyond it no defect is found")
    return rule, steps


def _to_type(dtype: str, shape: _Shape, where: Path, notes: list[str]) -> list[Step]:
    """From float32 NCHW to what the graph takes: uint8 gets pixel values, channels may come last."""
    steps: list[Step] = []
    if dtype == "uint8":
        steps = [("multiply", np.full((1, 1, 1, 1), 255, np.float32)), ("round", ()), ("convert", dtype)]
        notes.append("the graph takes uint8: pixels are brought back to 0..255 in front of it")
    elif dtype == "float16":
        steps = [("convert", dtype)]
    elif dtype != "float32":
        raise BundleError(f"{where} takes {dtype}; edge gives float32, and brings it to float16 or uint8")
    if shape.last:
        steps.append(("transpose", (0, 2, 3, 1)))
        notes.append("the graph takes channels last: they are moved in front of it")
    return steps


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _limits(network: Network, export: Export, made_by: Generation | None) -> tuple[dict[str, tuple[float, str]], bool]:
    """What the export says of its thresholds, before outputs are cut off; and whether its answers lie in 0..1."""
    limits: dict[str, tuple[float, str]] = {}
    if made_by in ("0.x", "1.x"):
        for role, key in KEYS.items():
            limit = export.limit(key)
            if limit is not None:
                limits[role] = limit, f"{key} of {export.where.name}, of the graph's raw answers, rejected from it on"
    if made_by != "2.x":
        return limits, False
    bounded = network.clamped(SCORE) and network.clamped(MAP)
    for role, answer, decided in (("score", SCORE, LABEL), ("map", MAP, MASK)):
        asked = network.compared_with(decided) if decided in network.answers() else None
        if asked is not None:
            limits[role] = asked, f"{asked:g}, which the graph asked of {answer} for {decided}"
        elif bounded:
            limits[role] = 0.5, f"0.5, where the graph's own normalisation of {answer} puts it"
    return limits, bounded


def _probe(plan: _Plan, where: Path) -> dict[str, Floats]:
    """Every output for one picture, from the first engine that opens the graph; an ONNX graph that only OpenVINO opens
    goes on as OpenVINO's. Raises EngineError naming each engine's reason."""
    batch = golden_batch(golden_frame(plan.rule, 1), plan.rule)
    graph, weights = plan.network.dump()
    whys = []
    for engine in ENGINES:
        if plan.network.form not in READS[engine] or not installed(engine):
            continue
        try:
            with closing(open_session(engine, graph, 2, "cpu", weights)) as session:
                answers = [np.array(out) for out in session.run(batch)]
        except EdgeError as error:
            whys.append(f"{engine}: {str(error).strip()}")
            continue
        names = plan.network.answers()
        if plan.network.form == "onnx" and engine == "openvino":
            from edge.offline.foreign_openvino import OpenvinoNetwork

            plan.network = OpenvinoNetwork(graph, b"", where)
            plan.notes.append(f"only OpenVINO opens it, so the bundle holds OpenVINO's own format; {whys[0]}")
        return dict(zip(names, answers, strict=True))
    if not whys:
        raise MissingExtra(
            "openvino" if plan.network.form == "openvino" else "onnxruntime", "all", f"importing {where}"
        )
    raise EngineError(f"no engine here opens {where}{_suspects(plan.network)}: {'; '.join(whys)}")


def _suspects(network: Network) -> str:
    if network.form != "onnx":
        return ""
    from edge.offline.foreign_onnx import OnnxNetwork

    unknown = network.unknown_operators() if isinstance(network, OnnxNetwork) else []
    return f", whose nodes {', '.join(unknown[:3])} are no operators of ONNX" if unknown else ""


def _choose(plan: _Plan, export: Export, wanted: Wanted) -> list[Answer]:
    """Which outputs are the map and the score, by name where one is given, else as anomalib orders them. Raises
    BundleError naming every output and its shape."""
    found = _probe(plan, export.graph)
    maps = [name for name, out in found.items() if _is_map(out)]
    scores = [name for name, out in found.items() if out.size == 1 and out.dtype.kind == "f"]
    listed = ", ".join(f"{name} {out.dtype} {out.shape}" for name, out in found.items())
    for option, name, fit in (("map", wanted.map_output, maps), ("score", wanted.score_output, scores)):
        if name is not None and name not in fit:
            raise BundleError(f"{export.graph}: --{option}-output {name} is no {option}; its outputs: {listed}")
    anomalib = plan.made_by is not None
    first = MAP if MAP in maps else maps[0] if maps and (anomalib or len(maps) == 1) else None
    chosen = wanted.map_output or first
    if chosen is None:
        amiss = (
            "several outputs may be the map; name it with --map-output" if maps else "no output is a map (n, 1, h, w)"
        )
        raise BundleError(f"{export.graph}: {amiss}. Its outputs: {listed}")
    only = scores[0] if anomalib and len(scores) == 1 else None
    score = wanted.score_output or (SCORE if SCORE in scores else only)
    left = [name for name in found if name not in (chosen, score)]
    if left:
        plan.notes.append(f"outputs cut off: {', '.join(left)}")
    return [_answer(plan, chosen, "map", found[chosen])] + (
        [_answer(plan, score, "score", found[score])] if score else []
    )


def _is_map(out: Floats) -> bool:
    """One value a place: two sides of more than 1, all others 1, as in `(1, 1, h, w)`, `(1, h, w)`, `(1, h, w, 1)`."""
    large = [side for side in out.shape if side > 1]
    return out.dtype.kind == "f" and len(large) == 2 and out.ndim <= 4


def _answer(plan: _Plan, name: str, role: str, out: Floats) -> Answer:
    batch, size, centre = plan.shape.batch, plan.shape.size, plan.shape.centre
    if role == "score":
        return Answer(name, role, (1,), batch, out.shape == (1, 1) and out.dtype == np.float32)
    height, width = (side for side in out.shape if side > 1)
    if centre == size:
        same = out.shape == (1, 1, height, width) and out.dtype == np.float32
        return Answer(name, role, (1, height, width), batch, same)
    (left, right), (top, bottom) = _border(size[0], centre[0], width), _border(size[1], centre[1], height)
    sides = (1, height + top + bottom, width + left + right)
    return Answer(name, role, sides, batch, as_it_is=False, border=(top, left, bottom, right))


def _border(whole: int, centre: int, cells: int) -> tuple[int, int]:
    """Cells of a map that its rim has before and after it, where it covers the middle `centre` of `whole` pixels."""
    before = (whole - centre) // 2
    after = whole - centre - before
    if before * cells % centre or after * cells % centre:
        raise BundleError(f"a map of {cells} places over the middle {centre} of {whole} pixels has no whole rim")
    return before * cells // centre, after * cells // centre


def _fields(plan: _Plan, wanted: Wanted, name: str, roles: list[str]) -> dict[str, object]:
    return {
        "name": name,
        "kind": "map",
        "surfaces": (wanted.surface,),
        "label": wanted.label,
        "input": plan.rule,
        "outputs": tuple(roles),
        "scoring": Scoring(answer=wanted.answer),
    }


def _trained(wanted: Wanted, plan: _Plan, images: int) -> dict[str, object]:
    today = datetime.date.today().isoformat()
    return {"training": Training(wanted.data, wanted.licence, images, today, wanted.command, "; ".join(plan.notes))}


def _reader(trial: Bundle) -> Engine:
    """The first engine that does as expected. Raises EngineError."""
    rows: list[GraphCheck] = []
    for engine in (engine for engine in ENGINES if installed(engine)):
        rows += verify_bundle(trial, [engine])
        if rows and rows[-1].ok:
            return engine
    raise EngineError(f"no engine here reads the imported graph: {'; '.join(f'{r.engine}: {r.detail}' for r in rows)}")


def _thresholds(
    plan: _Plan, export: Export, wanted: Wanted, trial: Bundle, engine: Engine, show: Progress
) -> tuple[Thresholds, int]:
    """Each from the command, else from good images, else from the export; and how many images that took."""
    limits = dict(plan.limits)
    asked = {"score": wanted.threshold, "map": wanted.map_threshold}
    images = 0
    if wanted.good and None in asked.values():
        limits, images = _from_good(wanted, trial, engine, show)
    limits |= {role: (value, "given to edge import") for role, value in asked.items() if value is not None}
    for role, key in KEYS.items():
        if role not in limits:
            lacks = f"{export.where} lacks a usable {key}" if export.metadata else f"{export.graph} has no threshold"
            raise BundleError(f"{lacks}, which says what {role} is too high: {SAY}")
        value = limits[role][0]
        if not np.isfinite(value):
            raise BundleError(f"a {role} threshold of {value} is no finite number: {SAY}")
        if value < 0 and plan.shape.centre != plan.shape.size:
            raise BundleError(f"a {role} threshold of {value:g}: the rim that the network does not see has 0, above it")
        if (plan.bounded or wanted.answer == "logit") and not 0 <= value < 1:
            raise BundleError(f"a {role} threshold of {value:g}: the answers lie in 0..1, so none would be above it")
    how = "; ".join(f"{role}: {limits[role][1]}" for role in ("score", "map"))
    return Thresholds(score=limits["score"][0], map=limits["map"][0], how=how), images


def _from_good(
    wanted: Wanted, trial: Bundle, engine: Engine, show: Progress
) -> tuple[dict[str, tuple[float, str]], int]:
    """Quantiles of good pictures' scores and of their maps' largest values, by the judge that the line opens."""
    images = good_images(wanted.good)
    graph = trial.manifest.graph[0]
    scores, peaks = [], []
    with closing(open_graph(engine, trial, graph, 2, "cpu")) as session:
        judge = ScoreMapJudge(Model(trial, graph, session), None)
        for number, path in enumerate(images):
            ((score, found),) = judge.score_all([read_frame(path)])
            scores.append(score)
            peaks.append(float(found.max()))
            show("good images", number + 1, len(images))
    share = f"{wanted.pass_good:.0%} of {len(images)} good images"
    return {
        "score": (float(np.quantile(scores, wanted.pass_good)), f"{share} stay below"),
        "map": (float(np.quantile(peaks, wanted.pass_good)), f"the largest of {share} stay below"),
    }, len(images)
