"""The commands of `edge` that learn from good images what is usual: thresholds, and a reference for drift."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.command import JSON, LINE, PATHS, say_on_stderr, to_json

if TYPE_CHECKING:
    from rich.table import Table

    from edge.offline.threshold import Proposal

TOO_FEW = 3


def share(_: click.Context, option: click.Parameter, value: str) -> float:
    """`1/10000` or `0.0001` as a number above 0 and below 1."""
    try:
        found = float(Fraction(value))
    except (ValueError, ZeroDivisionError):
        found = 0.0
    if not 0 < found < 1:
        raise click.BadParameter(f"{value!r} is no share between 0 and 1; write 1/10000 or 0.0001", param=option)
    return found


@click.command()
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="BUNDLE")
@click.argument("images", nargs=-1, required=True, type=PATHS, metavar="IMAGE|DIR...")
@click.option(
    "--false-rejects",
    metavar="SHARE",
    callback=share,
    default="1/10000",
    show_default=True,
    help="At most so many of all good parts.",
)
@click.option(
    "--confidence", metavar="SHARE", callback=share, default="0.95", show_default=True, help="How sure that has to be."
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="The line's TOML file: its gate, engine, device and threads."
)
@click.option("--surface", help="Whose threshold, where the line judges several by this bundle.")
@click.option("--write", is_flag=True, help="Write it into the line's TOML file; needs --config.")
@JSON
def threshold(
    bundle: Path,
    images: tuple[Path, ...],
    false_rejects: float,
    confidence: float,
    config: Path | None,
    surface: str | None,
    write: bool,
    as_json: bool,
) -> None:
    """A score threshold from good parts alone: at most 1 false reject in 10,000, with 95 % confidence.

    IMAGE|DIR: pictures of good parts that the judge never learnt from, one a part, as the line's camera takes them; or
    folders of them. Nothing is supposed of how scores are distributed: of n good ones the k-th largest is taken, where
    k is the largest that keeps the promise (binomial order statistics). A part is rejected above it.

    It says nothing of defects: look with `edge evaluate` or `edge accept` what the threshold lets pass.

    \b
    rejected    of these images
    at most     of all good parts, with the confidence asked for

    Exit code 3 where the images are too few to say, with how many more good parts it takes: 29,956 in all for the
    default, 2,995 for 1/1000, 299 for 1/100. --write then changes nothing.
    """
    from edge.offline.pack import rewrite
    from edge.offline.report import print_tables, progress_bar
    from edge.offline.threshold import Wanted, find_threshold
    from edge.offline.threshold_line import line_of_bundle, surface_of_line, with_threshold

    if write and config is None:
        raise click.UsageError("--write puts the threshold into the line's TOML file; name it with --config")
    line, surface = surface_of_line(config, bundle, surface) if config else line_of_bundle(bundle, surface)
    with progress_bar() as progress:
        found = find_threshold(line, surface, images, Wanted(false_rejects, confidence), progress, say_on_stderr)
    if write and found.proposed:
        rewrite(line.path, with_threshold(line, found, found.proposed))
    if as_json:
        click.echo(to_json(found))
    else:
        scores = ", ".join(f"{float(q):.0%} up to {value:.4g}" for q, value in found.quantiles.items())
        click.echo(f"{found.surface} by {found.bundle} ({found.graph}), {found.images} good images; scores: {scores}")
        print_tables([_table(found)], [*_answers(found), *found.notes])
    if found.proposed is None:
        raise SystemExit(TOO_FEW)


def _table(found: Proposal) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("", "threshold", "rejected", "at most", box=SIMPLE_HEAD)
    for name, limit in (("proposed", found.proposed), ("today", found.today)):
        if limit is None:
            table.add_row(name, "-", "-", "-")
        else:
            table.add_row(name, f"{limit.threshold:.6g}", str(limit.rejected), f"{limit.at_most:.3g}")
    return table


def _answers(found: Proposal) -> list[str]:
    wanted, said = found.wanted, []
    if found.more:
        said.append(
            f"{found.more} more good parts are needed to promise at most {wanted.false_rejects:.2g} with"
            f" {wanted.confidence:.0%} confidence; these promise {found.best:.2g} at best"
        )
    if found.repeated:
        said.append(f"{found.repeated} images are the same as others and do not count")
    if found.unseen:
        said.append(f"the gate sends {found.unseen} of them elsewhere: those are stopped too, whatever the threshold")
    return said


@click.command()
@LINE
@click.argument("images", nargs=-1, required=True, type=PATHS, metavar="IMAGE|DIR...")
@JSON
def reference(config: Path, images: tuple[Path, ...], as_json: bool) -> None:
    """What good frames are on this line, so that the daemon says when light, exposure, focus or the product changes.

    IMAGE|DIR: pictures of good parts as the line's camera takes them, that the judges did not learn from, or folders of
    them: 50 a surface at least, better 500, over all that is usual there in a day. Each counts for the surface that the
    gate takes it for. DATA/*/test/good of the MVTec AD layout.

    Writes reference.toml beside the line's TOML file, and [drift] into that where it has none. Then restart the daemon.
    Make it anew whenever a bundle, camera or lamp is another.
    """
    from edge.config import read_line
    from edge.offline.reference import make, write_reference
    from edge.offline.report import progress_bar

    line = read_line(config)
    with progress_bar() as progress:
        found, notes = make(line, images, progress, say_on_stderr)
    made = write_reference(line, found, notes)
    if as_json:
        click.echo(to_json(made))
        return
    for surface, frames in made.frames.items():
        click.echo(f"{surface}: {frames} good frames")
    click.echo(f"written: {made.path}")
    for note in made.notes:
        click.echo(f"note: {note}")
