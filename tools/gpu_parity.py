"""What tools/gpu-check does: a bundle's graphs on a device beside FP32 on the CPU, and the line when the GPU is gone.

Everything takes the device as an argument, so that all of it but the GPU itself runs on a CPU too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import msgspec
import numpy as np
from rich.table import Table

from edge.bench.child import write_config
from edge.bench.statistics import percentile
from edge.bundle import Bundle, Graph
from edge.config import JudgeConfig, LineConfig
from edge.doctor.engines import packages
from edge.engines.choose import DISTRIBUTIONS
from edge.engines.measure import example_batch
from edge.engines.session import ENGINES, Device, Engine, Floats, Session, installed, open_graph, readable
from edge.errors import DataError, EdgeError, EngineError
from edge.inspection.assemble import JUDGES
from edge.inspection.files import read_frame
from edge.inspection.model import Model
from edge.inspection.pipeline import Pipeline
from edge.records import Evaluation, Frame
from edge.vision.files import find_images

ROOT = Path(__file__).resolve().parent.parent
MOST_FRAMES, RUNS, BATCHES = 50, 30, (1, 60)
THREADS = 2
TIMEOUT_S = 3600  # TensorRT builds a large graph for many minutes
# What hides a GPU from CUDA, and from the OpenCL that OpenVINO's GPU plugin runs on.
HIDDEN = {"CUDA_VISIBLE_DEVICES": "", "OCL_ICD_VENDORS": "/nonexistent"}


class Row(msgspec.Struct):
    """One graph on one engine. device: what it really ran on. difference: the largest of any output from FP32 on the
    CPU, as a share of that output's range; flips: frames with another verdict. ms_patch: milliseconds a patch by batch
    size. cold_s, warm_s: seconds until it answered, in a process of its own, with edge's cache empty and filled. why:
    set where it could not run, or not to the end."""

    engine: str
    file: str
    precision: str
    device: str = ""
    difference: float | None = None
    flips: int | None = None
    ms_patch: dict[int, float] = {}
    cold_s: float | None = None
    warm_s: float | None = None
    why: str = ""


class Fallback(msgspec.Struct, frozen=True):
    """The line with the device, and with the GPU hidden and device = "auto". ran, hidden: what verdicts say they ran
    on, each the fastest there. flips: frames with another verdict. ok: hidden it ran on the CPU alone and gave the same
    verdicts."""

    ran: list[str]
    hidden: list[str]
    frames: int
    flips: int
    ok: bool


@dataclass
class Recorded:
    """A session that keeps copies of what it answered."""

    session: Session
    answers: list[Floats] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine, self.device, self.any_batch = self.session.engine, self.session.device, self.session.any_batch

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        answer = self.session.run(batch)
        self.answers += [out.copy() for out in answer]
        return answer

    def close(self) -> None:
        self.session.close()


@dataclass
class Case:
    """A graph opened behind the bundle's own judge."""

    row: Row
    session: Recorded
    pipeline: Pipeline

    def look(self, frame: Frame) -> tuple[Evaluation, list[Floats]]:
        """The verdict and the network's outputs. Raises EngineError where the engine failed."""
        self.session.answers = []
        inspection = self.pipeline.inspect(frame)
        if inspection.reason == "engine_failed":
            raise EngineError(inspection.detail)
        return inspection.evaluation, self.session.answers


def frames_of(data: Path, surface: str) -> list[Path]:
    """At most 50 images, evenly chosen: of DATA/<surface>/test where there is such a folder, else of DATA itself."""
    test = data / surface / "test"
    paths = find_images([test if test.is_dir() else data])
    picked = np.linspace(0, len(paths) - 1, min(MOST_FRAMES, len(paths))).round().astype(int)
    return [paths[index] for index in picked]


def usable(bundle: Bundle, device: Device) -> dict[Engine, str]:
    """For each installed engine that reads a graph of the bundle: why it does not run it on the device, empty where it
    does. By really opening it: a list of providers tells of the package, not of the box."""
    answers: dict[Engine, str] = {}
    for engine in filter(installed, ENGINES):
        graph = next(iter(readable(engine, bundle.manifest.graph)), None)
        if graph is None:
            continue
        try:
            session = open_graph(engine, bundle, graph, THREADS, device)
            answers[engine] = "" if device in ("auto", session.device) else f"it ran on the {session.device}"
            session.close()
        except EdgeError as error:
            answers[engine] = str(error)
    return answers


def open_case(bundle: Bundle, engine: Engine, graph: Graph, device: Device) -> Case:
    """Raises EngineError, BundleError, and DataError where the bundle is no judge."""
    kind = bundle.manifest.kind
    if kind not in JUDGES:
        raise DataError(f"{bundle.path} is a {kind}; give the bundle of a judge")
    session = Recorded(open_graph(engine, bundle, graph, THREADS, device))
    judge = JUDGES[kind](Model(bundle, graph, session))
    row = Row(engine, graph.file, graph.precision, session.device)
    return Case(row, session, Pipeline(None, {bundle.manifest.surfaces[0]: judge}))


def open_cases(bundle: Bundle, engines: Iterable[Engine], device: Device) -> tuple[Case, list[Case], list[Row]]:
    """FP32 on the CPU, every graph on every engine on the device, and those that could not be opened. Raises
    EngineError where there is no FP32 graph for a CPU engine."""
    reference = None
    for engine in filter(installed, ENGINES):
        for graph in readable(engine, bundle.manifest.graph):
            if reference is None and graph.precision == "fp32":
                reference = open_case(bundle, engine, graph, "cpu")
    if reference is None:
        raise EngineError(f"no engine here reads an FP32 graph of {bundle.path}; nothing to compare with")
    cases, lost = [], []
    for engine in engines:
        for graph in readable(engine, bundle.manifest.graph):
            try:
                cases.append(open_case(bundle, engine, graph, device))
            except EdgeError as error:
                lost.append(Row(engine, graph.file, graph.precision, why=str(error)))
    return reference, cases, lost


def compare(reference: Case, cases: Sequence[Case], frames: Sequence[Frame]) -> None:
    """Fill each row's difference and flips: all see the same frames in turn."""
    low, high, apart = [], [], {id(case): list[float]() for case in cases}
    for frame in frames:
        verdict, wanted = reference.look(frame)
        low.append([float(out.min()) for out in wanted])
        high.append([float(out.max()) for out in wanted])
        for case in [case for case in cases if not case.row.why]:
            try:
                answered, outputs = case.look(frame)
            except EngineError as error:
                case.row.why = str(error)
                continue
            case.row.flips = (case.row.flips or 0) + (answered != verdict)
            far = [float(np.abs(a - b).max()) for a, b in zip(outputs, wanted, strict=True)]
            apart[id(case)] = list(np.maximum(apart[id(case)] or far, far))
    span = np.maximum(np.max(high, axis=0) - np.min(low, axis=0), 1e-6)
    for case in cases:
        if apart[id(case)]:
            case.row.difference = float(np.max(np.asarray(apart[id(case)]) / span))


def time_patches(bundle: Bundle, cases: Sequence[Case], runs: int = RUNS, batches: Sequence[int] = BATCHES) -> None:
    """Fill each row's milliseconds a patch: the median of interleaved runs, after one that does not count."""
    example = example_batch(bundle)
    inputs = {size: np.resize(example, (size, *example.shape[1:])) for size in batches}
    spent: dict[tuple[int, int], list[float]] = {}
    for turn in range(runs + 1):
        for number, case in enumerate(cases):
            for size, batch in inputs.items():
                if case.row.why:
                    continue
                try:
                    started = perf_counter_ns()
                    case.session.session.run(batch)
                    ended = perf_counter_ns()
                except EngineError as error:
                    case.row.why = str(error)
                    continue
                if turn:
                    spent.setdefault((number, size), []).append((ended - started) / 1e6 / size)
    for (number, size), values in spent.items():
        cases[number].row.ms_patch[size] = percentile(values, 0.5)


def time_openings(bundle: Bundle, rows: Iterable[Row], device: Device) -> None:
    """Fill each row's seconds: `edge verify --warm` twice, in processes of their own, on one cache that is empty at
    first."""
    with tempfile.TemporaryDirectory() as cache:
        command = ["verify", "--warm", "--device", device, "--batch", str(max(BATCHES)), "--json", str(bundle.path)]
        cold, warm = (
            {(check["engine"], check["graph"]): check["cold_s"] for check in json.loads(run_edge(command, cache))}
            for _ in range(2)
        )
    for row in rows:
        row.cold_s, row.warm_s = (seconds.get((row.engine, row.file)) for seconds in (cold, warm))


def run_edge(arguments: list[str], cache: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What an `edge` command prints, whose answer may be no. Raises EngineError with its last words where it failed."""
    given = os.environ | {"CACHE_DIRECTORY": cache} if cache else dict(os.environ)
    child = subprocess.run(
        [sys.executable, "-m", "edge.cli", *arguments],
        cwd=ROOT,
        env=given | dict(environment or {}),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
    )
    if child.returncode not in (0, 1) or not child.stdout.strip():
        raise EngineError(f"edge {arguments[0]} ended with {child.returncode}: {child.stderr.strip()[-500:]}")
    return child.stdout


def fall_back(bundle: Bundle, images: Sequence[Path], device: Device, hidden: Mapping[str, str] = HIDDEN) -> Fallback:
    """The line of this one judge in a child process with the device, and in another where GPUs are hidden."""
    with tempfile.TemporaryDirectory() as folder:
        ran = verdicts(bundle, images, device, Path(folder), {})
        gone = verdicts(bundle, images, "auto", Path(folder), hidden)
    return judge_fallback(ran, gone)


def verdicts(
    bundle: Bundle, images: Sequence[Path], device: Device, folder: Path, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """`edge inspect --json` on a line of this judge alone. Raises EngineError."""
    path = bundle.path.resolve()
    config = LineConfig(
        line="gpu-check",
        frames=f"ipc://{folder}/frames",
        verdicts=f"ipc://{folder}/verdicts",
        bundles=str(path.parent),
        device=device,
        judges={bundle.manifest.surfaces[0]: JudgeConfig(bundle=path.name)},
    )
    line = str(write_config(config, folder))
    said = run_edge(
        ["inspect", "--config", line, "--json", *(str(path.resolve()) for path in images)], environment=environment
    )
    return [json.loads(verdict) for verdict in said.splitlines()]


def judge_fallback(ran: Sequence[Mapping[str, Any]], gone: Sequence[Mapping[str, Any]]) -> Fallback:
    """ran, gone: a verdict for each image with the GPU and without it."""
    flips = sum(one["evaluation"] != other["evaluation"] for one, other in zip(ran, gone, strict=True))
    on_cpu = {verdict["device"] for verdict in gone} == {"cpu"}
    failed = any(verdict["reason"] == "engine_failed" for verdict in (*ran, *gone))
    return Fallback(runs_on(ran), runs_on(gone), len(gone), flips, on_cpu and not flips and not failed)


def runs_on(said: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({name for verdict in said for name in verdict["graphs"].values()})


def engine_versions() -> dict[str, str]:
    found = packages()
    names = [name for name in found if name in DISTRIBUTIONS or name.startswith("tensorrt")]
    return {name: found[name] for name in sorted(names)}


def check(bundle: Bundle, data: Path, engines: Sequence[Engine], device: Device) -> tuple[list[Row], Fallback]:
    """All of it. Raises EngineError, BundleError, DataError."""
    images = frames_of(data, bundle.manifest.surfaces[0])
    reference, cases, lost = open_cases(bundle, engines, device)
    compare(reference, cases, [read_frame(path) for path in images])
    time_patches(bundle, [reference, *cases])
    for case in (reference, *cases):
        case.pipeline.close()
    rows = [case.row for case in cases] + lost
    time_openings(bundle, rows, device)
    return [reference.row, *rows], fall_back(bundle, images, device)


def passes(rows: Iterable[Row], fallback: Fallback) -> bool:
    """The fallback held, and FP32 gives on the device the verdicts that it gives on the CPU."""
    return fallback.ok and not any(row.precision == "fp32" and (row.why or row.flips) for row in rows)


def parity_table(rows: Iterable[Row], frames: int) -> Table:
    headings = ["engine", "graph", "on", "largest difference", f"flips of {frames}"]
    headings += [f"ms a patch, batch {size}" for size in BATCHES] + ["open s, cold", "warm"]
    table = Table(*headings, box=None)
    for row in rows:
        share = "-" if row.difference is None else f"{row.difference:.2%}"
        numbers = [*(row.ms_patch.get(size) for size in BATCHES), row.cold_s, row.warm_s]
        shown = ["-" if value is None else f"{value:.3g}" for value in numbers]
        flips = "-" if row.flips is None else str(row.flips)
        table.add_row(row.engine, row.precision, row.device or "-", share, flips, *shown)
    return table
