"""Who may read and write what: sockets' folders, cache, bundles, the line's file; limits of the process."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from edge.bundle import MANIFEST, Bundle
from edge.config import LineConfig
from edge.doctor.diagnosis import Diagnosis, unknown
from edge.errors import ConfigError
from edge.ownership import check_unchanged_by_others

IPC = "ipc://"
LEAST_FREE = 512 * 1024 * 1024
LEAST_FILES = 1024
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def nearest(path: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))


def may_write(folder: Path) -> bool:
    """Whether files can be put there, the folder itself being made first where it is missing."""
    place = nearest(folder)
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def user() -> Diagnosis:
    """Whose permissions the other rows tell of."""
    if os.geteuid():
        return Diagnosis("user", "ok", f"checked as user {os.geteuid()}")
    advice = "root may do anything: run it as the service's user, sudo -u edge edge doctor"
    return Diagnosis("user", "note", "checked as root", advice)


def sockets(config: LineConfig) -> list[Diagnosis]:
    rows = []
    for name, address in (("frames", config.frames), ("verdicts", config.verdicts)):
        if not address.startswith(IPC):
            continue
        folder = Path(address.removeprefix(IPC)).parent
        if may_write(folder):
            rows.append(Diagnosis(f"socket {name}", "ok", f"{folder} is writable"))
        else:
            advice = "give its folder to the service's user; systemd makes /run/edge/NAME for edge@NAME"
            rows.append(Diagnosis(f"socket {name}", "problem", f"{folder} is not writable, or cannot be made", advice))
    return rows


def cache(folder: Path) -> list[Diagnosis]:
    """The folder of measured choices and built kernels, and the space left for it."""
    if not may_write(folder):
        advice = "make it writable, or name another in $CACHE_DIRECTORY: until then each start measures and builds anew"
        return [Diagnosis("cache", "warning", f"{folder} is not writable", advice)]
    rows = [Diagnosis("cache", "ok", f"{folder} is writable")]
    place = nearest(folder)
    if others := writable_by_others([place]):
        advice = "engines load what lies there: chmod go-w"
        rows = (
            [Diagnosis("cache", "warning", f"others may write into {others[0]}", advice)] if place == folder else rows
        )
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return [*rows, unknown("disk", str(place))]
    found = f"{free / 1024**3:.1f} GiB free for {folder}"
    if free >= LEAST_FREE:
        return [*rows, Diagnosis("disk", "ok", found)]
    return [*rows, Diagnosis("disk", "warning", found, "kernels and measurements may not be kept: make room")]


def writable_by_others(paths: Iterable[Path]) -> list[Path]:
    """Those that their group or anyone may write; a sticky folder such as /tmp keeps its files to their owners."""
    modes = ((path, path.stat().st_mode) for path in paths)
    return [path for path, mode in modes if mode & OTHERS_WRITE and not mode & stat.S_ISVTX]


def bundle_files(bundles: Iterable[Bundle]) -> Diagnosis:
    """Every file that a manifest names: there, readable, and changed by its owner alone."""
    paths: dict[Path, None] = {}
    for bundle in bundles:
        paths |= dict.fromkeys([bundle.path, bundle.path / MANIFEST, *map(bundle.where, bundle.files)])
    missing = [path for path in paths if not os.access(path, os.R_OK)]
    if missing:
        found = f"missing or not readable: {_some(missing)}"
        return Diagnosis("bundle files", "problem", found, "bring the bundle anew, or chmod a+r")
    if open_to_others := writable_by_others(paths):
        found = f"others may write {_some(open_to_others)}"
        return Diagnosis("bundle files", "warning", found, "chmod -R go-w on the bundles' folder")
    return Diagnosis("bundle files", "ok", f"{len(paths)} files and folders, changed by their owner alone")


def line_file(path: Path) -> Diagnosis:
    try:
        check_unchanged_by_others(path)
    except ConfigError as error:
        return Diagnosis("line file", "problem", str(error), "edge run refuses it")
    return Diagnosis("line file", "ok", f"{path}, mode {path.stat().st_mode & 0o777:o}")


def _some(paths: list[Path], most: int = 3) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(map(str, paths[:most])) + more


def limits(files: int | None = None, locked: int | None = None) -> Diagnosis:
    """files, locked: RLIMIT_NOFILE and RLIMIT_MEMLOCK as the kernel gives them, this process's own where None."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if files is None else files
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] if locked is None else locked
    memory = "any memory" if locked == resource.RLIM_INFINITY else f"{locked / 1024**2:g} MiB of memory"
    endless = files == resource.RLIM_INFINITY
    found = f"{'any number of' if endless else files} open files; may lock {memory} (edge locks none)"
    if endless or files >= LEAST_FILES:
        return Diagnosis("limits", "ok", found)
    advice = f"cameras and subscribers take a file each: LimitNOFILE={LEAST_FILES} in the unit, ulimit -n in a shell"
    return Diagnosis("limits", "warning", found, advice)
