"""A folder of allowed public keys: one file NAME.pub for each peer, and deleting it shuts the peer out."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge.bus.keys import PUBLIC_ENDS, read_public
from edge.errors import DataError
from edge.ownership import strangers

OUT_OF_MEANS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
State = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """names: each peer's by its public key in Z85. passed_over: files that let nobody in, and why in a sentence.

    state: of the folder when it was read; the same state, the same keys.
    """

    names: dict[str, str] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()
    state: State | None = None


def read_allowed(folder: Path, before: Allowed | None = None) -> Allowed:
    """What lies in the folder now, or `before` where nothing has changed since.

    A folder that is gone lets nobody in. Raises OSError where the box is in trouble and nothing is to be concluded.
    """
    found = _stats(folder)
    if found is None:
        return Allowed()
    state = tuple((n, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for n, s in found.items())
    if before is not None and before.state == state:
        return before
    names, passed_over = dict[str, str](), list[str]()
    for name, stat in found.items():
        if who := strangers(stat):
            passed_over.append(f"{folder / name} {who}, and lets nobody in; chown root and chmod go-w")
            continue
        try:
            names[read_public(folder / name).decode()] = name.removesuffix(PUBLIC_ENDS)
        except DataError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in OUT_OF_MEANS:
                raise error.__cause__ from None
            passed_over.append(str(error))
    return Allowed(names, tuple(passed_over), state)


def _stats(folder: Path) -> dict[str, os.stat_result] | None:
    """By name, in its order; None where there is no such folder. A file that vanishes meanwhile is none."""
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == PUBLIC_ENDS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = {}
    for name in names:
        with suppress(FileNotFoundError):
            found[name] = (folder / name).stat()
    return found
