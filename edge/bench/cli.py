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
from edge.bench.selfcheck_cli import selfcheck
from edge.command import HELP, JSON, Group, end_as_by_ctrl_c, say_on_stderr

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
    end_as_by_ctrl_c()


@main.command()
@shared
@click.option(
    "--engine",
    "engines",
    type=click.Choice(["auto", "onnx", "openvino", "litert", "all"]),
    multiple=True,
    help="all, or several: every graph that they can run, in turns.  [default: auto, or the config's]",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["fp32", "fp16", "int8"]),
    multiple=True,
    help="A bundle's graphs of this precision alone, on every engine asked for. Repeatable.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    multiple=True,
    help="Threads an engine may use. Repeatable.  [default: 2, or the config's]",
)
@click.option(
    "--device",
    "devices",
    type=click.Choice(["auto", "cpu", "gpu"]),
    multiple=True,
    help="Where to run. Repeatable.  [default: auto, or the config's]",
)
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1, 1024),
    multiple=True,
    help="So many frames at once, on the networks alone, as a row more. Repeatable.",
)
@click.option("--quick", is_flag=True, help="A first look in some ten seconds; seldom enough to sign.")
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
    engines: tuple[Wanted, ...],
    precisions: tuple[str, ...],
    threads: tuple[int, ...],
    devices: tuple[Device, ...],
    batches: tuple[int, ...],
    quick: bool,
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

    SUBJECT is a bundle's folder, a line's TOML file, or any ONNX, OpenVINO or TFLite graph, which is given noise in the
    shapes that it declares. What is asked for side by side takes turns in one run, so that a drift of the machine hits
    all alike. Stages of a bundle: prepare (pixels to input), run (the network), score (output to boxes), patch (run by
    patches), frame (all of it); of a line: gate, the judge of each surface, run (all networks), frame, part (the work
    on all of its frames, where the line has parts). "p99 at most" is the upper bound at 99 % confidence, and it is what
    the target is compared with. Rows with a star decide: what the line would run; of a graph file all.

    Scenarios, after MLPerf inference: single, the next frame once the last is done; multi, one frame from each of
    --cameras at once, the next ones once all are done; server, Poisson arrivals at --rate, the queue as long as it
    gets; offline, all frames at hand, throughput alone; line, arrivals at --rate with --jitter-ms and --burst. In
    multi, server and line a frame's target is that of `latency`: from the scheduled arrival to done, waiting included.
    A frame is missed where it begins after the next arrival; a rate that is not kept is FAIL, and so is a frame that
    the daemon loses or refuses.
    """
    try:
        from edge.bench.load import Asked
        from edge.bench.measure import LEVELS, How, measure, open_subject, raise_what_failed, write
        from edge.bench.report import EXIT_CODES, to_json
        from edge.bench.report_table import print_report
        from edge.terminal import screen

        plan = make_plan(**arrivals)
        wanted: frozenset[Level] = frozenset(LEVELS if through_bus else levels or ("pipeline",))
        if "bus" in wanted and subject.suffix != ".toml":
            raise click.UsageError("no line, no daemon; give a line's TOML file to go through the bus")
        asked = Asked(engines, devices, precisions, threads, batches)
        how = How(images, runs, seconds, quick, plan=plan, levels=wanted, batches=batches)
        found = measure(subject, open_subject(subject, asked, target_ms, say_on_stderr), how, say_on_stderr)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if out:
        write(out, to_json(found))
    if as_json:
        click.echo(to_json(found))
    else:
        print_report(found, screen())
    if found.interrupted:
        sys.exit(INTERRUPTED)
    raise_what_failed(found)
    sys.exit(EXIT_CODES[found.answer])


for command in (certify, check_certificate, compare, report, selfcheck):
    main.add_command(command)

if __name__ == "__main__":
    main()
