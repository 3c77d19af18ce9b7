"""Run every graph of a bundle on real frames, keep the answers, compare them, and say whether the bundle may ship."""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from edge.bundle import Bundle, Graph, Manifest
from edge.engines import processor
from edge.engines.processor import int8_overflows
from edge.engines.session import ENGINES, Engine, readable
from edge.errors import DataError, EdgeError, MissingExtra
from edge.inspection.files import read_frame
from edge.offline.answers import FAILED, Answers, keep, kept, paired_ms, run_graph, run_session, runs_of, why_not
from edge.offline.parity import Limits, Row, compare, faster
from edge.offline.progress import Progress
from edge.offline.samples import Sample, find_samples, spread
from edge.records import Frame
from edge.vision.files import find_images

TIMED_FRAMES = 30
PROGRAM = "torch"  # the engine of the program that the graphs came from
FAST_ENOUGH = 3.0  # times as fast as FP32 on ONNX Runtime


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """rows: the reference first. wrong: what speaks against the bundle, a sentence each. lost: graphs that could not
    be run, and why. unchecked: those that this processor cannot run. kept: where the answers are. quickest: engine
    and file of the fastest graph that is right."""

    bundle: str
    date: str
    host: str
    data: tuple[str, ...]
    frames: int
    labelled: bool
    limits: Limits
    rows: tuple[Row, ...]
    wrong: tuple[str, ...]
    lost: tuple[str, ...]
    quickest: str
    faster: float | None
    subject: str
    unchecked: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.wrong and not self.lost


def find_frames(bundle: Bundle, data: Sequence[Path], fold: int | None, limit: int | None) -> list[Sample]:
    """The labelled images of the bundle's surfaces (all of them for a gate); of folders that are not laid out so, every
    image, unlabelled. Raises DataError where there is none."""
    surfaces = bundle.manifest.surfaces
    try:
        found, _ = find_samples(data, fold)
    except DataError:
        if fold is not None or any((root / "test").is_dir() for root in data):  # a surface, whose masks are no frames
            raise
        found = [Sample(path, surfaces[0], "", None) for path in find_images(data)]
    own = [s for s in found if bundle.manifest.kind == "gate" or s.surface in surfaces]
    if not own:
        raise DataError(f"{', '.join(map(str, data))}: no image of {', '.join(surfaces)}; give its folder")
    by_surface = {s.surface: [o for o in own if o.surface == s.surface] for s in own}
    return [s for group in by_surface.values() for s in spread(group, limit)]


def check_parity(
    bundle: Bundle,
    data: Sequence[Path],
    progress: Progress,
    fold: int | None = None,
    limit: int | None = None,
    program: Path | None = None,
    folder: Path | None = None,
    threads: int = 2,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> tuple[Parity, list[Sample], list[Answers]]:
    """Run, keep, compare. program: the torch program (.pt2) that the graphs came from, as one more row. folder: where
    the answers are kept; answers that are there already, of these very files and frames, are not run again.

    Returns the samples and all answers too, the reference's first. Raises MissingExtra, BundleError, DataError.
    """
    if find_spec("sklearn") is None:
        raise MissingExtra("scikit-learn", "evaluate", "edge parity")
    samples = find_frames(bundle, data, fold, limit)
    pairs = runs_of(bundle)
    for graph in unchecked(bundle):
        for entry in graph.files:
            bundle.read(entry)
    total = len(samples) * (len(pairs) + (program is not None))
    count = iter(range(1, total + 1))

    def step(label: str) -> Callable[[], None]:
        return lambda: progress(label, next(count), total)

    all_answers: list[Answers] = []
    lost: list[str] = []
    with tempfile.TemporaryDirectory() as spare:
        where = folder or Path(spare)
        for pair in pairs:
            try:
                file = where / f"{bundle.manifest.name}-{pair[0]}-{pair[1].file}-{run_key(bundle, pair, samples)}.npz"
                if not file.is_file():
                    keep(file, run_graph(bundle, pair, samples, threads, step(f"{pair[0]} {pair[1].precision}")))
                all_answers.append(kept(file))
            except EdgeError as error:
                if not all_answers:
                    raise
                lost.append(why_not(error, pair))
        if all(answer.verdict == FAILED for answer in all_answers[0].answers):
            raise DataError(f"{all_answers[0].graph}, the reference, failed on every frame; are they this bundle's?")
        if program is not None:
            all_answers.append(run_program(bundle, program, samples, step("torch")))
        progress("timing", total, total)
        rows = compare(bundle, samples, all_answers[0], all_answers[1:])
        times = paired_ms(bundle, pairs_that_ran(pairs, rows), frames_of(samples), threads)
    rows = faster(rows, times)
    return judge(bundle, data, samples, rows, lost, limits), samples, all_answers


def unchecked(bundle: Bundle) -> list[Graph]:
    """INT8 graphs that no engine runs right on this processor, so that nobody can say what they answer."""
    graphs = bundle.manifest.graph
    read = {graph.file for engine in ENGINES for graph in readable(engine, graphs)}
    return [g for g in graphs if g.precision == "int8" and g.file not in read] if int8_overflows() else []


def run_key(bundle: Bundle, pair: tuple[Engine, Graph], samples: Sequence[Sample]) -> str:
    """A short digest of what decides an answer: the files, the thresholds, the processor, the frames."""
    own = [subject(bundle.manifest), *(file.sha256 for file in pair[1].files), processor.described()]
    frames = [f"{s.path} {s.path.stat().st_size} {s.path.stat().st_mtime_ns}" for s in samples]
    return hashlib.sha256("\n".join([*own, *frames]).encode()).hexdigest()[:12]


def subject(manifest: Manifest) -> str:
    """A digest of all that a verdict hangs on: graphs and their gains, arrays, input rule, scoring, thresholds. A cut
    gives its graph's own bits."""
    weights = [graph.weights.sha256 for graph in manifest.graph if graph.weights]
    files = [graph.sha256 for graph in manifest.graph] + weights + ([manifest.arrays.sha256] if manifest.arrays else [])
    files += [f"{graph.sha256} {graph.gain}" for graph in manifest.graph if graph.gain != 1]
    rules = (manifest.input, manifest.scoring, manifest.thresholds.score, manifest.thresholds.map, manifest.outputs)
    return hashlib.sha256(" ".join(files).encode() + msgspec.json.encode(rules)).hexdigest()


def frames_of(samples: Sequence[Sample]) -> list[Frame]:
    return [read_frame(sample.path) for sample in spread(list(samples), TIMED_FRAMES)]


def pairs_that_ran(pairs: Sequence[tuple[Engine, Graph]], rows: Sequence[Row]) -> list[tuple[Engine, Graph]]:
    ran = {(row.engine, row.graph) for row in rows}
    return [(engine, graph) for engine, graph in pairs if (engine, graph.file) in ran]


def run_program(bundle: Bundle, program: Path, samples: Sequence[Sample], done: Callable[[], None]) -> Answers:
    """The torch program through the same judge. Raises DataError where it is none, MissingExtra without torch."""
    from edge.offline.program import TorchSession, load_program, trained_rule

    trained = msgspec.structs.replace(bundle.manifest, input=trained_rule(bundle.manifest))
    bundle = msgspec.structs.replace(bundle, manifest=trained)
    reference = runs_of(bundle)[0][1]
    answers = run_session(bundle, reference, TorchSession(load_program(program)), samples, done)
    return msgspec.structs.replace(answers, graph=program.name)


def judge(
    bundle: Bundle, data: Sequence[Path], samples: Sequence[Sample], rows: list[Row], lost: list[str], limits: Limits
) -> Parity:
    wrong = [f"{row.engine} {row.graph}: {what}" for row in rows[1:] for what in row.wrong(limits)]
    right = [row for row in rows if not row.wrong(limits) and row.ms is not None]
    best = min(right, key=lambda row: row.ms or 0.0)
    return Parity(
        bundle=bundle.manifest.name,
        date=datetime.date.today().isoformat(),
        host=processor.described(),
        data=tuple(map(str, data)),
        frames=len(samples),
        labelled=all(sample.kind for sample in samples),
        limits=limits,
        rows=tuple(rows),
        wrong=tuple(wrong),
        lost=tuple(lost),
        unchecked=tuple(graph.file for graph in unchecked(bundle)),
        quickest=f"{best.engine} {best.graph}",
        faster=best.faster,
        subject=subject(bundle.manifest),
    )


def wrong_graphs(found: Parity) -> dict[str, str]:
    """Files that some engine answers wrongly with, and what is wrong; never the reference, nor the torch program."""
    told: dict[str, str] = {}
    for row in found.rows[1:]:
        for what in row.wrong(found.limits) if row.graph != found.rows[0].graph and row.engine != PROGRAM else ():
            told[row.graph] = f"{told[row.graph]}; {what}" if row.graph in told else what
    return told


def without(found: Parity, bundle: Bundle) -> Parity:
    """What was found of the graphs that the bundle still has, and of the torch program."""
    files = {graph.file for graph in bundle.manifest.graph} | {row.graph for row in found.rows if row.engine == PROGRAM}
    rows = tuple(row for row in found.rows if row.graph in files)
    wrong = tuple(sentence for sentence in found.wrong if any(f" {file}:" in sentence for file in files))
    return msgspec.structs.replace(found, rows=rows, wrong=wrong, subject=subject(bundle.manifest))


def for_manifest(
    found: Parity, command: str, dropped: dict[str, str] | None = None
) -> dict[str, float | int | str | bool]:
    """What the manifest is told: the worst of all graphs, and the quickest. dropped: graphs that were not right."""
    rows = found.rows[1:] or found.rows
    kept: dict[str, float | int | str | bool] = {
        "passed": found.passed,
        "date": found.date,
        "command": command,
        "frames": found.frames,
        "flips": max(row.flips for row in rows),
        "flips_outside_guard": max(row.flips_outside for row in rows),
        "to_ok": max(row.to_ok for row in rows),
        "to_ok_outside_guard": max(row.outside for row in rows),
        "score_apart": round(max(row.apart for row in rows), 5),
        "quickest": found.quickest,
        "faster": round(found.faster or 0.0, 2),
        "subject": found.subject,
    }
    if dropped:
        kept["dropped"] = "; ".join(f"{file}: {why}" for file, why in dropped.items())
    for name in ("auroc_lost", "aupro_lost"):
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        if values:
            kept[name] = round(max(values), 4)
    return kept
