"""The unit files that edge brings along: in the wheel inside the package, in a checkout beside it."""

from __future__ import annotations

from pathlib import Path

import edge
from edge.errors import DataError

PACKAGE = Path(edge.__file__).parent


def shipped(name: str) -> bytes:
    """Raises DataError where this edge came without it."""
    for folder in (PACKAGE / "systemd", PACKAGE.parent / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_bytes()
    raise DataError(f"this edge came without systemd/{name}; install the wheel, or the whole checkout")
