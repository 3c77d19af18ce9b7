"""What one graph of a bundle answers to real frames, kept in a file: run first, compare afterwards."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import numpy as np

from edge.bundle import Bundle, Graph
from edge.engines.choose import candidates
from edge.engines.session import ENGINES, Engine, Floats, Session, installed, open_graph, readable
from edge.errors import BundleError, DataError, EdgeError, EngineError, FrameError, MissingExtra, ScoreError
from edge.inspection.assemble import JUDGES
from edge.inspection.files import read_frame
from edge.inspection.gate import Gate
from edge.inspection.model import Model
from edge.offline.samples import Sample
from edge.records import Box, Frame

OK, NOT_OK, FAILED, UNSEEN = "OK", "NotOK", "failed", "unseen"


class Answer(msgspec.Struct, frozen=True):
    """To one frame. verdict: OK or NotOK of a judge; a gate's surface or unseen; failed. score: a gate's is the
    distance as a share of its surface's threshold. boxes: of the defects, `[x, y, w, h]` in the frame's pixels."""

    verdict: str
    score: float
    threshold: float
    boxes: tuple[Box, ...] = ()


class Answers(msgspec.Struct, frozen=True):
    """Of one engine with one graph. maps: `(n, h, w)` float32 of a judge, nothing of a gate. ms: network alone."""

    engine: str
    graph: str
    precision: str
    answers: tuple[Answer, ...]
    ms: tuple[float, ...]
    maps: Floats | None = None


Look = Callable[[Frame], tuple[Answer, Floats | None]]


def runs_of(bundle: Bundle, engines: Iterable[Engine] = ENGINES) -> list[tuple[Engine, Graph]]:
    """Each graph with each engine that is to read it on a CPU, FP32 on ONNX Runtime (the reference) first. Raises
    MissingExtra or BundleError where there is no reference."""
    graphs = bundle.manifest.graph
    pairs = [(e, g) for e in engines if installed(e) for g in candidates(readable(e, graphs), "cpu")]
    if not installed("onnx"):
        raise MissingExtra("onnxruntime", "onnx", "the reference, FP32 on ONNX Runtime,")
    reference = [pair for pair in pairs if pair[0] == "onnx" and pair[1].precision == "fp32"]
    if not reference:
        raise BundleError(f"{bundle.path} has no FP32 ONNX graph, which all others are compared with; export it anew")
    return [*reference, *(pair for pair in pairs if pair not in reference)]


def looker(model: Model, threshold: float | None = None) -> Look:
    """What a bundle's graph says of a frame, by the line's own judge or gate. Raises BundleError of another kind."""
    kind = model.manifest.kind
    if kind == "gate":
        gate = Gate(model)

        def admit(frame: Frame) -> tuple[Answer, Floats | None]:
            found = gate.admit(frame)
            return Answer(found.surface if found.seen else UNSEEN, found.distance / found.threshold, 1.0), None

        return admit
    if kind not in JUDGES:
        raise BundleError(f"{model.bundle.path} is a {kind}: it has no verdict of its own; ask for its judge's parity")
    judge = JUDGES[kind](model, threshold)

    def inspect(frame: Frame) -> tuple[Answer, Floats | None]:
        found = judge.inspect(frame)
        verdict = OK if found.score <= found.threshold else NOT_OK
        boxes = tuple(defect.bbox for defect in found.defects)
        return Answer(verdict, found.score, found.threshold, boxes), found.score_map.copy()

    return inspect


def ask(model: Model, look: Look, frames: Iterable[Frame], done: Callable[[], None]) -> Answers:
    """Every frame in turn; one that fails is an answer too."""
    answers, maps, times = [], [], []
    for frame in frames:
        spent = model.spent_ns
        try:
            answer, scores = look(frame)
        except (FrameError, ScoreError, EngineError):
            answer, scores = Answer(FAILED, float("nan"), float("nan")), None
        answers.append(answer)
        times.append((model.spent_ns - spent) / 1e6)
        maps.append(scores)
        done()
    whole = next((scores for scores in maps if scores is not None), None)
    filled = None if whole is None else np.stack([np.zeros_like(whole) if m is None else m for m in maps])
    graph = model.graph
    return Answers(model.session.engine, graph.file, graph.precision, tuple(answers), tuple(times), filled)


def run_graph(
    bundle: Bundle, pair: tuple[Engine, Graph], samples: Sequence[Sample], threads: int, done: Callable[[], None]
) -> Answers:
    """Open one graph and ask it about every sample. Raises EdgeError where it cannot be opened, DataError."""
    engine, graph = pair
    with closing(open_graph(engine, bundle, graph, threads, "cpu")) as session:
        return run_session(bundle, graph, session, samples, done)


def run_session(
    bundle: Bundle, graph: Graph, session: Session, samples: Sequence[Sample], done: Callable[[], None]
) -> Answers:
    """As `run_graph`, on a session of whatever kind."""
    model = Model(bundle, graph, session)
    return ask(model, looker(model), (read_frame(sample.path) for sample in samples), done)


def paired_ms(
    bundle: Bundle, pairs: Sequence[tuple[Engine, Graph]], frames: Sequence[Frame], threads: int
) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of the network for each frame, all graphs in turn on the same one, by engine and file; 0 where it
    did not run."""
    times: dict[tuple[str, str], list[float]] = {}
    models = []
    try:
        for engine, graph in pairs:
            models.append(Model(bundle, graph, open_graph(engine, bundle, graph, threads, "cpu")))
        lookers = [looker(model) for model in models]
        for number, frame in enumerate([*frames[:2], *frames]):  # the first two warm the engines up
            for model, look in zip(models, lookers, strict=True):
                spent = model.spent_ns
                with suppress(FrameError, ScoreError, EngineError):  # an answer too, and told as one by `ask`
                    look(frame)
                if number >= 2:
                    key = (model.session.engine, model.graph.file)
                    times.setdefault(key, []).append((model.spent_ns - spent) / 1e6)
    finally:
        for model in models:
            model.session.close()
    return times


def keep(path: Path, kept: Answers) -> None:
    """Write answers into an .npz file, whole or not at all. Raises DataError where that cannot be done."""
    plain = msgspec.structs.replace(kept, maps=None)
    packed = io.BytesIO()
    arrays = {"answers": np.frombuffer(msgspec.msgpack.encode(plain), np.uint8)}  # JSON has no NaN
    np.savez_compressed(packed, allow_pickle=False, **arrays, **({} if kept.maps is None else {"maps": kept.maps}))
    fresh = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(packed.getvalue())
        fresh.replace(path)
    except OSError as error:
        raise DataError(f"cannot keep answers in {path.parent}: {error.strerror}; give a folder to --keep") from error


def kept(path: Path) -> Answers:
    """As `keep` wrote them. Raises DataError for another file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            plain = msgspec.msgpack.decode(arrays["answers"].tobytes(), type=Answers)
            return msgspec.structs.replace(plain, maps=arrays["maps"] if "maps" in arrays.files else None)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
        raise DataError(f"{path} holds no answers that can be read: {error}; delete it") from error


def why_not(error: EdgeError, pair: tuple[Engine, Graph]) -> str:
    return f"{pair[0]} {pair[1].file}: {error}"
