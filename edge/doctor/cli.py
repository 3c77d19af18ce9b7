"""The command `edge doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from edge.command import JSON, PATHS, say_on_stderr, to_json

STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The line's TOML file: its needs are checked too.")
@click.option("--live", is_flag=True, help="Is the line's daemon well that runs now? Needs --config.")
@click.option("--key", type=PATHS, help="With --live: a subscriber's secret key, on a line with [security].")
@click.option("--server-key", type=PATHS, help="With --live: the daemon's public key.")
@click.argument("bundles", nargs=-1, type=PATHS, metavar="[BUNDLE...]")
@JSON
def doctor(
    config: Path | None,
    live: bool,
    key: Path | None,
    server_key: Path | None,
    bundles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Is this box fit for edge, and which graphs does it run?

    Looks at processor, cores, governor, memory, GPU, engines, packages, clock and permissions. With a line or bundles
    it also measures each graph on every engine, as the daemon's first start does, and says which is used: an INT8 graph
    that is not faster than FP32 here is not. It changes nothing but the cache of measurements.

    With --live it asks the running daemon instead: is it there and ready, is it heard, what waits, what was dropped and
    why, engines replaced, drift alarms, journal and disk, and whether it runs what lies there now: the line's file, the
    bundles, the certificate. It disturbs nothing.

    A row is ok, a note, a warning or a problem; what the box does not tell is "unknown". Run it as the user of the
    service, with its $CACHE_DIRECTORY. Exit code 1 when there is a problem.
    """
    from rich.table import Table
    from rich.text import Text

    from edge.terminal import screen

    if live and (config is None or bundles):
        raise click.UsageError("--live is of a line: give --config, and no bundles")
    if live and config:
        from edge.bus.curve import client_keys
        from edge.doctor.live import examine_live

        rows = examine_live(config, client_keys(key, server_key))
    else:
        from edge.doctor.examine import examine

        rows = examine(config, bundles, say_on_stderr)
    if as_json:
        click.echo(to_json(rows))
    else:
        table = Table("check", "state", box=None)
        for heading in ("found", "what to do"):
            table.add_column(heading, overflow="fold")  # a path is cut nowhere
        for row in rows:
            table.add_row(row.check, Text(row.state, STYLES[row.state]), Text(row.found), Text(row.advice))
        screen().print(table)
    if any(row.state == "problem" for row in rows):
        raise SystemExit(1)
