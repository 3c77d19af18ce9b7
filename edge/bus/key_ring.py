"""The keys that a line lets in, as files in its folders of allowed keys: put there, deleted, listed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from edge.bus.allowed import read_allowed
from edge.bus.curve import Domain
from edge.bus.guard import allowed_folders
from edge.bus.keys import PUBLIC_ENDS, read_public
from edge.config import Line
from edge.errors import ConfigError, DataError
from edge.signing import PUBLIC, write_new

Role = Literal["camera", "subscriber", "control"]
DOMAINS: dict[Role, Domain] = {"camera": "frames", "subscriber": "verdicts", "control": "control"}
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class Peer(msgspec.Struct, frozen=True):
    """key: the public one, in Z85."""

    name: str
    role: Role
    key: str


def check_name(name: str) -> None:
    """Raises DataError where it would be no file's name."""
    if NAME.fullmatch(name) is None:
        raise DataError(f"{name!r} is no name for a key: up to 64 of A-Z a-z 0-9 _ . - and no dot or dash first")


def allow(line: Line, public: Path, role: Role) -> Path:
    """Copy NAME.pub to where the daemon looks. Raises ConfigError, DataError naming the file."""
    name = public.name.removesuffix(PUBLIC_ENDS)
    check_name(name)
    key = read_public(public)
    folder = _folders(line)[role]
    path = folder / f"{name}{PUBLIC_ENDS}"
    if not write_new(path, public.read_bytes(), PUBLIC) and read_public(path) != key:
        raise DataError(f"{path} holds another key of that name; edge keys revoke {name} first")
    return path


def revoke(line: Line, name: str) -> list[Path]:
    """Delete a peer's keys in every role. Raises ConfigError, DataError where it has none."""
    check_name(name)
    paths = [folder / f"{name}{PUBLIC_ENDS}" for folder in _folders(line).values()]
    found = [path for path in paths if path.exists() or path.is_symlink()]
    if not found:
        raise DataError(f"no key of {name} is let in by {line.path}; edge keys list shows those that are")
    for path in found:
        try:
            path.unlink()
        except OSError as error:
            raise DataError(f"cannot delete {path}: {error.strerror}; {name} is still let in") from error
    return found


def peers(line: Line) -> tuple[list[Peer], list[str]]:
    """Those that are let in, and the files that let nobody in, each in a sentence. Raises ConfigError."""
    found, passed_over = list[Peer](), list[str]()
    for role, folder in _folders(line).items():
        allowed = read_allowed(folder)
        found += [Peer(name, role, key) for key, name in allowed.names.items()]
        passed_over += allowed.passed_over
    return found, passed_over


def _folders(line: Line) -> dict[Role, Path]:
    if line.config.security is None:
        raise ConfigError(f'{line.path} lets everyone in; give it a table: [security] key = "NAME.key"')
    folders = allowed_folders(line, line.config.security)
    return {role: folders[domain] for role, domain in DOMAINS.items()}
