"""A line with keys: the daemon's, and those of its peers, as `edge keys` makes and allows them."""

from __future__ import annotations

from pathlib import Path

from edge.bus.curve import CurveClient, client_keys
from edge.bus.key_ring import Role, allow, revoke
from edge.bus.keys import make_pair
from edge.config import read_line
from tests.lines import DARK, write_line

SECURITY = '[security]\nkey = "daemon.key"\n'


def secure_line(folder: Path, bundles: Path | str, *tables: str) -> Path:
    """line.toml with a [security] table and the daemon's key; nobody is let in yet."""
    make_pair("daemon", folder)
    folder.chmod(0o755)
    return write_line(folder, bundles, SECURITY, *(tables or [DARK]))


def peer(config: Path, name: str, *roles: Role) -> CurveClient:
    """A peer's keys, made where there are none yet, and let in."""
    folder = config.parent / "peers"
    if not (folder / f"{name}.key").exists():
        make_pair(name, folder)
    for role in roles:
        allow(read_line(config), folder / f"{name}.pub", role)
    keys = client_keys(folder / f"{name}.key", config.with_name("daemon.pub"))
    assert keys is not None
    return keys


def shut_out(config: Path, name: str) -> None:
    revoke(read_line(config), name)
