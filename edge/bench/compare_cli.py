"""`edge-bench compare`: two reports, row by row."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.command import JSON, PATHS, Command

if TYPE_CHECKING:
    from rich.console import Console

    from edge.bench.compare import Change, Comparison, Pair

ALLOW = 0.05
STYLES = {"SLOWER": "bold red", "UNSURE": "yellow", "FASTER": "green", "SAME": "green"}


class Share(click.ParamType[float]):
    """5% or 0.05, as 0.05."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{text!r} is no share; write 5% or 0.05", param, ctx)
        if not 0 <= share < 1:
            self.fail(f"{text} is not from 0% to below 100%", param, ctx)
        return share


@click.command(cls=Command)
@click.argument("old", type=PATHS, metavar="OLD.json")
@click.argument("new", type=PATHS, metavar="NEW.json")
@click.option(
    "--allow", type=Share(), default=ALLOW, help="A change up to this share counts as the same.  [default: 5%]"
)
@JSON
def compare(old: Path, new: Path, allow: float, as_json: bool) -> None:
    """Say for each row whether NEW is slower than OLD, accounting for noise.

    OLD.json and NEW.json are what `edge-bench run --out` wrote; rows are matched by name. A ratio is new / old with its
    95 % interval: SLOWER where all of it lies above what --allow leaves, FASTER below, SAME within, UNSURE otherwise.
    A row is SLOWER where p50 or p99 is, and SAME or FASTER only where both can be told.

    Exit codes: 0 no row is slower; 1 one is; 3 unsure; 16 a file is no report.
    """
    from edge.bench.compare import EXIT_CODES
    from edge.bench.compare import compare as compared
    from edge.bench.given import read_given
    from edge.command import to_json
    from edge.terminal import screen

    found = compared(read_given(old), read_given(new), allow)
    if as_json:
        click.echo(to_json(found))
    else:
        print_comparison(found, screen())
    sys.exit(EXIT_CODES[found.verdict])


def print_comparison(found: Comparison, console: Console) -> None:
    """The table, which fits 80 columns, then what it says in sentences."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 0, 0, 1), title=f"new / old, {100 * found.allow:g} % allowed")
    table.add_column("row", no_wrap=True)
    for heading in ("old ms", "new ms", "ratio", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for pair in found.pairs:
        table.add_row(Text(pair.name, "bold"), "", "", "", "", Text(pair.verdict, STYLES[pair.verdict]))
        for name, change in (("p50", pair.p50), ("p99", pair.p99)):
            table.add_row(f"  {name}", *_figures(change))
    console.print(table)
    for pair in found.pairs:
        _print_remarks(pair, console)
    for names, which in ((found.only_old, "old"), (found.only_new, "new")):
        for name in names:
            console.print(f"{name}: only in the {which} run", style="yellow", markup=False)
    if found.differences:
        console.print("These runs are of two boxes or set-ups, not of one before and after:", style="yellow")
        for difference in found.differences:
            console.print(f"  {difference}", style="yellow", markup=False)
    console.print(found.verdict, style=STYLES[found.verdict])


def _figures(change: Change | None) -> tuple[str, ...]:
    if change is None:
        return "", "", "", "", ""
    interval = f"{change.low:.3f} .. {change.high:.3f}"
    return f"{change.old_ms:.3f}", f"{change.new_ms:.3f}", f"{change.ratio:.3f}", interval, change.verdict


def _print_remarks(pair: Pair, console: Console) -> None:
    if pair.why:
        console.print(f"{pair.name}: {pair.why}", style="yellow", markup=False)
    for which, spread in (("old", pair.old), ("new", pair.new)):
        if spread:
            told = f"turns vary by {100 * spread.turns_vary:.1f} %, second half {100 * (spread.halves - 1):+.1f} %"
            console.print(f"{pair.name}, {which}: {told}, blocks of {spread.block} of {spread.turns}", markup=False)
    for difference in pair.differences:
        console.print(f"{pair.name}: {difference}", style="yellow", markup=False)
