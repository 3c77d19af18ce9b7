"""The command `edge-bench`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge import __version__
from edge.command import HELP, JSON, PATHS, Group, say_on_stderr
from edge.errors import DataError, EdgeError, EngineError

if TYPE_CHECKING:
    from edge.bench.load import Case, Level, Wanted
    from edge.bench.sampling import Budget
    from edge.bench.scenarios import Plan, Scenario
    from edge.config import Line
    from edge.engines.session import Device
    from edge.records import Frame

SECONDS = 60.0
INTERRUPTED = 130
LEVELS: tuple[Level, ...] = ("graph", "pipeline", "bus")  # the outermost one decides
ABOVE_ZERO = click.FloatRange(min=0, min_open=True)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group("edge-bench", cls=Group, context_settings=HELP)
@click.version_option(__version__, prog_name="edge-bench")
def main() -> None:
    """Does this model meet its target on this box, at this line's rate, and is the sample large enough to say so?

    Begin with `edge-bench run BUNDLE`.

    Exit codes: 0 PASS, or no target; 1 FAIL; 3 INSUFFICIENT, the sample is too small to say; 2 wrong usage; 130 ended
    by Ctrl-C, what was measured is shown; others as in `edge --help`.
    """


@main.command()
@click.argument("subject", type=PATHS, metavar="BUNDLE|CONFIG")
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "openvino", "litert", "all"]),
    help="all: every graph that this box can run, taking turns in one run.  [default: auto, or the config's]",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), help="Threads an engine may use.  [default: 2, or the config's]"
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), help="Where to run.  [default: auto, or the config's]"
)
@click.option("--runs", type=click.IntRange(min=1), help="End after as many frames of each.  [default: what p99 needs]")
@click.option("--seconds", type=ABOVE_ZERO, help=f"End after this time.  [default: {SECONDS:g}, or --runs alone]")
@click.option("--target-ms", type=ABOVE_ZERO, help="A frame's p99 target, instead of all of the manifest's.")
@click.option("--images", type=FOLDER, help="Real frames, at most 64 of a folder's, instead of golden ones.")
@click.option(
    "--scenario",
    type=click.Choice(["single", "multi", "server", "offline", "line"]),
    default="single",
    show_default=True,
    help="How frames come, see above.",
)
@click.option("--rate", type=ABOVE_ZERO, help="server, line: frames a second.")
@click.option("--cameras", type=click.IntRange(1, 64), help="multi: one frame from each at once.  [default: 2]")
@click.option("--jitter-ms", type=click.FloatRange(min=0), help="line: standard deviation of arrivals.  [default: 0]")
@click.option("--burst", type=click.IntRange(1, 1024), help="line: frames that come at once.  [default: 1]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the arrivals.")
@click.option(
    "--level",
    "levels",
    type=click.Choice(LEVELS),
    multiple=True,
    help="graph: the networks alone; pipeline; bus: CONFIG's real daemon, a camera and a subscriber. Repeatable, side "
    "by side; the outermost decides.  [default: pipeline]",
)
@click.option("--through-bus", is_flag=True, help="All three levels side by side.")
@JSON
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON into this file too.")
def run(
    subject: Path,
    engine: Wanted | None,
    threads: int | None,
    device: Device | None,
    runs: int | None,
    seconds: float | None,
    target_ms: float | None,
    images: Path | None,
    scenario: Scenario,
    rate: float | None,
    cameras: int | None,
    jitter_ms: float | None,
    burst: int | None,
    seed: int,
    levels: tuple[Level, ...],
    through_bus: bool,
    as_json: bool,
    out: Path | None,
) -> None:
    """Time a model stage by stage against its targets at p99.

    BUNDLE is a bundle's folder, CONFIG a line's TOML file. Stages of a bundle: prepare (pixels to input), run (the
    network), score (output to boxes), patch (run by patches), frame (all of it); of a line: gate, the judge of each
    surface, run (all networks), frame. "p99 at most" is the upper bound at 99 % confidence, and it is what the target
    is compared with. With --engine all the row with the star decides, which is what the line would run.

    Scenarios, after MLPerf inference: single, the next frame once the last is done; multi, one frame from each of
    --cameras at once, the next ones once all are done; server, Poisson arrivals at --rate, the queue as long as it
    gets; offline, all frames at hand, throughput alone; line, arrivals at --rate with --jitter-ms and --burst. In
    multi, server and line a frame's target is that of `latency`: from the scheduled arrival to done, waiting included.
    A frame is missed where it begins after the next arrival; a rate that is not kept is FAIL, and so is a frame that
    the daemon loses or refuses.
    """
    try:
        from rich.console import Console

        from edge.bench.load import image_frames
        from edge.bench.report import EXIT_CODES, make_report, print_report, to_json
        from edge.bench.sampling import take

        plan = make_plan(scenario, rate, cameras, jitter_ms, burst, seed)
        wanted: set[Level] = set(LEVELS) if through_bus else set(levels) or {"pipeline"}
        if "bus" in wanted and subject.is_dir():
            raise click.UsageError("a bundle has no daemon; give a line's TOML file to go through the bus")
        with ExitStack() as stack:
            kind, used_threads, cases, golden = open_subject(subject, engine, threads, device)
            for case in cases:
                stack.callback(case.close)
            frames = image_frames(images) if images else golden
            if wanted != {"pipeline"}:
                line = open_line(subject, threads, device) if "bus" in wanted else None
                cases = at_levels(stack, line, cases, frames, wanted, plan.cameras)
            if target_ms:
                cases = [replace(case, targets={"frame": target_ms}) for case in cases]
            with progress() as tell:
                taken = take(cases, frames, budget(runs, seconds, len(golden)), tell, plan)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    report = make_report(str(subject), kind, used_threads, len(frames), taken, plan)
    if out:
        write(out, to_json(report))
    if as_json:
        click.echo(to_json(report))
    else:
        print_report(report, Console(highlight=False))
    if any(samples.interrupted for samples in taken):
        sys.exit(INTERRUPTED)
    for samples in taken:
        if samples.case.chosen and samples.why:
            raise EngineError(f"{samples.case.name}: {samples.why}")
    sys.exit(EXIT_CODES[report.answer])


def make_plan(
    scenario: Scenario,
    rate: float | None,
    cameras: int | None,
    jitter_ms: float | None,
    burst: int | None,
    seed: int,
) -> Plan:
    """Raises click.UsageError for an option that the scenario lacks, or has no use for."""
    from edge.bench.scenarios import Plan

    if scenario in ("server", "line") and rate is None:
        raise click.UsageError(f"--scenario {scenario} needs --rate, the frames a second that come")
    for option, given, used in (
        ("--rate", rate, ("server", "line")),
        ("--cameras", cameras, ("multi",)),
        ("--jitter-ms", jitter_ms, ("line",)),
        ("--burst", burst, ("line",)),
    ):
        if given is not None and scenario not in used:
            raise click.UsageError(f"{option} is for --scenario {' and '.join(used)}, not for {scenario}")
    several = cameras or 2 if scenario == "multi" else 1
    return Plan(scenario, rate or 0.0, jitter_ms or 0.0, burst or 1, several, seed)


def at_levels(
    stack: ExitStack, line: Line | None, cases: list[Case], frames: list[Frame], wanted: set[Level], cameras: int
) -> list[Case]:
    """The cases at each level that is wanted; line: for the bus. stack: ends its daemon."""
    from edge.bench.graph_alone import graph_case
    from edge.bench.through_bus import THROUGH, bus_case

    levels = []
    if "graph" in wanted:
        levels += [graph_case(case, frames) for case in cases if not case.why]
    if "pipeline" in wanted:
        levels += cases
    if line:
        alone = next(case for case in cases if case.chosen)
        try:
            levels.append(stack.enter_context(bus_case(line, alone, frames, cameras, say_on_stderr)))
        except EdgeError as error:
            levels.append(replace(alone, name=f"{alone.name} {THROUGH}", level="bus", models=[], why=str(error)))
    decides = [level for level in LEVELS if level in wanted][-1]
    return [replace(case, chosen=case.chosen and case.level == decides) for case in levels]


def open_subject(
    subject: Path, engine: Wanted | None, threads: int | None, device: Device | None
) -> tuple[str, int, list[Case], list[Frame]]:
    """Its kind, the threads in use, the cases to time and the golden frames to time them with."""
    from edge.bench.load import bundle_cases, golden_frame, line_cases, line_frames
    from edge.bundle import open_bundle

    if subject.is_dir():
        bundle = open_bundle(subject)
        cases = bundle_cases(bundle, engine or "auto", threads or 2, device or "auto", say_on_stderr)
        return bundle.manifest.kind, threads or 2, cases, [golden_frame(bundle)]
    line = open_line(subject, threads, device)
    cases = line_cases(line, engine or line.config.engine, say_on_stderr)
    return "line", line.config.threads, cases, line_frames(line)


def open_line(config: Path, threads: int | None, device: Device | None) -> Line:
    """With the threads and the device of the command line, where they are given."""
    from msgspec.structs import replace as changed

    from edge.config import read_line

    line = read_line(config)
    own = changed(line.config, threads=threads or line.config.threads, device=device or line.config.device)
    return changed(line, config=own)


def budget(runs: int | None, seconds: float | None, parts: int) -> Budget:
    """parts: how many surfaces share the frames; each needs enough of them."""
    from edge.bench.report import TARGET_PERCENTILE
    from edge.bench.sampling import Budget
    from edge.bench.statistics import samples_needed

    if runs is None and seconds is None:
        return Budget(parts * samples_needed(TARGET_PERCENTILE), SECONDS)
    return Budget(runs or float("inf"), seconds or float("inf"))


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr; it is told what is being done and the share that is done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda doing, share: bar.update(task, description=doing, completed=share)


def write(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; give --out a file in a folder of yours") from error


if __name__ == "__main__":
    main()
