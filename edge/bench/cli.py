"""The command `edge-bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge import __version__
from edge.bench.certify_cli import certify, check_certificate
from edge.bench.compare_cli import compare
from edge.bench.options import ABOVE_ZERO, INTERRUPTED, make_plan, shared
from edge.bench.report_cli import report
from edge.command import HELP, JSON, Group, say_on_stderr

if TYPE_CHECKING:
    from edge.bench.load import Level, Wanted
    from edge.engines.session import Device


@click.group("edge-bench", cls=Group, context_settings=HELP)
@click.version_option(__version__, prog_name="edge-bench")
def main() -> None:
    """Does this model meet its target on this box, at this line's rate, and is the sample large enough to say so?

    Begin with `edge-bench run BUNDLE`.

    Exit codes: 0 PASS, or no target; 1 FAIL; 3 INSUFFICIENT, the sample is too small to say; 2 wrong usage; 130 ended
    by Ctrl-C, what was measured is shown; others as in `edge --help`.
    """


@main.command()
@shared
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "openvino", "litert", "all"]),
    help="all: every graph that this box can run, taking turns in one run.  [default: auto, or the config's]",
)
@click.option("--target-ms", type=ABOVE_ZERO, help="A frame's p99 target, instead of all of the manifest's.")
@click.option(
    "--level",
    "levels",
    type=click.Choice(["graph", "pipeline", "bus"]),
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
    levels: tuple[Level, ...],
    through_bus: bool,
    as_json: bool,
    out: Path | None,
    **arrivals: Any,
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

        from edge.bench.measure import LEVELS, measure, open_subject, raise_what_failed, write
        from edge.bench.report import EXIT_CODES, TARGET_PERCENTILE, print_report, to_json

        plan = make_plan(**arrivals)
        wanted: frozenset[Level] = frozenset(LEVELS if through_bus else levels or ("pipeline",))
        if "bus" in wanted and subject.is_dir():
            raise click.UsageError("a bundle has no daemon; give a line's TOML file to go through the bus")
        opened = open_subject(subject, engine, threads, device, target_ms, say_on_stderr)
        found = measure(subject, opened, images, runs, seconds, say_on_stderr, TARGET_PERCENTILE, plan, wanted)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if out:
        write(out, to_json(found))
    if as_json:
        click.echo(to_json(found))
    else:
        print_report(found, Console(highlight=False))
    if found.interrupted:
        sys.exit(INTERRUPTED)
    raise_what_failed(found)
    sys.exit(EXIT_CODES[found.answer])


for command in (certify, check_certificate, compare, report):
    main.add_command(command)

if __name__ == "__main__":
    main()
