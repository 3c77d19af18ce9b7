"""Who may change what the daemon trusts: the line's file, its folder, keys, and the folders of allowed keys."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from edge.errors import ConfigError

GROUP_OR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def strangers(found: os.stat_result) -> str:
    """Who besides root and the user that runs this may change it, in a few words; nothing where nobody may.

    Whoever owns edge's own code is trusted as it is. A sticky folder such as /tmp keeps its files to their owners.
    """
    if found.st_uid not in _trusted():
        return f"belongs to user {found.st_uid}"
    if found.st_mode & stat.S_ISVTX and stat.S_ISDIR(found.st_mode):
        return ""
    if found.st_mode & stat.S_IWOTH:
        return "may be changed by everyone"
    if found.st_mode & stat.S_IWGRP and not _private(found.st_gid, found.st_uid):
        return f"may be changed by group {found.st_gid}"
    return ""


def _trusted() -> set[int]:
    return {0, os.geteuid(), Path(__file__).stat().st_uid}


def _private(group: int, user: int) -> bool:
    """Whether the group is the user's own, as a umask of 002 takes for granted: it has its name and no other member."""
    try:
        known, name = grp.getgrgid(group), pwd.getpwuid(user).pw_name
    except KeyError:
        return False
    return known.gr_name == name and not set(known.gr_mem) - {name}


def check_unchanged_by_others(path: Path) -> None:
    """The file or folder, and the folder that it lies in. Raises ConfigError naming the one that others may change."""
    resolved = path.resolve()
    for place in (resolved, resolved.parent):
        if who := strangers(_stat(place)):
            raise ConfigError(f"{place} {who}, and the daemon trusts it: chown root {place} && chmod go-w {place}")


def check_secret(path: Path) -> None:
    """A secret key's file, which nobody else may even read. Raises ConfigError."""
    check_unchanged_by_others(path)
    if _stat(path).st_mode & GROUP_OR_OTHERS:
        raise ConfigError(f"others may read the secret key {path}: chmod 600 {path}, or make a new one: edge keys new")


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
