"""`edge-bench report`: reports as one HTML page, and its plots as PNG files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.command import PATHS, Command, need
from edge.errors import DataError

if TYPE_CHECKING:
    from edge.bench.accuracy import Point
    from edge.bench.given import Given
    from edge.bench.plot_style import Plot

TAIL = (
    "The share of frames that took longer than so many milliseconds, both axes logarithmic: the further left and the "
    "steeper, the better. Dots: p50 and p99."
)
TIME = "Each frame as it came, and the median of each turn: a level that moves is the machine's, not the model's."
ACCURACY = (
    "Filled: no other is both as accurate and as fast (the Pareto front). Accuracy as each bundle's manifest has it, "
    "on images kept back; surfaces differ in difficulty, so compare judges of one surface."
)
ROOF = "What the networks reach of the machine's own ceiling, which is a large matrix product in the same precision."


@click.command(cls=Command)
@click.argument("files", type=PATHS, nargs=-1, required=True, metavar="FILE.json...")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="Where to write the page.",
)
@click.option("--png", type=click.Path(file_okay=False, path_type=Path), help="Write the plots into this folder too.")
def report(files: tuple[Path, ...], out: Path, png: Path | None) -> None:
    """Make one self-contained HTML page of what `edge-bench run --out` wrote.

    It holds the tables, the distribution of the latency with its tail, the latency over time, accuracy against
    milliseconds where the bundles lie where they were timed, and the machine's ceiling where it was measured. It opens
    offline, in light and dark, and prints.
    """
    need("report", "`edge-bench report`", "matplotlib")
    from edge.bench.given import read_given
    from edge.bench.pages import page

    reports = [read_given(path) for path in files]
    points = [point for path, each in zip(files, reports, strict=True) for point in accuracies(path, each)]
    sections = [(each, plots_of(each)) for each in reports]
    across = plots_across(points)
    save(out, page(sections, across).encode())
    click.echo(out)
    if png:
        for path, (_, plots) in zip(unique(files), sections, strict=True):
            write_pngs(png, plots, f"{path}-")
        write_pngs(png, across, "")


def unique(files: tuple[Path, ...]) -> list[str]:
    """Their names without .json; numbered where two are the same."""
    stems = [path.stem for path in files]
    return [stem if stems.count(stem) == 1 else f"{stem}-{index}" for index, stem in enumerate(stems, 1)]


def accuracies(path: Path, given: Given) -> list[Point]:
    from edge.bench.accuracy import bundle_of, points

    bundle = bundle_of(given, path.parent)
    return points(given, bundle) if bundle else []


def plots_of(given: Given) -> list[Plot]:
    """The tail, over time, and the roofline where the report has a ceiling; none of what did not run."""
    from edge.bench.plot_latency import over_time, tail, timed
    from edge.bench.plot_models import counted, roofline
    from edge.bench.plot_style import Plot

    made = []
    if timed(given):
        made.append(Plot("tail", "Latency and its tail", TAIL, partial(tail, given)))
        made.append(Plot("time", "Latency over time", TIME, partial(over_time, given)))
    if given.ceiling and counted(given):
        draw = partial(roofline, given, given.ceiling)
        made.append(Plot("roofline", "Share of the machine's ceiling", ROOF, draw))
    return made


def plots_across(points: list[Point]) -> list[Plot]:
    from edge.bench.plot_models import accuracy
    from edge.bench.plot_style import Plot

    if not points:
        return []
    return [Plot("accuracy", "Accuracy against milliseconds", ACCURACY, partial(accuracy, points))]


def write_pngs(folder: Path, plots: list[Plot], prefix: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {folder}: {error.strerror}; give --png a folder of yours") from error
    for plot in plots:
        save(folder / f"{prefix}{plot.name}.png", plot.png())


def save(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; name a file in a folder of yours") from error
