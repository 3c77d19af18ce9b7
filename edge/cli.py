"""The command `edge`. Each command imports what it needs itself, so that `--help` answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from edge import __version__
from edge.command import HELP, JSON, LINE, PATHS, Group, say_on_stderr, to_json
from edge.doctor.cli import doctor
from edge.install.cli import install
from edge.journal.cli import journal
from edge.keys_cli import keys, sign
from edge.offline.adopt_cli import import_
from edge.offline.cli import accept, evaluate, teach, verify
from edge.offline.good_cli import reference, threshold
from edge.offline.graphs_cli import export, parity, quantize

KEY = click.option("--key", type=PATHS, help="Its own secret key (`edge keys new`), on a line with [security].")
THERE_S = 5.0
OPENING_S = 400.0  # engines that were never measured here take minutes
SERVER_KEY = click.option("--server-key", type=PATHS, help="The daemon's public key, so that no other takes its place.")


@click.group("edge", cls=Group, context_settings=HELP)
@click.version_option(__version__, prog_name="edge")
def main() -> None:
    """Inspect surfaces beside the line: a gate that knows its surfaces, a judge for each, one verdict a frame.

    Begin with `edge inspect --config exported_models/line.toml PICTURE`, then `edge run`, `edge camera`, `edge watch`.

    Exit codes: 0 done; 1 done, and the answer is no; 2 wrong usage; 3 too few samples to say; 10 config; 11 bundle; 12
    engine; 13 bus; 14 frame; 15 score; 16 data; 17 an optional package is missing; 18 journal.
    """


@main.command()
@LINE
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.option(
    "--log",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log lines for people, or one JSON object a line with trigger ids.",
)
def run(config: Path, verbose: bool, form: Any) -> None:
    """The daemon: frames from the bus, exactly one verdict for each.

    Ends cleanly on SIGTERM or Ctrl-C. Under systemd (Type=notify) it says ready once every bundle has repeated its
    golden frame.
    """
    from edge.config import read_line
    from edge.daemon.logs import set_up
    from edge.daemon.server import run as serve
    from edge.ownership import check_unchanged_by_others

    line = read_line(config)
    check_unchanged_by_others(line.path)
    set_up(form, line.config.line, verbose)
    serve(line)


@main.command()
@LINE
@click.option("--frames", type=click.IntRange(min=0), default=20, show_default=True, help="Live frames to compare.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, max=3600),
    default=10.0,
    show_default=True,
    help="Compare those that come within this time, where they are fewer.",
)
@click.option(
    "--disagree",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="The share of them that may come out otherwise; 1 where the verdicts are meant to change.",
)
@KEY
@SERVER_KEY
@JSON
def reload(
    config: Path,
    frames: int,
    seconds: float,
    disagree: float,
    key: Path | None,
    server_key: Path | None,
    as_json: bool,
) -> None:
    """Let a running line read its file and bundles again, without missing a frame.

    The daemon verifies and opens them beside the running ones, shows them live frames, compares, and changes over
    between two frames, or leaves all as it is and says why. For a minute after it goes back by itself where they fail.
    Needs `control` in line.toml; `systemctl reload` does the same without an answer. Exit code 1 where it is refused.
    """
    from edge.bus.control import Request, ask_reload, ask_status
    from edge.bus.curve import client_keys
    from edge.config import read_line
    from edge.errors import ConfigError

    line = read_line(config)
    if line.config.control is None:
        advice = f'add control = "ipc:///run/edge/{line.config.line}/control", or: systemctl reload edge@NAME'
        raise ConfigError(f"{config} has no control address to reach the daemon at; {advice}")
    curve = client_keys(key, server_key)
    ask_status(line.config.control, THERE_S, curve)  # is anybody there at all?
    if not as_json:
        click.echo(f"opened beside the running ones and shown live frames, {seconds:g} s at most ...", err=True)
    request = Request("reload", frames=frames, seconds=seconds, disagree=disagree)
    answer = ask_reload(line.config.control, request, seconds + OPENING_S, curve)
    click.echo(to_json(answer) if as_json else f"{'done: ' if answer.done else ''}{answer.said}")
    if not answer.done:
        raise SystemExit(1)


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
@click.option(
    "--deadline-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="Ask for each verdict within this time of the capture.",
)
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
@KEY
@SERVER_KEY
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
    key: Path | None,
    server_key: Path | None,
) -> None:
    """Play images onto the bus as a camera would, each with a trigger id.

    The part id is the file's name without its ending, after as many of its folders as tell those files apart: cameras
    that show the same parts are given folders that are alike.
    """
    import random

    from edge.bus.camera import Camera, play
    from edge.bus.curve import client_keys
    from edge.vision.files import find_images

    paths = find_images(images)
    if shuffle is not None:
        random.Random(shuffle).shuffle(paths)
    source = Camera(address, line, name, patience, client_keys(key, server_key))
    try:
        for _ in play(source, paths, rate, encoding, loop, deadline_ms, part_frames):
            pass
        source.close()
    except KeyboardInterrupt:
        source.close(1000)  # the last frame may be on its way
    click.echo(f"{source.sent} frames sent", err=True)


@main.command()
@click.option("--from", "address", required=True, help="The line's `verdicts` address, e.g. ipc:///run/edge/verdicts.")
@click.option("--line", default="", help="Only this line's verdicts; --replay needs it.")
@click.option("--max-age-ms", default=1000.0, show_default=True, help="Warn of a verdict older than this on arrival.")
@click.option("--timeout", "timeout_s", type=float, help="End after this many seconds without a verdict.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="End after this many frames' verdicts; a part's own follows its last frame's.",
)
@click.option("--replay", help="The line's `journal.replay` address: what is missed is read again there.")
@click.option("--since", type=click.IntRange(min=0), help="With --replay: begin at this position of the journal.")
@KEY
@SERVER_KEY
@JSON
def watch(
    address: str,
    line: str,
    max_age_ms: float,
    timeout_s: float | None,
    count: int | None,
    replay: str | None,
    since: int | None,
    key: Path | None,
    server_key: Path | None,
    as_json: bool,
) -> None:
    """The reference subscriber: prints each verdict, and says when one is missing, repeated or old.

    On a line with [parts] a row that begins with = is the part's own verdict, after those of its frames: frames that
    came of those expected, milliseconds since the first. A row that begins with ! is a drift alarm, or its end.

    Exit code 1 when verdicts were lost or repeated. With --json one JSON object a line; a part's has `frames`, an
    alarm's `raised`.
    """
    from rich.console import Console

    from edge.bus.curve import client_keys
    from edge.bus.follow import follow
    from edge.bus.verdicts import Continuity, subscribe_all
    from edge.journal.entries import Lost
    from edge.records import Alarm, PartVerdict, Verdict
    from edge.terminal import HEADINGS, Tally, row_of, screen

    if (replay or since is not None) and not (replay and line):
        raise click.UsageError("--since needs --replay, and --replay needs --line")
    console, warn = screen(), Console(stderr=True, style="yellow", highlight=False)
    curve = client_keys(key, server_key)
    coming: Iterator[Verdict | PartVerdict | Alarm | Lost | None]
    if replay:
        coming = follow(address, replay, line, since, timeout_s, curve)
    else:
        coming = subscribe_all(address, line, timeout_s, curve)
    frames, parts, tally = Continuity(), Continuity(), Tally()
    gone, heard = 0, False
    if not as_json:
        console.print(HEADINGS, style="bold")
    with suppress(KeyboardInterrupt):
        for message in coming:
            if message is None:
                continue
            heard = True
            if isinstance(message, Lost):
                gone += message.last + 1 - message.first
                warn.print(f"the journal's {message.first} to {message.last} are lost: {message.why}")
                continue
            if not isinstance(message, Alarm):
                continuity = parts if isinstance(message, PartVerdict) else frames
                for sentence in continuity.doubts(message, max_age_ms if since is None else None):
                    warn.print(sentence)
            if as_json:
                click.echo(to_json(message))
            else:
                console.print(row_of(message), soft_wrap=True)
            if isinstance(message, Verdict):
                tally.add(message, message.times_ns.get("total", 0) / 1e6)
                if tally.parts == count:
                    break
    if not as_json:
        console.print(tally.table("verdicts"))
    if not heard:
        warn.print(f"nothing came from {address}; does a line publish there, and may this one hear it?")
    if gone or any(continuity.lost or continuity.repeated for continuity in (frames, parts)):
        raise SystemExit(1)


@main.command()
@LINE
@click.argument("images", nargs=-1, required=True, type=PATHS, metavar="IMAGE|DIR...")
@click.option("--pictures", type=click.Path(path_type=Path), help="Write annotated pictures into this folder.")
@JSON
def inspect(config: Path, images: tuple[Path, ...], pictures: Path | None, as_json: bool) -> None:
    """Judge image files with the line's pipeline, without a bus. Exit code 1 when any of them is not OK."""
    from edge.config import read_line
    from edge.inspection.assemble import open_pipeline
    from edge.inspection.files import inspect_files
    from edge.records import Evaluation
    from edge.terminal import HEADINGS, Tally, screen, verdict_row
    from edge.vision.files import find_images

    line = read_line(config)
    paths = find_images(images)
    console = screen()
    pipeline = open_pipeline(line, say_on_stderr)
    tally = Tally()
    if not as_json:
        console.print(HEADINGS, style="bold")
    for verdict in inspect_files(line, pipeline, paths, pictures):
        tally.add(verdict, verdict.times_ns["total"] / 1e6)
        if as_json:
            click.echo(to_json(verdict))
        else:
            console.print(verdict_row(verdict), soft_wrap=True)
    if not as_json:
        console.print(tally.line())
    if tally.evaluations[Evaluation.OK] < tally.parts:
        raise SystemExit(1)


COMMANDS = (evaluate, accept, teach, verify, export, import_, quantize, parity, doctor, threshold, reference, journal)
for command in (*COMMANDS, keys, sign, install):
    main.add_command(command)


if __name__ == "__main__":
    main()
