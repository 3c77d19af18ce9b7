"""What is timed: a bundle's graphs or a line's pipelines, opened as the daemon opens them, and the frames they see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from time import perf_counter_ns
from typing import Literal

import msgspec
import numpy as np

from edge.bench.ceiling import operations
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
from edge.inspection.nearest import enough
from edge.records import Frame
from edge.vision.files import find_images

Wanted = Literal["auto", "onnx", "openvino", "litert", "all"]
Level = Literal["graph", "pipeline", "bus"]
Say = Callable[[str], None]
Times = dict[str, int]
Look = Callable[[Frame], Times]

MOST_IMAGES = 64


@dataclass(frozen=True)
class Case:
    """One thing to time beside others. chosen: it is what the line would run. why: set where it cannot run here.

    look: runs one frame and returns nanoseconds per stage, `frame` being the whole; raises EngineError, ScoreError.
    patches: a frame's, 0 for none. part_frames: a part's, 0 where the line has no parts. targets: p99 milliseconds per
    stage. level: how much of the line is in it. serve: how it takes frames as they come, where that is not one after
    the other. batch: where it can run several frames at once, what prepares so many and gives what runs them; the
    latter raises EngineError. gops: 10^9 operations of what the stage `run` is, None where nobody counted. at_once:
    frames of one look.
    """

    name: str
    chosen: bool
    look: Look
    models: list[Model] = field(default_factory=list)
    patches: int = 0
    part_frames: int = 0
    targets: dict[str, float] = field(default_factory=dict)
    why: str = ""
    level: Level = "pipeline"
    serve: Serve | None = None
    batch: Callable[[int], Callable[[], None]] | None = None
    gops: float | None = None
    at_once: int = 1

    def close(self) -> None:
        for session in {id(model.session): model.session for model in self.models}.values():
            session.close()


@dataclass(frozen=True)
class Asked:
    """What to time beside each other, each with each; where a field is empty, what the line or the manifest says."""

    engines: tuple[Wanted, ...] = ()
    devices: tuple[Device, ...] = ()
    precisions: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()

    @property
    def side_by_side(self) -> bool:
        """Several graphs of a bundle, not the one that the line would run."""
        return "all" in self.engines or len(self.engines) > 1 or bool(self.precisions)

    @property
    def named(self) -> tuple[Engine, ...]:
        """Those asked for by name, or all."""
        return tuple(e for e in ENGINES if e in self.engines or not self.engines or "all" in self.engines)


def bundle_cases(bundle: Bundle, asked: Asked, say: Say) -> list[Case]:
    """The graph that the daemon would run, or those asked for; on each device, with each number of threads.

    Raises EngineError, MissingExtra, BundleError where the one that is wanted cannot run; side by side its case says
    why.
    """
    cases: list[Case] = []
    for device, threads in product(asked.devices or ("auto",), asked.threads or (2,)):
        found = _bundle_cases(bundle, asked, threads, device, not cases, say)
        several = len(asked.threads) > 1
        cases += [replace(case, name=f"{case.name}, {threads} threads") if several else case for case in found]
    gops = _gops(bundle)
    return [replace(case, gops=gops) for case in cases]


def _bundle_cases(bundle: Bundle, asked: Asked, threads: int, device: Device, decides: bool, say: Say) -> list[Case]:
    """decides: the one that the line would run is among them."""
    rows = measure_all([bundle], threads, device, say)[bundle.sha256]
    if not asked.side_by_side:
        chosen = choose(bundle, asked.engines[0] if asked.engines else "auto", rows)
        return [_open_case(bundle, *chosen, threads, device, decides)]
    chosen = choose(bundle, "auto", rows)
    cases = []
    for engine in asked.named:
        for graph in to_try(engine, bundle, device):
            if not asked.precisions or graph.precision in asked.precisions:
                star = decides and (engine, graph) == chosen
                try:
                    cases.append(_open_case(bundle, engine, graph, threads, device, star))
                except (BundleError, EngineError, MissingExtra) as error:
                    cases.append(lost_case(f"{engine} {graph.file}", star, error))
    if not cases:
        raise EngineError(f"{bundle.path} has no such graph that runs here: {', '.join(asked.precisions)}")
    return cases


def _gops(bundle: Bundle) -> float | None:
    """10^9 operations of a frame, counted in the FP32 ONNX graph, whose batch is open."""
    graph = next((g for g in bundle.manifest.graph if (g.format, g.precision) == ("onnx", "fp32")), None)
    once = operations(bundle.where(bundle.runs(graph))) if graph else None
    rule = bundle.manifest.input
    rule = enough(rule) if bundle.manifest.kind == "nearest" else rule
    return None if once is None else once * (rule.patches or rule.batch)


def _open_case(bundle: Bundle, engine: Engine, graph: Graph, threads: int, device: Device, chosen: bool) -> Case:
    session = open_graph(engine, bundle, graph, threads, device)
    check_golden(bundle, graph, session)
    model = Model(bundle, graph, session, threads=threads)
    inspect = inspector(model)

    def look(frame: Frame) -> Times:
        started = perf_counter_ns()
        inspect(frame)
        ended = perf_counter_ns()
        return {
            "prepare": model.began - started,
            "run": model.ended - model.began,
            "score": ended - model.ended - sum(model.stages.values()),
            **model.stages,
            "frame": ended - started,
        }

    given = bundle.manifest.targets
    targets = {stage: ms for stage, ms in (("patch", given.patch_ms), ("frame", given.frame_ms)) if ms is not None}
    return Case(model.runs_on, chosen, look, [model], bundle.manifest.input.patches, targets=targets)


def lost_case(name: str, chosen: bool, error: EdgeError) -> Case:
    def look(_: Frame) -> Times:
        raise error

    return Case(name, chosen, look, why=str(error))


def line_cases(line: Line, asked: Asked, say: Say) -> list[Case]:
    """The line as its daemon would run it, or with `all` also all of it on each engine; on each device, with each
    number of threads."""
    cases: list[Case] = []
    for device, threads in product(asked.devices or (line.config.device,), asked.threads or (line.config.threads,)):
        config = msgspec.structs.replace(line.config, device=device, threads=threads)
        found = _line_cases(msgspec.structs.replace(line, config=config), asked, not cases, say)
        several = len(asked.threads) > 1
        cases += [replace(case, name=f"{case.name}, {threads} threads") if several else case for case in found]
    return cases


def _line_cases(line: Line, asked: Asked, decides: bool, say: Say) -> list[Case]:
    if not asked.side_by_side:
        return [_line_case(line, asked.engines[0] if asked.engines else line.config.engine, decides, say)]
    cases = [_line_case(line, "auto", decides, say)] if "all" in asked.engines else []
    for engine in asked.named:
        if installed(engine):
            try:
                cases.append(_line_case(line, engine, False, say))
            except (BundleError, EngineError) as error:
                cases.append(lost_case(engine, False, error))
    return cases


def _line_case(line: Line, engine: Wanted, chosen: bool, say: Say) -> Case:
    config = msgspec.structs.replace(line.config, engine="auto" if engine == "all" else engine)
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
        times = {stage: spent for stage, spent in inspection.times_ns.items() if stage in ("gate", "kinds")}
        if "judge" in inspection.times_ns:
            times[f"judge {inspection.surface}"] = inspection.times_ns["judge"]
        return times | {"run": inspection.times_ns.get("run", 0), "frame": ended - started}

    models = {model.bundle.path.name: model for model in pipeline.models}
    part_frames = line.config.parts.frames if line.config.parts else 0
    return Case(engine, chosen, look, list(models.values()), part_frames=part_frames, targets=targets)


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
