"""The commands of `edge` on a line that stands still: is it whole, what is it worth, accept it, teach it a surface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.command import JSON, LINE, PATHS, say_on_stderr, to_json

if TYPE_CHECKING:
    from edge.engines.session import Device


@click.command()
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
    from edge.config import read_line
    from edge.offline.evaluate import evaluate as run_line
    from edge.offline.report import print_tables, progress_bar, report_json, tables, write_report

    line = read_line(config)
    with progress_bar() as progress:
        report = run_line(line, data, fold, limit, progress, say_on_stderr)
    if as_json:
        click.echo(report_json(report))
    else:
        print_tables(tables(report), report.about.notes)
    if out is not None:
        write_report(report, out)


@click.command()
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
    from edge.config import read_line
    from edge.offline.accept import accept as run_parts
    from edge.offline.accept_report import acceptance_tables, remarks
    from edge.offline.report import print_tables, progress_bar

    if not runs / 2 < needed <= runs:
        raise click.UsageError(f"--needed {needed} of --runs {runs}: give more than half of the runs, and not more")
    line = read_line(config)
    with progress_bar() as progress:
        report = run_parts(line, data, (runs, needed), by, at_least, progress, say_on_stderr)
    if as_json:
        click.echo(to_json(report))
    else:
        print_tables(acceptance_tables(report), remarks(report))
    if report.accepted is False:
        raise SystemExit(1)


@click.command()
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
    "--tiles",
    nargs=2,
    type=click.IntRange(1, 16),
    default=(1, 1),
    show_default=True,
    metavar="COLUMNS ROWS",
    help="Cut the frame into so many tiles, each seen as large as the gate sees a frame: finds smaller defects; every"
    " frame on the line then costs as many runs of the gate's network more.",
)
@click.option(
    "--worst",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="The score is the mean of so many of the frame's worst places (14 x 14 a tile): few for small defects.",
)
@click.option(
    "--even",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="0: a difference counts the same everywhere. 1: it counts by how much good places of that look differ among"
    " themselves, for uneven surfaces.",
)
@click.option(
    "--cells",
    type=click.IntRange(min=1),
    default=4000,
    show_default=True,
    help="So many good places are remembered. Twice as many take twice the time to compare and may tell more.",
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
    tiles: tuple[int, int],
    worst: int,
    even: float,
    cells: int,
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
    from edge.offline.teach import Lesson, Settings
    from edge.offline.teach_line import teach_line

    settings = (
        f"--tiles {tiles[0]} {tiles[1]} --worst {worst} --even {even:g} --cells {cells} --pass-good {pass_good:g}"
    )
    said = (surface, name or f"nearest-{surface}", data, licence, f"edge teach {surface} {settings}", pass_good, gate)
    lesson = Lesson(*said, Settings(tiles, worst, even, cells))
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


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=PATHS, metavar="BUNDLE...")
@click.option("--threads", default=2, show_default=True, help="Threads an engine may use.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), help="Where to run.  [default: cpu; with --warm auto]"
)
@click.option(
    "--warm", is_flag=True, help="Build what engines keep for a GPU now, and time a first and second opening."
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="With --warm: the most images at once, on a line with regions all boxes of a frame.",
)
@JSON
def verify(
    bundles: tuple[Path, ...], threads: int, device: Device | None, warm: bool, batch: int, as_json: bool
) -> None:
    """Check bundles: every digest, every graph against its manifest, the golden frame on every engine installed, and
    that what scores its answer can be read.

    --warm: TensorRT and OpenVINO's GPU plugin build kernels for a graph, for seconds or minutes, and keep them in
    edge's cache folder. Do it once for each box, engine version and bundle, as the user and with the $CACHE_DIRECTORY
    of the service (/var/cache/edge), so that no part waits for it. cold_s and warm_s: seconds of the first and the
    second opening, in one process.
    """
    from dataclasses import asdict

    from rich.table import Table

    from edge.bundle import open_bundle
    from edge.errors import EngineError
    from edge.offline.verify import Opening, verify_bundle
    from edge.terminal import screen

    opening = Opening(threads, device or ("auto" if warm else "cpu"), warm, batch)
    rows = [
        {"bundle": path.name, **asdict(check)}
        for path in bundles
        for check in verify_bundle(open_bundle(path), opening=opening)
    ]
    unread = {path.name for path in bundles} - {row["bundle"] for row in rows}
    if unread:
        raise EngineError(
            f"no engine here reads a graph of {', '.join(sorted(unread))} (INT8 without VNNI?); nothing was verified"
        )
    if as_json:
        click.echo(to_json(rows))
    else:
        headings = [name for name in rows[0] if warm or name not in ("cold_s", "warm_s")] if rows else []
        table = Table(box=None)
        for name in headings:
            table.add_column("ms" if name == "milliseconds" else name, overflow="fold")
        for row in rows:
            values = [row[name] for name in headings]
            table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values))
        screen().print(table)
    if not all(row["ok"] for row in rows):
        raise SystemExit(1)
