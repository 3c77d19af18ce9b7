"""What the commands share: options, how they end, what they print."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from edge.errors import EdgeError, MissingExtra

LINE = click.option(
    "--config", "config", required=True, type=click.Path(path_type=Path), help="The line's TOML file (line.toml)."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines instead of a table.")
PATHS = click.Path(exists=True, path_type=Path)
HELP = {"help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """Prints an EdgeError as one sentence and ends with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EdgeError as error:
            click.echo(f"{self.name}: {error}", err=True)
            ctx.exit(error.exit_code)


class Group(Command, click.Group):
    """The same for the commands in it."""


def to_json(record: Any) -> str:
    import msgspec

    return msgspec.json.encode(record).decode()


def need(extra: str, purpose: str, *packages: str) -> None:
    """Raises MissingExtra for the first that is not here. packages: as they are imported."""
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtra(package.replace("_", "-"), extra, purpose)


def say_on_stderr(sentence: str) -> None:
    click.echo(sentence, err=True)


def end_as_by_ctrl_c() -> None:
    """On SIGTERM and a closed terminal too: children in groups of their own would be left behind. What was told to
    ignore them, as by nohup, does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
