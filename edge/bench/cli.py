"""The command `edge-bench`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge import __version__
from edge.bench.compare_cli import compare
from edge.bench.report_cli import report
from edge.command import HELP, JSON, PATHS, Group, say_on_stderr
from edge.errors import DataError, EngineError

if TYPE_CHECKING:
    from edge.bench.load import Case, Wanted
    from edge.bench.sampling import Budget
    from edge.engines.session import Device
    from edge.records import Frame

SECONDS = 60.0
ABOVE_ZERO = click.FloatRange(min=0, min_open=True)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group("edge-bench", cls=Group, context_settings=HELP)
@click.version_option(__version__, prog_name="edge-bench")
def main() -> None:
    """Does this model meet its target on this box, at this line's rate, and is the sample large enough to say so?

    Begin with `edge-bench run BUNDLE`.

    Exit codes: 0 PASS, or no target; 1 FAIL; 3 INSUFFICIENT, the sample is too small to say; 2 wrong usage; others as
    in `edge --help`.
    """


main.add_command(compare)
main.add_command(report)


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
    as_json: bool,
    out: Path | None,
) -> None:
    """Time a model stage by stage against its targets at p99.

    BUNDLE is a bundle's folder, CONFIG a line's TOML file. Stages of a bundle: prepare (pixels to input), run (the
    network), score (output to boxes), patch (run by patches), frame (all of it); of a line: gate, the judge of each
    surface, run (all networks), frame. "p99 at most" is the upper bound at 99 % confidence, and it is what the target
    is compared with. With --engine all the row with the star decides, which is what the line would run.
    """
    from rich.console import Console

    from edge.bench.load import image_frames
    from edge.bench.report import EXIT_CODES, make_report, print_report, to_json
    from edge.bench.sampling import take

    kind, used_threads, cases, golden = open_subject(subject, engine, threads, device)
    if target_ms:
        cases = [replace(case, targets={"frame": target_ms}) for case in cases]
    frames = image_frames(images) if images else golden
    with progress() as tell:
        taken = take(cases, frames, budget(runs, seconds, len(golden)), tell)
    report = make_report(str(subject), kind, used_threads, len(frames), taken)
    for case in cases:
        case.close()
    if out:
        write(out, to_json(report))
    if as_json:
        click.echo(to_json(report))
    else:
        print_report(report, Console(highlight=False))
    for row in report.rows:
        if row.chosen and row.why:
            raise EngineError(f"{row.name}: {row.why}")
    sys.exit(EXIT_CODES[report.answer])


def open_subject(
    subject: Path, engine: Wanted | None, threads: int | None, device: Device | None
) -> tuple[str, int, list[Case], list[Frame]]:
    """Its kind, the threads in use, the cases to time and the golden frames to time them with."""
    from msgspec.structs import replace as changed

    from edge.bench.load import bundle_cases, golden_frame, line_cases, line_frames
    from edge.bundle import open_bundle
    from edge.config import read_line

    if subject.is_dir():
        bundle = open_bundle(subject)
        cases = bundle_cases(bundle, engine or "auto", threads or 2, device or "auto", say_on_stderr)
        return bundle.manifest.kind, threads or 2, cases, [golden_frame(bundle)]
    line = read_line(subject)
    config = changed(line.config, threads=threads or line.config.threads, device=device or line.config.device)
    line = changed(line, config=config)
    return "line", config.threads, line_cases(line, engine or config.engine, say_on_stderr), line_frames(line)


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
