"""The commands `edge keys` and `edge sign`: who may speak to a line, and who answers for its bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.command import HELP, JSON, LINE, PATHS, Command, Group, need, say_on_stderr, to_json

if TYPE_CHECKING:
    from edge.bus.key_ring import Role

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
ROLES = click.Choice(["camera", "subscriber", "control"])


@click.group("keys", cls=Group, context_settings=HELP)
def keys() -> None:
    """Make CURVE keys, and say which of them a line lets in.

    Begin with `edge keys new line1 -o /etc/edge` for the daemon, whose line.toml then says [security] key =
    "line1.key"; `edge keys new cam0` for a camera, `edge keys allow cam0.pub --config line.toml --as camera`. The .key
    file stays where it was made, the .pub file travels.
    """


@keys.command(cls=Command)
@click.argument("name")
@click.option("-o", "--out", type=FOLDER, default=".", help="The folder that both files go into.  [default: this one]")
def new(name: str, out: Path) -> None:
    """Make NAME.key, which only its owner may read, and NAME.pub. Nothing is ever overwritten."""
    from edge.bus.key_ring import check_name
    from edge.bus.keys import make_pair

    check_name(name)
    secret, public = make_pair(name, out)
    click.echo(f"{secret}: keep it secret\n{public}: give it to whom {name} talks with")


@keys.command(cls=Command)
@click.argument("public", type=FILE, metavar="NAME.pub")
@LINE
@click.option("--as", "role", type=ROLES, required=True, help="What it may do: send frames, read verdicts, or control.")
def allow(public: Path, config: Path, role: Role) -> None:
    """Let a peer in, at once; the daemon needs no restart."""
    from edge.bus.key_ring import allow
    from edge.config import read_line

    click.echo(f"{allow(read_line(config), public, role)}: let in as {role}")


@keys.command(cls=Command)
@click.argument("name")
@LINE
def revoke(name: str, config: Path) -> None:
    """Shut a peer out within a second, whatever it was let in as; the daemon needs no restart."""
    from edge.bus.key_ring import revoke
    from edge.config import read_line

    for path in revoke(read_line(config), name):
        click.echo(f"{path}: deleted")


@keys.command("list", cls=Command)
@LINE
@JSON
def list_(config: Path, as_json: bool) -> None:
    """Who is let in, as what, with which key; and the files that let nobody in, with the reason."""
    from edge.bus.key_ring import peers
    from edge.config import read_line

    found, passed_over = peers(read_line(config))
    for peer in found:
        click.echo(to_json(peer) if as_json else f"{peer.role:<10}  {peer.key}  {peer.name}")
    for sentence in passed_over:
        say_on_stderr(sentence)


@click.command(cls=Command)
@click.argument("bundles", nargs=-1, required=True, type=PATHS, metavar="BUNDLE...")
@click.option("--key", type=FILE, required=True, help="The private Ed25519 key (PEM), made where there is none.")
def sign(bundles: tuple[Path, ...], key: Path) -> None:
    """Answer for bundles: every file is compared with the manifest, then the manifest is signed.

    A line whose [security] names the public key in bundle_keys opens none but these. Sign again after `edge teach`,
    `edge quantize` or `edge parity`, which change the manifest.
    """
    from edge.bundle import sign_bundle
    from edge.signing import box_key, public_path

    need("certify", "signing a bundle", "cryptography")
    private = box_key(key, say_on_stderr)
    for folder in bundles:
        who = sign_bundle(folder, private)
        click.echo(f"{folder}: signed by the key {who[:16]}, {public_path(key)}")
