"""The command `edge-bench selfcheck`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge.bench.compare_cli import Share, print_comparison
from edge.bench.options import INTERRUPTED
from edge.command import JSON, PATHS, Command, say_on_stderr, to_json

ALLOW = 0.15  # one night is warmer than another


@click.command(cls=Command)
@click.argument("config", type=PATHS, metavar="CONFIG")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder of all nights' files."
)
@click.option(
    "--allow", type=Share(), default=ALLOW, help="A change up to this share counts as the same.  [default: 15%]"
)
@click.option("--accept", is_flag=True, help="From now on nights are compared with this one.")
@click.option(
    "--runs", type=click.IntRange(min=1), help="End after as many frames.  [default: what p99 needs, in a minute]"
)
@JSON
def selfcheck(config: Path, into: Path, allow: float, accept: bool, runs: int | None, as_json: bool) -> None:
    """Does the line see its golden frames as it did, and is it as fast? What `edge-selfbench@.timer` asks every night.

    It opens the line's engines once more, beside a daemon that runs, and touches no socket. The night's file is a
    report that `edge-bench compare` and `edge-bench report` read. Nights are compared with the first calm one of the
    same graphs: a line that becomes slower by a little every night is told too.

    Exit codes: 0 as it was, or the first; 1 slower, or a golden frame has changed; 3 the box was too busy to say; 11 a
    golden frame is wrong, or a bundle was altered.
    """
    from edge.bench.measure import How
    from edge.bench.selfcheck import EXIT_CODES
    from edge.bench.selfcheck import selfcheck as check
    from edge.terminal import screen

    checked = check(config, into, allow, accept, How(runs=runs), say_on_stderr)
    if checked is None:
        sys.exit(INTERRUPTED)
    if as_json:
        click.echo(to_json(checked))
    else:
        if checked.comparison:
            print_comparison(checked.comparison, screen())
        for sentence in checked.told:
            click.echo(sentence)
        click.echo(f"{checked.file}: {checked.verdict}")
    sys.exit(EXIT_CODES[checked.verdict])
