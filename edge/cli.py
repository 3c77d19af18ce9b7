"""The command `edge`. Each command imports what it needs itself, so that `--help` answers at once."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from edge import __version__
from edge.errors import EdgeError

LINE = click.option(
    "--config", "config", required=True, type=click.Path(path_type=Path), help="The line's TOML file (line.toml)."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines instead of a table.")
PATHS = click.Path(exists=True, path_type=Path)


class Group(click.Group):
    """Prints an EdgeError as one sentence and ends with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EdgeError as error:
            click.echo(f"edge: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge")
def main() -> None:
    """Inspect surfaces beside the line: a gate that knows its surfaces, a judge for each, one verdict a frame.

    Begin with `edge inspect --config exported_models/line.toml PICTURE`, then `edge run`, `edge camera`, `edge watch`.

    Exit codes: 0 done; 1 done, and the answer is no; 2 wrong usage; 10 config; 11 bundle; 12 engine; 13 bus; 14 frame;
    15 score; 16 data; 17 an optional package is missing.
    """


@main.command()
@LINE
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def run(config: Path, verbose: bool) -> None:
    """The daemon: frames from the bus, exactly one verdict for each.

    Ends cleanly on SIGTERM or Ctrl-C. Under systemd (Type=notify) it says ready once every bundle has repeated its
    golden frame.
    """
    from edge.config import read_line
    from edge.daemon.server import run as serve

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    serve(read_line(config))


@main.command()
@click.argument("images", nargs=-1, required=True, type=PATHS, metavar="DIR|FILE...")
@click.option("--to", "address", required=True, help="The line's `frames` address, e.g. ipc:///run/edge/frames.")
@click.option("--line", required=True, help="The line's name, as in its config.")
@click.option("--camera", "name", default="cam0", show_default=True, help="This camera's name.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Frames a second; 0 is as fast as it goes.",
)
@click.option(
    "--encoding",
    type=click.Choice(["raw", "png", "jpeg"]),
    default="raw",
    show_default=True,
    help="How the pixels travel; 16 bits do not fit jpeg.",
)
@click.option("--loop/--once", default=False, help="Begin again after the last image.")
@click.option("--shuffle", type=int, metavar="SEED", help="Mix the images, the same way for the same seed.")
@click.option("--deadline-ms", type=float, help="Ask for each verdict within this time of the capture.")
@click.option(
    "--part-frames",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="So many images in a row show one part and share its id.",
)
@click.option(
    "--patience", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds to wait for the daemon."
)
def camera(
    images: tuple[Path, ...],
    address: str,
    line: str,
    name: str,
    rate: float,
    encoding: Any,
    loop: bool,
    shuffle: int | None,
    deadline_ms: float | None,
    part_frames: int,
    patience: float,
) -> None:
    """Play images onto the bus as a camera would, each with a trigger id; the part id is the file's name."""
    import random

    from edge.bus.camera import Camera, play
    from edge.vision.files import find_images

    paths = find_images(images)
    if shuffle is not None:
        random.Random(shuffle).shuffle(paths)
    source = Camera(address, line, name, patience)
    try:
        for _ in play(source, paths, rate, encoding, loop, deadline_ms, part_frames):
            pass
        source.close()
    except KeyboardInterrupt:
        source.close(1000)  # the last frame may be on its way
    click.echo(f"{source.sent} frames sent", err=True)


@main.command()
@click.option("--from", "address", required=True, help="The line's `verdicts` address, e.g. ipc:///run/edge/verdicts.")
@click.option("--line", default="", help="Only this line's verdicts.")
@click.option("--max-age-ms", default=1000.0, show_default=True, help="Warn of a verdict older than this on arrival.")
@click.option("--timeout", "timeout_s", type=float, help="End after this many seconds without a verdict.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="End after this many frames' verdicts; a part's own follows its last frame's.",
)
@JSON
def watch(
    address: str, line: str, max_age_ms: float, timeout_s: float | None, count: int | None, as_json: bool
) -> None:
    """The reference subscriber: prints each verdict, and says when one is missing, repeated or old.

    On a line with [parts] a row that begins with = is the part's own verdict, after those of its frames: frames that
    came of those expected, milliseconds since the first.

    Exit code 1 when verdicts were lost or repeated. With --json one JSON object a line; a part's has `frames`.
    """
    from rich.console import Console

    from edge.bus.verdicts import Continuity, age_ms, subscribe_all
    from edge.records import PartVerdict
    from edge.terminal import HEADINGS, Tally, part_row, verdict_row

    console, warn = Console(highlight=False), Console(stderr=True, style="yellow", highlight=False)
    frames, parts, tally = Continuity(), Continuity(), Tally()
    if not as_json:
        console.print(HEADINGS, style="bold")
    with suppress(KeyboardInterrupt):
        for verdict in subscribe_all(address, line, timeout_s):
            if verdict is None:
                continue
            continuity = parts if isinstance(verdict, PartVerdict) else frames
            repeated = continuity.repeated
            missing, age = continuity.check(verdict), age_ms(verdict)
            if continuity.repeated > repeated:
                warn.print(f"{verdict.verdict_id} came again")
            if missing:
                warn.print(f"{missing} verdicts lost before {verdict.verdict_id}")
            if age > max_age_ms:
                warn.print(f"{verdict.verdict_id} is {age:.0f} ms old")
            if as_json:
                click.echo(to_json(verdict))
            else:
                row = part_row(verdict) if isinstance(verdict, PartVerdict) else verdict_row(verdict)
                console.print(row, soft_wrap=True)
            if isinstance(verdict, PartVerdict):
                continue
            tally.add(verdict, verdict.times_ns.get("total", 0) / 1e6)
            if tally.parts == count:
                break
    if not as_json:
        console.print(tally.table("verdicts"))
    if any(continuity.lost or continuity.repeated for continuity in (frames, parts)):
        raise SystemExit(1)


@main.command()
@LINE
@click.argument("images", nargs=-1, required=True, type=PATHS, metavar="IMAGE|DIR...")
@click.option("--pictures", type=click.Path(path_type=Path), help="Write annotated pictures into this folder.")
@JSON
def inspect(config: Path, images: tuple[Path, ...], pictures: Path | None, as_json: bool) -> None:
    """Judge image files with the line's pipeline, without a bus. Exit code 1 when any of them is not OK."""
    from rich.console import Console

    from edge.config import read_line
    from edge.inspection.assemble import open_pipeline
    from edge.inspection.files import inspect_files
    from edge.records import Evaluation
    from edge.terminal import HEADINGS, Tally, verdict_row
    from edge.vision.files import find_images

    line = read_line(config)
    paths = find_images(images)
    console = Console(highlight=False)
    pipeline = open_pipeline(line, say_on_stderr)
    tally = Tally()
    if not as_json:
        console.print(HEADINGS, style="bold")
    for path, verdict in inspect_files(line, pipeline, paths, pictures):
        tally.add(verdict, verdict.times_ns["total"] / 1e6)
        if as_json:
            click.echo(to_json(verdict))
        else:
            console.print(verdict_row(verdict, path.stem), soft_wrap=True)
    if not as_json:
        console.print(tally.line())
    if tally.evaluations[Evaluation.OK] < tally.parts:
        raise SystemExit(1)


@main.command()
@LINE
@click.argument("data", nargs=-1, required=True, type=PATHS, metavar="DATA...")
@click.option("--fold", type=int, help="Only images of this fold, by the column `fold` of each DATA/split.csv.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many images a surface, spread over its kinds.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON into this file.")
@JSON
def evaluate(
    config: Path, data: tuple[Path, ...], fold: int | None, limit: int | None, out: Path | None, as_json: bool
) -> None:
    """What the line's gate and judges are worth on labelled images.

    DATA: folders in the MVTec AD layout, any subset of surfaces; one that the gate was never taught counts as unseen:

    \b
      DATA/<surface>/test/{good,<kind>}/*
      DATA/<surface>/ground_truth/<kind>/<stem>_mask.png
      DATA/split.csv                                        path,...,fold: for --fold alone

    Only `test` images count. Judges that learnt from defects saw some of those: give the fold kept from them with
    --fold. A surface without `test` is measured on its train/good, with --fold only.

    \b
    gate      seen: share of the frames of taught surfaces that it gave to their own surface; unseen: share of all
              other frames that it called unseen; their harmonic mean; confusion: frames by true surface and answer.
    surfaces  accuracy_good: share of good frames with the verdict OK; accuracy_defect: share of defective frames
              with NotOK. A defective part that the gate sent away is missed, though not passed: not_decided_defect.
              passed_defect: those that got OK. image_auroc, image_ap, pixel_auroc, aupro (to a false-positive rate
              of 0.3): of the judge alone, on all frames of its surface; pixels at its input size, where masks are.
    stages    p50_ms, p99_ms of reading, gate and judge, without the first 5 frames.

    What cannot be known is null. Needs the extra `evaluate` (scikit-learn).
    """
    from rich.console import Console

    from edge.config import read_line
    from edge.offline.evaluate import evaluate as run_line
    from edge.offline.report import progress_bar, report_json, tables, write_report

    line = read_line(config)
    with progress_bar() as progress:
        report = run_line(line, data, fold, limit, progress, say_on_stderr)
    if as_json:
        click.echo(report_json(report))
    else:
        console = Console(highlight=False)
        for table in tables(report):
            console.print(table)
        for note in report.about.notes:
            console.print(f"note: {note}", markup=False)
    if out is not None:
        write_report(report, out)


@main.command()
@LINE
@click.argument("data", nargs=-1, required=True, type=PATHS, metavar="DATA...")
@click.option("--runs", default=10, show_default=True, type=click.IntRange(min=1), help="Runs of each part (n).")
@click.option("--needed", default=7, show_default=True, type=click.IntRange(min=1), help="Right ones needed (k).")
@click.option(
    "--by",
    type=click.Choice(["name", "group"]),
    default="name",
    show_default=True,
    help="What images of one part share: folder or name, or the column `group` of DATA/split.csv.",
)
@click.option("--at-least", type=click.FloatRange(0, 1), help="Accept from this share on, e.g. 0.96; else only report.")
@JSON
def accept(
    config: Path, data: tuple[Path, ...], runs: int, needed: int, by: Any, at_least: float | None, as_json: bool
) -> None:
    """Accept a line, or not: n runs of each part, k of them right (Ferrari's rule is 7 of 10).

    A run is one acquisition of a part: one image, or as many as the line's [parts] frames. DATA: folders in the MVTec
    AD layout, good and known defective parts (the knapp test kit of a validation):

    \b
      DATA/<surface>/test/{good,<kind>}/<part>_<run>.png           the part is the name up to its last _ or -
      DATA/<surface>/test/{good,<kind>}/<part>/*                   so many images in a row are a run, by name
      DATA/<surface>/test/{good,<kind>}/<part>/<run>/*             each folder is a run
      DATA/<surface>/ground_truth/<kind>/<stem>_mask.png           tells the good regions of a defective frame
      DATA/split.csv                                               path,group,...: for --by group

    A good part is right when at least k of its first n runs are OK, a defective one when as many are NotOK; k is more
    than half of n. A part with fewer runs is named and does not count. An image is never played twice: the line is
    deterministic, so it would only agree with itself. With one image a part, --runs 1 --needed 1 says what it can.

    \b
    table 1   each region's boxes (where the line has regions), boxes of one place, frames
    table 2   each run: the worst of its frames
    table 3   each part by the rule
    accuracy      share that was right        good kept     share of good ones that got OK (the paper's TPR)
    bad rejected  share of defective ones that got NotOK (TNR)
    unsure        neither, which is wrong either way
    mean ms       gate and judge; of a region, one box's share

    The thresholds are the line's; set them on other parts than these. --at-least: both rates of table 3 have to reach
    it and no part may be left out. Exit code 1 when they do not.
    """
    from rich.console import Console

    from edge.config import read_line
    from edge.offline.accept import accept as run_parts
    from edge.offline.accept_report import acceptance_tables, remarks
    from edge.offline.report import progress_bar

    if not runs / 2 < needed <= runs:
        raise click.UsageError(f"--needed {needed} of --runs {runs}: give more than half of the runs, and not more")
    line = read_line(config)
    with progress_bar() as progress:
        report = run_parts(line, data, (runs, needed), by, at_least, progress, say_on_stderr)
    if as_json:
        click.echo(to_json(report))
    else:
        console = Console(highlight=False)
        for table in acceptance_tables(report):
            console.print(table)
        for remark in remarks(report):
            console.print(f"note: {remark}", markup=False)
    if report.accepted is False:
        raise SystemExit(1)


@main.command()
@LINE
@click.argument("surface")
@click.argument("images", nargs=-1, required=True, type=PATHS, metavar="IMAGE|DIR...")
@click.option("--name", help="The bundle's name.  [default: nearest-SURFACE]")
@click.option(
    "--pass-good",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.98,
    show_default=True,
    help="Share of good parts that the threshold lets pass; more for fewer false alarms, less for fewer escapes.",
)
@click.option(
    "--gate/--no-gate",
    default=None,
    help="Teach the gate the surface too, by these good images alone.  [default: where it does not know it]",
)
@click.option(
    "--data", default="this plant's own", show_default=True, help="Where the images are from, for the manifest."
)
@click.option("--licence", default="this plant's own", show_default=True, help="Their licence, for the manifest.")
@JSON
def teach(
    config: Path,
    surface: str,
    images: tuple[Path, ...],
    name: str | None,
    pass_good: float,
    gate: bool | None,
    data: str,
    licence: str,
    as_json: bool,
) -> None:
    """Teach the line a new surface from good images alone: a judge, and the surface's place in the gate.

    IMAGE|DIR: a hundred pictures of good parts, ten at least, as the line's camera takes them; or a folder of them that
    has no folders inside. Nothing is trained: what the gate's own network sees on them is remembered, and a place of a
    part that looks like none of it is a defect. Takes a minute or two and no graphics card. Then restart the daemon.

    Writes the bundle beside the gate, teaches the gate where it does not know the surface, and adds [judges.SURFACE] to
    the line's TOML file. Every line that shares the gate then knows the surface. A surface taught again replaces its
    judge; with --gate also what the gate knew of it, broken parts too, so that it may call those unseen.

    Exit code 1 when the gate takes less than 90 % of the images for the surface.
    """
    from edge.config import read_line
    from edge.offline.report import progress_bar
    from edge.offline.teach import Lesson
    from edge.offline.teach_line import teach_line

    lesson = Lesson(surface, name or f"nearest-{surface}", data, licence, f"edge teach {surface}", pass_good, gate)
    with progress_bar() as progress:
        taught = teach_line(read_line(config), lesson, images, progress)
    if as_json:
        click.echo(to_json(taught))
    else:
        click.echo(
            f"{taught.bundle}: learnt from {taught.images} good images; score above {taught.threshold:.3g} is NotOK"
        )
        if taught.odd:
            click.echo(f"least like the others, look at them: {', '.join(taught.odd[:5])}")
        click.echo(
            f"the gate {'was taught too, and ' if taught.gate_taught else ''}takes {taught.admitted:.1%} of them"
        )
        for note in taught.notes:
            click.echo(f"note: {note}")
        click.echo(f"try it: edge inspect --config {config} --pictures looked-at PICTURE...")
    if not taught.good:
        raise SystemExit(1)


@main.command()
@click.argument("bundles", nargs=-1, required=True, type=PATHS, metavar="BUNDLE...")
@click.option("--threads", default=2, show_default=True, help="Threads an engine may use.")
@JSON
def verify(bundles: tuple[Path, ...], threads: int, as_json: bool) -> None:
    """Check bundles: every digest, every graph against its manifest, the golden frame on every engine installed."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from edge.bundle import open_bundle
    from edge.errors import EngineError
    from edge.verify import verify_bundle

    rows = [
        {"bundle": path.name, **asdict(check)}
        for path in bundles
        for check in verify_bundle(open_bundle(path), threads=threads)
    ]
    unread = {path.name for path in bundles} - {row["bundle"] for row in rows}
    if unread:
        raise EngineError(
            f"no engine installed here reads a graph of {', '.join(sorted(unread))}; nothing was verified"
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        table = Table(*(str(heading) for heading in rows[0])) if rows else Table()
        for row in rows:
            table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
        Console().print(table)
    if not all(row["ok"] for row in rows):
        raise SystemExit(1)


def to_json(record: Any) -> str:
    import msgspec

    return msgspec.json.encode(record).decode()


def say_on_stderr(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    main()
