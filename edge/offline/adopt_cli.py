"""`edge import`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edge.command import JSON, PATHS, say_on_stderr, to_json

Callback = Callable[[click.Context, click.Parameter, str | None], tuple[float, ...] | None]


def numbers(kind: type[int] | type[float], counts: tuple[int, ...]) -> Callback:
    """Reads numbers with commas between them."""

    def read(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...] | None:
        try:
            given = None if value is None else tuple(kind(part) for part in value.split(","))
        except ValueError:
            given = ()
        if given is not None and len(given) not in counts:
            raise click.BadParameter(f"{value!r}: give {' or '.join(map(str, counts))} numbers with commas between")
        return given

    return read


@click.command("import")
@click.argument("model", type=PATHS)
@click.option("--surface", required=True, help="The surface that it inspects, as the gate and line.toml call it.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The bundle's folder, which is made.")
@click.option("--width", type=click.IntRange(min=1), help="Pixels of its input, where the graph leaves them free.")
@click.option("--height", type=click.IntRange(min=1), help="The same.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Grey or RGB, where the graph leaves that free.")
@click.option(
    "--centre",
    callback=numbers(int, (2,)),
    metavar="W,H",
    help="It sees so much of the input's middle, no more (CenterCrop).",
)
@click.option("--mean", callback=numbers(float, (1, 3)), metavar="R,G,B", help="Subtracted in training, one or three.")
@click.option("--std", callback=numbers(float, (1, 3)), metavar="R,G,B", help="Divided by in training, one or three.")
@click.option(
    "--white",
    type=float,
    default=1.0,
    show_default=True,
    help="What white was before --mean and --std were applied: 255 where they are of pixel values.",
)
@click.option(
    "--answer",
    type=click.Choice(["score", "logit"]),
    default="score",
    show_default=True,
    help="Whether map and score are taken as they are or through a sigmoid.",
)
@click.option("--map-output", help="The output that is the map, where several may be.")
@click.option("--score-output", help="The output that is the frame's score.  [default: the map's largest value]")
@click.option("--threshold", type=float, help="A frame whose score is above it is NotOK.")
@click.option("--map-threshold", type=float, help="Places of the map above it are a defect.")
@click.option("--good", type=PATHS, multiple=True, help="Pictures of good parts, to set on them what no option gives.")
@click.option(
    "--pass-good",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.98,
    show_default=True,
    help="Share of --good that passes.",
)
@click.option("--label", default="defect", show_default=True, help="What its defects are called.")
@click.option("--data", default="unknown", show_default=True, help="What it learnt from, for the manifest.")
@click.option("--licence", default="unknown", show_default=True, help="Under which licence, for the manifest.")
@JSON
def import_(model: Path, out: Path, channels: str | None, good: tuple[Path, ...], as_json: bool, **said: Any) -> None:
    """Make a bundle of a network that others exported: one that answers a picture with a map of scores.

    \b
    MODEL   FILE.onnx                   weights in the file itself
            FILE.xml                    OpenVINO's, with FILE.bin beside it
            FOLDER                      an export of anomalib 0.x, 1.x or 2.x: weights/{onnx,openvino} or one of these

    An export of anomalib says, or does itself, how a picture is normalised; of another --mean and --std are asked.
    Three of them go into the graph, in front, one into the manifest: what training did is neither lost nor doubled.
    Outputs that are neither map nor score are cut off. Nobody's threshold is kept in a graph: that of metadata.json, or
    the one that the graph asked of its score, is written into the manifest, where line.toml may override it.

    Prints what `edge verify` prints of the new bundle. A file that is cut short, a pickle, weights in a second file, an
    operator that no engine knows: the error names it, and nothing is written.
    """
    from dataclasses import asdict

    from edge.offline.adopt import adopt
    from edge.offline.adopt_wanted import Wanted
    from edge.offline.report import print_rows, progress_bar

    command = shlex.join(["edge", *sys.argv[1:]])
    wanted = Wanted(channels=int(channels) if channels else None, good=good, command=command, **said)
    with progress_bar() as progress:
        adopted = adopt(model, wanted, out, progress)
    manifest = adopted.bundle.manifest
    for note in adopted.notes:
        say_on_stderr(note)
    say_on_stderr(f"score above {manifest.thresholds.score:.6g} is NotOK ({manifest.thresholds.how})")
    rows = [{"bundle": out.name, **asdict(check)} for check in adopted.rows]
    if as_json:
        click.echo(to_json(rows))
    else:
        print_rows(rows)
