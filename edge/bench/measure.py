"""From a subject to a report: open what is asked for, time it, close it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from edge.bench.graph_alone import graph_case
from edge.bench.load import (
    Case,
    Level,
    Say,
    Wanted,
    bundle_cases,
    golden_frame,
    image_frames,
    line_cases,
    line_frames,
)
from edge.bench.options import SECONDS
from edge.bench.report import TARGET_PERCENTILE, Report, make_report
from edge.bench.sampling import SINGLE, Budget, take
from edge.bench.scenarios import Plan
from edge.bench.statistics import samples_needed
from edge.bench.through_bus import THROUGH, bus_case
from edge.bundle import Bundle, open_bundle
from edge.config import Line, read_line
from edge.engines.session import Device
from edge.errors import DataError, EdgeError, EngineError
from edge.inspection.assemble import line_bundles
from edge.records import Frame

LEVELS: tuple[Level, ...] = ("graph", "pipeline", "bus")  # the outermost one decides


@dataclass(frozen=True)
class Opened:
    """What is timed. line: with the command's own settings in place of its file's, None for a bundle. golden: the
    frames to time it with. target_ms: a frame's, instead of all of the manifests'."""

    kind: str
    threads: int
    device: str
    bundles: list[Bundle]
    line: Line | None
    cases: list[Case]
    golden: list[Frame]
    target_ms: float | None


def open_subject(
    subject: Path,
    engine: Wanted | None,
    threads: int | None,
    device: Device | None,
    target_ms: float | None,
    say: Say,
) -> Opened:
    """A bundle's folder or a line's TOML file. Raises BundleError, ConfigError, EngineError, MissingExtra."""
    if subject.is_dir():
        bundle = open_bundle(subject)
        used = threads or 2, device or "auto"
        cases = bundle_cases(bundle, engine or "auto", *used, say)
        return Opened(
            bundle.manifest.kind, *used, [bundle], None, aimed(cases, target_ms), [golden_frame(bundle)], target_ms
        )
    line = read_line(subject)
    changed = msgspec.structs.replace
    config = changed(line.config, threads=threads or line.config.threads, device=device or line.config.device)
    config = changed(config, engine=engine) if engine and engine != "all" else config
    line = changed(line, config=config)
    cases = line_cases(line, engine or config.engine, say)
    bundles = list(line_bundles(line).values())
    frames = line_frames(line)
    return Opened("line", config.threads, config.device, bundles, line, aimed(cases, target_ms), frames, target_ms)


def aimed(cases: list[Case], target_ms: float | None) -> list[Case]:
    return [replace(case, targets={"frame": target_ms}) for case in cases] if target_ms else cases


def measure(
    subject: Path,
    opened: Opened,
    images: Path | None,
    runs: int | None,
    seconds: float | None,
    say: Say,
    q: float = TARGET_PERCENTILE,
    plan: Plan = SINGLE,
    levels: frozenset[Level] = frozenset({"pipeline"}),
) -> Report:
    """Time what was opened, and close it. q: the percentile, 0..1, that targets are compared at."""
    with ExitStack() as stack:
        for case in opened.cases:
            stack.callback(case.close)
        frames = image_frames(images) if images else opened.golden
        cases = opened.cases
        if levels != {"pipeline"}:
            cases = aimed(at_levels(stack, opened, frames, levels, plan.cameras, say), opened.target_ms)
        with progress() as tell:
            taken = take(cases, frames, budget(runs, seconds, len(opened.golden), q), tell, plan)
        return make_report(str(subject), opened.kind, opened.threads, len(frames), taken, q, plan)


def at_levels(
    stack: ExitStack, opened: Opened, frames: list[Frame], wanted: frozenset[Level], cameras: int, say: Say
) -> list[Case]:
    """The cases at each level that is wanted. stack: ends the daemon."""
    cases: list[Case] = []
    if "graph" in wanted:
        cases += [graph_case(case, frames) for case in opened.cases if not case.why]
    if "pipeline" in wanted:
        cases += opened.cases
    if "bus" in wanted and opened.line:
        alone = next(case for case in opened.cases if case.chosen)
        try:
            cases.append(stack.enter_context(bus_case(opened.line, alone, frames, cameras, say)))
        except EdgeError as error:
            cases.append(replace(alone, name=f"{alone.name} {THROUGH}", level="bus", models=[], why=str(error)))
    decides = [level for level in LEVELS if level in wanted][-1]
    return [replace(case, chosen=case.chosen and case.level == decides) for case in cases]


def raise_what_failed(report: Report) -> None:
    """Raises EngineError where what the line would run could not, or not to the end."""
    for row in report.rows:
        if row.chosen and row.why and not row.refused:
            raise EngineError(f"{row.name}: {row.why}")


def budget(runs: int | None, seconds: float | None, parts: int, q: float) -> Budget:
    """parts: how many surfaces share the frames; each needs enough of them for the percentile q."""
    if runs is None and seconds is None:
        return Budget(parts * samples_needed(q), SECONDS)
    return Budget(runs or float("inf"), seconds or float("inf"))


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr; it is told what is being done and the share that is done."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda doing, share: bar.update(task, description=doing, completed=share)


def write(path: Path, text: str) -> None:
    """Raises DataError."""
    try:
        path.write_text(f"{text}\n")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; give --out a file in a folder of yours") from error
