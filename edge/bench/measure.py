"""From a subject to a report: open what is asked for, time it, close it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from edge.bench import ceiling, watch
from edge.bench.graph_alone import batch_case, graph_case
from edge.bench.graph_cases import file_cases, no_frame
from edge.bench.graph_file import READ_BY
from edge.bench.load import (
    Asked,
    Case,
    Level,
    Say,
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
from edge.errors import DataError, EdgeError, EngineError
from edge.inspection.assemble import line_bundles
from edge.records import Frame

QUICK_S, QUICK_WARM_UP_S = 6.0, 0.5  # of each case the latter: a first look takes some ten seconds
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


def open_subject(subject: Path, asked: Asked, target_ms: float | None, say: Say) -> Opened:
    """A bundle's folder, a line's TOML file, or a graph. Raises BundleError, ConfigError, DataError, EngineError,
    MissingExtra."""
    threads, device = asked.threads[0] if asked.threads else 2, asked.devices[0] if asked.devices else "auto"
    if subject.is_dir():
        bundle = open_bundle(subject)
        cases = aimed(bundle_cases(bundle, asked, say), target_ms)
        golden = [golden_frame(bundle)]
        return Opened(bundle.manifest.kind, threads, device, [bundle], None, cases, golden, target_ms)
    if subject.suffix in READ_BY:
        cases = aimed(file_cases(subject, asked), target_ms)
        return Opened("graph", threads, device, [], None, cases, [no_frame()], target_ms)
    if asked.precisions:
        raise DataError(f"{subject} is a line, whose bundles' graphs are chosen by measurement; leave out --precision")
    line = with_settings(read_line(subject), asked)
    bundles = list(line_bundles(line).values())
    cases, golden = aimed(line_cases(line, asked, say), target_ms), line_frames(line)
    return Opened("line", line.config.threads, line.config.device, bundles, line, cases, golden, target_ms)


def with_settings(line: Line, asked: Asked) -> Line:
    """The line with what is asked for in place of its file's own; the first where it is several."""
    config, changed = line.config, msgspec.structs.replace
    config = changed(config, threads=asked.threads[0]) if asked.threads else config
    config = changed(config, device=asked.devices[0]) if asked.devices else config
    one = asked.engines[0] if len(asked.engines) == 1 else "all"
    return changed(line, config=config if one == "all" else changed(config, engine=one))


def aimed(cases: list[Case], target_ms: float | None) -> list[Case]:
    return [replace(case, targets={"frame": target_ms}) for case in cases] if target_ms else cases


@dataclass(frozen=True)
class How:
    """How it is measured. images: a folder of frames, golden ones where None. runs, seconds: when it ends. q: the
    percentile, 0..1, that targets are compared at. batches: of frames at once, on the networks alone."""

    images: Path | None = None
    runs: int | None = None
    seconds: float | None = None
    quick: bool = False
    q: float = TARGET_PERCENTILE
    plan: Plan = SINGLE
    levels: frozenset[Level] = frozenset({"pipeline"})
    batches: tuple[int, ...] = ()


def measure(subject: Path, opened: Opened, how: How, say: Say) -> Report:
    """Time what was opened, and close it."""
    with ExitStack() as stack:
        for case in opened.cases:
            stack.callback(case.close)
        frames = image_frames(how.images) if how.images else opened.golden
        cases = opened.cases
        if opened.kind != "graph" and (how.levels != {"pipeline"} or how.batches):
            cases = aimed(at_levels(stack, opened, frames, how, say), opened.target_ms)
        with progress() as tell:
            roof = ceiling.measure(opened.threads)
            before = watch.read()
            taken = take(cases, frames, budget(how, len(opened.golden)), tell, how.plan)
            machine = watch.judge(before, watch.read())
        return make_report(
            str(subject),
            opened.kind,
            opened.threads,
            len(frames),
            taken,
            how.q,
            how.plan,
            machine,
            ceiling.higher(roof, ceiling.measure(opened.threads)),
        )


def at_levels(stack: ExitStack, opened: Opened, frames: list[Frame], how: How, say: Say) -> list[Case]:
    """The cases at each level that is wanted. stack: ends the daemon."""
    cases: list[Case] = []
    wanted = how.levels | ({"graph"} if how.batches else set())
    if "graph" in wanted:
        alone = [graph_case(case, frames) for case in opened.cases if not case.why]
        cases += alone if "graph" in how.levels else []
        cases += [batch_case(case, size) for case in alone for size in how.batches]
    if "pipeline" in wanted:
        cases += opened.cases
    if "bus" in wanted and opened.line:
        own = next(case for case in opened.cases if case.chosen)
        try:
            cases.append(stack.enter_context(bus_case(opened.line, own, frames, how.plan.cameras, say)))
        except EdgeError as error:
            cases.append(replace(own, name=f"{own.name} {THROUGH}", level="bus", models=[], why=str(error)))
    decides = [level for level in LEVELS if level in wanted][-1]
    return [replace(case, chosen=case.chosen and case.level == decides) for case in cases]


def raise_what_failed(report: Report) -> None:
    """Raises EngineError where what the line would run could not, or not to the end."""
    for row in report.rows:
        if row.chosen and row.why and not row.refused:
            raise EngineError(f"{row.name}: {row.why}")


def budget(how: How, parts: int) -> Budget:
    """parts: how many surfaces share the frames; each needs enough of them for the percentile."""
    if how.quick:
        return Budget(how.runs or float("inf"), QUICK_S, QUICK_WARM_UP_S)
    if how.runs is None and how.seconds is None:
        return Budget(parts * samples_needed(how.q), SECONDS)
    return Budget(how.runs or float("inf"), how.seconds or float("inf"))


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
