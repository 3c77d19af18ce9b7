"""Putting files in place, and taking them away: all or nothing, and never over what somebody changed."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from edge.errors import DataError
from edge.install.plan import BANNER, CREDENTIALS, SECRET, Put

State = Literal[
    "written",
    "replaced",
    "same",
    "differs",
    "would write",
    "would replace",
    "deleted",
    "would delete",
    "kept",
    "not there",
]
DIFF_LINES = 8
FOLDER, SECRET_FOLDER = 0o755, 0o700


class Placed(msgspec.Struct, frozen=True):
    """What became of one file. found: why, or the first lines of the difference."""

    path: str
    state: State
    found: str = ""


def place(puts: Sequence[Put], root: Path, force: bool, dry_run: bool) -> list[Placed]:
    """Write what is not there yet; nothing at all where one file differs, unless forced. Raises DataError."""
    now = [_read(_at(root, put.path)) for put in puts]
    differs = [before is not None and before != put.data for put, before in zip(puts, now, strict=True)]
    may_write = not dry_run and (force or not any(differs))
    placed = []
    for put, before, other in zip(puts, now, differs, strict=True):
        path, told = _at(root, put.path), _difference(put, before) if before and other else ""
        state: State = "same"
        if before is None:
            state = "written" if may_write else "would write"
        elif other:
            state = ("replaced" if may_write else "would replace") if force else "differs"
        if state in ("written", "replaced"):
            _write(path, put)
        placed.append(Placed(str(path), state, told))
    return placed


def take_away(puts: Sequence[Put], root: Path, others: Sequence[str], force: bool, dry_run: bool) -> list[Placed]:
    """Delete what was put in place and nobody changed since. others: the box's other lines, which share some of it.

    Raises DataError.
    """
    placed = []
    for put in puts:
        path = _at(root, put.path)
        before = _read(path)
        state: State = "deleted" if not dry_run else "would delete"
        why = ""
        if before is None:
            state = "not there"
        elif put.fate == "stays":
            state, why = "kept", "yours: delete it by hand"
        elif put.fate == "goes last" and others:
            state, why = "kept", f"{', '.join(others)} needs it"
        elif before != put.data and not before.startswith(BANNER.encode()) and not force:
            state, why = "kept", "changed since it was put in place"
        if state == "deleted":
            _guarded(path, path.unlink)
            _delete_empty(path.parent)
        placed.append(Placed(str(path), state, why))
    return placed


def _at(root: Path, path: PurePosixPath) -> Path:
    return Path(os.path.normpath(root / path.relative_to("/")))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; look what is there") from error


def _write(path: Path, put: Put) -> None:
    """Whole or not at all."""

    def write() -> None:
        secret = CREDENTIALS in put.path.parents
        path.parent.mkdir(mode=SECRET_FOLDER if secret else FOLDER, parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET), "wb") as file:
            file.write(put.data)
            os.fchmod(file.fileno(), put.mode)
            os.fsync(file.fileno())
        partial.replace(path)

    _guarded(path, write)


def _delete_empty(folder: Path) -> None:
    """A unit's folder of drop-ins, where nobody put another one there."""
    if folder.suffix == ".d" and "@" in folder.name and not any(folder.iterdir()):
        _guarded(folder, folder.rmdir)


def _guarded(path: Path, change: Callable[[], object]) -> None:
    try:
        change()
    except OSError as error:
        raise DataError(f"cannot change {path}: {error.strerror}; run it as root, or give --root") from error


def _difference(put: Put, before: bytes) -> str:
    """A few lines, - as it is there, + as it would be; of no text and of no secret."""
    if put.mode == SECRET:
        return "another key"
    try:
        old, new = before.decode().splitlines(), put.data.decode().splitlines()
    except UnicodeDecodeError:
        return f"{len(before)} bytes there, {len(put.data)} here"
    changed = [line for line in difflib.unified_diff(old, new, lineterm="", n=0) if line[:2] not in ("--", "++", "@@")]
    more = f"\n({len(changed) - DIFF_LINES} lines more)" if len(changed) > DIFF_LINES else ""
    return "\n".join(changed[:DIFF_LINES]) + more
