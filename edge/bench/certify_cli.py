"""The commands `edge-bench certify` and `edge-bench check-certificate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.bench.options import INTERRUPTED, make_plan, shared
from edge.command import JSON, PATHS, Command, need, say_on_stderr

if TYPE_CHECKING:
    from edge.bench.load import Wanted
    from edge.engines.session import Device

MOST_MS = 86_400_000
FILE = click.Path(dir_okay=False, path_type=Path)
PURPOSE = "a signed certificate"


@click.command(cls=Command)
@shared
@click.option("--out", type=FILE, required=True, help="Write the certificate into this file.")
@click.option(
    "--target-ms",
    type=click.FloatRange(min=0, min_open=True, max=MOST_MS),
    help="A frame's target, instead of all of the manifest's.",
)
@click.option(
    "--percentile",
    type=click.FloatRange(min=50, max=99.99),
    default=99.0,
    show_default=True,
    help="What share of frames, in percent, is to meet the target.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "openvino", "litert"]),
    help="The engine that runs it.  [default: auto, or the config's]",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), help="Threads an engine may use.  [default: 2, or the config's]"
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), help="Where to run.  [default: auto, or the config's]"
)
@click.option(
    "--key",
    type=FILE,
    help="This box's private key, made where there is none.  [default: /etc/edge/bench.key, or ~/.config/edge's]",
)
@JSON
def certify(
    subject: Path,
    out: Path,
    target_ms: float | None,
    percentile: float,
    engine: Wanted | None,
    threads: int | None,
    device: Device | None,
    runs: int | None,
    seconds: float | None,
    images: Path | None,
    key: Path | None,
    as_json: bool,
    **arrivals: Any,
) -> None:
    """Time a bundle or a line on this box, and sign what was found.

    The certificate is JSON: this box, edge's and the engines' versions, the bundles' digests, targets, samples, bounds
    and the verdict, signed with this box's Ed25519 key. FAIL and INSUFFICIENT are certified too, and end as they do in
    `edge-bench run`. A line with `require_certificate = true` starts with a PASS of its own alone.
    """
    from edge.bench.certify import certificate_of, check_targets, say_what_is_needed
    from edge.bench.load import Asked
    from edge.bench.measure import How, measure, open_subject, raise_what_failed, write
    from edge.bench.report import EXIT_CODES
    from edge.bench.report_table import print_report
    from edge.certificate import sign, to_json, told_target
    from edge.signing import box_key, default_key
    from edge.terminal import screen

    need("certify", PURPOSE, "cryptography")
    q = round(percentile / 100, 6)
    own = box_key(key or default_key(), say_on_stderr)
    plan = make_plan(**arrivals)
    asked = Asked((engine,) if engine else (), (device,) if device else (), (), (threads,) if threads else ())
    opened = open_subject(subject, asked, target_ms, say_on_stderr)
    check_targets(opened, plan)
    say_what_is_needed(runs, q, say_on_stderr)
    report = measure(subject, opened, How(images, runs, seconds, q=q, plan=plan), say_on_stderr)
    if report.interrupted:
        sys.exit(INTERRUPTED)  # half a measurement is not signed
    if not as_json:
        print_report(report, screen())
    raise_what_failed(report)
    certificate = sign(certificate_of(report, opened, images), own)
    write(out, to_json(certificate))
    if as_json:
        click.echo(to_json(certificate))
    else:
        for target in certificate.targets:
            click.echo(told_target(target))
        click.echo(f"{out}: signed, and its verdict is {certificate.answer}")
    sys.exit(EXIT_CODES[certificate.answer])


@click.command("check-certificate", cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--public-key", type=FILE, help="The .pub file of the box that is believed.  [default: this box's own]")
@click.option("--subject", type=PATHS, help="A bundle or a line's TOML file that it is to cover, as it lies there.")
@JSON
def check_certificate(file: Path, public_key: Path | None, subject: Path | None, as_json: bool) -> None:
    """Is this certificate genuine, of this box and its software, of these files, and a PASS?

    Each line of defence says in a sentence what it found. Exit code 1 where one of them fails.
    """
    from rich.table import Table
    from rich.text import Text

    from edge.bench.certify import subject_of
    from edge.certificate import examine, failed, read_certificate, this_host
    from edge.command import to_json
    from edge.signing import default_public, read_public
    from edge.terminal import screen

    need("certify", PURPOSE, "cryptography")
    certificate = read_certificate(file)
    path = public_key or default_public()
    trusted = read_public(path) if path else None
    rows = examine(certificate, trusted, this_host(), subject_of(subject) if subject else None)
    valid = not failed(rows)
    if as_json:
        click.echo(to_json({"valid": valid, "answer": certificate.answer, "defences": rows}))
    else:
        table = Table("defence", "", "found", box=None)
        for row in rows:
            told = Text("-") if row.holds is None else Text("ok", "green") if row.holds else Text("no", "bold red")
            table.add_row(row.line, told, Text(row.found))
        screen().print(table)
    if trusted is None:
        say_on_stderr("give --public-key: the .pub file of the box whose word you take")
    sys.exit(0 if valid else 1)
