"""What is timed: a bundle's graphs or a line's pipelines, opened as the daemon opens them, and the frames they see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Literal

import msgspec
import numpy as np

from edge.bench.open_loop import Serve
from edge.bundle import Bundle, Graph
from edge.config import Line
from edge.engines.choose import choose, measure_all, to_try
from edge.engines.session import ENGINES, Device, Engine, installed, open_graph
from edge.errors import BundleError, EdgeError, EngineError, MissingExtra
from edge.golden import check_golden
from edge.inspection.assemble import JUDGES, inspector, line_bundles, open_pipeline
from edge.inspection.files import read_frame
from edge.inspection.model import Model
from edge.records import Frame
from edge.vision.files import find_images

Wanted = Literal["auto", "onnx", "openvino", "litert", "all"]
Level = Literal["graph", "pipeline", "bus"]
Say = Callable[[str], None]
Times = dict[str, int]

MOST_IMAGES = 64


@dataclass(frozen=True)
class Case:
    """One thing to time beside others. chosen: it is what the line would run. why: set where it cannot run here.

    look: runs one frame and returns nanoseconds per stage, `frame` being the whole; raises EngineError, ScoreError.
    patches: a frame's, 0 for none. targets: p99 milliseconds per stage. level: how much of the line is in it. serve:
    how it takes frames as they come, where that is not one after the other. batch: where it can run several frames at
    once, what prepares so many and gives what runs them; the latter raises EngineError.
    """

    name: str
    chosen: bool
    look: Callable[[Frame], Times]
    models: list[Model] = field(default_factory=list)
    patches: int = 0
    targets: dict[str, float] = field(default_factory=dict)
    why: str = ""
    level: Level = "pipeline"
    serve: Serve | None = None
    batch: Callable[[int], Callable[[], None]] | None = None

    def close(self) -> None:
        for session in {id(model.session): model.session for model in self.models}.values():
            session.close()


def bundle_cases(bundle: Bundle, wanted: Wanted, threads: int, device: Device, say: Say) -> list[Case]:
    """The graph that the daemon would run, or with `all` every graph on every engine that reads it.

    Raises EngineError, MissingExtra, BundleError where the one that is wanted cannot run; with `all` its case says why.
    """
    rows = measure_all([bundle], threads, device, say)[bundle.sha256]
    chosen = choose(bundle, "auto" if wanted == "all" else wanted, rows)
    if wanted != "all":
        return [_open_case(bundle, *chosen, threads, device, True)]
    cases = []
    for engine in ENGINES:
        for graph in to_try(engine, bundle, device):
            try:
                cases.append(_open_case(bundle, engine, graph, threads, device, (engine, graph) == chosen))
            except (BundleError, EngineError, MissingExtra) as error:
                cases.append(_lost(f"{engine} {graph.file}", (engine, graph) == chosen, error))
    return cases


def _open_case(bundle: Bundle, engine: Engine, graph: Graph, threads: int, device: Device, chosen: bool) -> Case:
    session = open_graph(engine, bundle, graph, threads, device)
    check_golden(bundle, graph, session)
    model = Model(bundle, graph, session)
    inspect = inspector(model)

    def look(frame: Frame) -> Times:
        started = perf_counter_ns()
        inspect(frame)
        ended = perf_counter_ns()
        return {
            "prepare": model.began - started,
            "run": model.ended - model.began,
            "score": ended - model.ended,
            "frame": ended - started,
        }

    given = bundle.manifest.targets
    targets = {stage: ms for stage, ms in (("patch", given.patch_ms), ("frame", given.frame_ms)) if ms is not None}
    return Case(model.runs_on, chosen, look, [model], bundle.manifest.input.patches, targets)


def _lost(name: str, chosen: bool, error: EdgeError) -> Case:
    def look(_: Frame) -> Times:
        raise error

    return Case(name, chosen, look, why=str(error))


def line_cases(line: Line, wanted: Wanted, say: Say) -> list[Case]:
    """The line as its daemon would run it, or with `all` also all of it on each engine that is installed."""
    if wanted != "all":
        return [_line_case(line, wanted, True, say)]
    cases = [_line_case(line, "auto", True, say)]
    for engine in ENGINES:
        if installed(engine):
            try:
                cases.append(_line_case(line, engine, False, say))
            except (BundleError, EngineError) as error:
                cases.append(_lost(engine, False, error))
    return cases


def _line_case(line: Line, engine: Literal["auto", Engine], chosen: bool, say: Say) -> Case:
    config = msgspec.structs.replace(line.config, engine=engine)
    pipeline = open_pipeline(msgspec.structs.replace(line, config=config), say)
    targets = {}
    for surface, judge in pipeline.judges.items():
        if judge.model.manifest.targets.frame_ms is not None:
            targets[f"judge {surface}"] = judge.model.manifest.targets.frame_ms

    def look(frame: Frame) -> Times:
        started = perf_counter_ns()
        inspection = pipeline.inspect(frame)
        ended = perf_counter_ns()
        if inspection.reason == "engine_failed":
            raise EngineError(inspection.detail)
        times = {"gate": inspection.times_ns["gate"]} if "gate" in inspection.times_ns else {}
        if "judge" in inspection.times_ns:
            times[f"judge {inspection.surface}"] = inspection.times_ns["judge"]
        return times | {"run": inspection.times_ns.get("run", 0), "frame": ended - started}

    models = {model.bundle.path.name: model for model in pipeline.models}
    return Case(engine, chosen, look, list(models.values()), 0, targets)


def golden_frame(bundle: Bundle) -> Frame:
    """The bundle's own golden frame: drawn from a seed, at the size of the network's input."""
    return Frame(bundle.read_arrays(bundle.manifest.golden)["frame"].astype(np.uint8), 255)


def line_frames(line: Line) -> list[Frame]:
    """The golden frames of a line's judges."""
    return [golden_frame(bundle) for bundle in line_bundles(line).values() if bundle.manifest.kind in JUDGES]


def image_frames(folder: Path) -> list[Frame]:
    """At most 64 of a folder's images, evenly chosen. Raises DataError."""
    paths = find_images([folder])
    picked = np.linspace(0, len(paths) - 1, min(MOST_IMAGES, len(paths))).round().astype(int)
    return [read_frame(paths[index]) for index in picked]
