"""Reading /proc and /sys under a root folder, `/` on a real box."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """A small file's text without its last line break; None where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def table(path: Path) -> dict[str, str]:
    """The first `name: value` of each name; empty where the file cannot be read."""
    pairs: dict[str, str] = {}
    for line in (text(path) or "").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            pairs.setdefault(name.strip(), value.strip())
    return pairs


def number(words: str | None) -> int | None:
    """A whole number, or None for whatever else the kernel wrote."""
    try:
        return int(words or "")
    except ValueError:
        return None


def group_folders(root: Path, controller: str) -> list[Path]:
    """The control groups that this process is in and that may limit it, innermost first; of version 1, 2 or both."""
    mount = root / "sys/fs/cgroup"
    folders: list[Path] = []
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        for top in (mount / controllers, mount / controller) if controllers else (mount, mount / "unified"):
            inner = top / path.strip("/")
            folders += [folder for folder in (inner, *inner.parents) if folder.is_relative_to(top)]
    return list(dict.fromkeys(folders))
