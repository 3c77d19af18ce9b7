"""The command `edge install`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.command import JSON, LINE, PATHS, to_json

if TYPE_CHECKING:
    from edge.install.install import Installed
    from edge.install.plan import Gpu

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
STYLES = {"written": "green", "replaced": "yellow", "deleted": "green", "differs": "bold red", "kept": "yellow"}


@click.command()
@LINE
@click.option("--name", help="The service is edge@NAME, its file /etc/edge/NAME.toml.  [default: the line's name]")
@click.option("--user", default="edge", show_default=True, help="The service's user.")
@click.option("--gpu", "gpu", flag_value="gpu", help="Let the service use the NVIDIA GPU.")
@click.option("--openvino-gpu", "gpu", flag_value="openvino-gpu", help="Let the service use Intel's graphics.")
@click.option("--selfbench", is_flag=True, help="A self check every night too.")
@click.option("--key", type=PATHS, help="The line's secret key: it is made a systemd credential.")
@click.option("--bundles", type=FOLDER, help="Copy the line's bundles from here to where it looks for them.")
@click.option("--cores", metavar="LIST", help="Cores of its own, as 0-1, one a thread; else lines share all evenly.")
@click.option("--root", type=FOLDER, default="/", show_default=True, help="The box's root, or an image's.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--force", is_flag=True, help="Replace files that differ; delete them with --remove.")
@click.option("--remove", is_flag=True, help="Take the service away again.")
@JSON
def install(
    config: Path,
    name: str | None,
    user: str,
    gpu: Gpu | None,
    selfbench: bool,
    key: Path | None,
    bundles: Path | None,
    cores: str | None,
    root: Path,
    dry_run: bool,
    force: bool,
    remove: bool,
    as_json: bool,
) -> None:
    """Make a line a systemd service: unit, drop-ins, user, /etc/edge/NAME.toml; say what was done and what is next.

    Everything is checked first: the line's file, each bundle to the bit, sockets and journal where the service may
    write. Nothing is started, no file that differs is replaced without --force, and where one differs none is written.
    Done again it changes nothing. --remove deletes what is as it was put in place; bundles, keys and journals stay.

    Exit code 1 when the service cannot run as the line is, or when a file differs.
    """
    from edge.config import read_line
    from edge.install import install as work
    from edge.install.plan import Ask

    line = read_line(config)
    ask = Ask(line, name or line.config.line, user, gpu, selfbench, key, bundles, cores)
    done = (work.remove if remove else work.install)(ask, root.resolve(), force, dry_run)
    if as_json:
        click.echo(to_json(done))
    else:
        _print(done)
    if not done.done:
        raise SystemExit(1)


def _print(done: Installed) -> None:
    from rich.table import Table
    from rich.text import Text

    from edge.terminal import screen

    console = screen()
    for problem in done.problems:
        console.print(Text(f"problem: {problem}", "bold red"), soft_wrap=True)
    if done.files:
        table = Table(box=None, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for file in done.files:
            found = f"{file.path}\n{file.found}" if file.found else file.path
            table.add_row(Text(file.state, STYLES.get(file.state, "")), Text(found))
        console.print(table)
    for note in done.notes:
        console.print(Text(f"note: {note}", "cyan"), soft_wrap=True)
    if not done.done:
        console.print("nothing was written" + ("" if done.problems else "; --force replaces what differs"))
    elif done.next:
        console.print("next:")
        for command in done.next:
            console.print(Text(f"  {command}"), soft_wrap=True)
