"""One plan of a box's cores: which line has which, and whether the threads of all have room."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from edge.config import read_line
from edge.engines.processor import cpu_list
from edge.errors import ConfigError
from edge.install.plan import CONFIGS, CORES, UNITS, Ask

ALLOWED = re.compile(r"^AllowedCPUs=(.+)$", re.MULTILINE)
ONLINE = "sys/devices/system/cpu/online"


def cores_problems(ask: Ask, root: Path) -> Iterator[str]:
    """What is wrong with the cores that the line is to have, a sentence each."""
    if ask.cores is None:
        return
    own, there = cpu_list(ask.cores), _online(root)
    if not own:
        yield f"--cores {ask.cores}: write a list like 0-1 or 0,2"
    elif there and not set(own) <= set(there):
        yield f"--cores {ask.cores}: the box has {(root / ONLINE).read_text().strip()}"
    elif len(own) < ask.line.config.threads:
        threads = ask.line.config.threads
        yield f"{ask.line.path}: threads = {threads} on --cores {ask.cores}: they would wait for one another"


def crowded(ask: Ask, root: Path, others: Iterable[str]) -> list[str]:
    """The other lines that this one takes turns with, where there is no core for each thread, or where one of them is
    awake; a sentence, or none."""
    mine = set(cpu_list(ask.cores)) if ask.cores else set(_online(root))
    rivals, threads, cores, awake = list[str](), ask.line.config.threads, set(mine), ask.line.config.awake
    for name in others:
        theirs = _cores_of(name, root)
        with suppress(ConfigError):  # a file with a mistake is a line that does not start
            config = read_line(root / CONFIGS.relative_to("/") / f"{name}.toml").config
            if mine & theirs:
                rivals, threads, cores = [*rivals, name], threads + config.threads, cores | theirs
                awake = awake or config.awake
    if not rivals or not (awake or threads > len(cores)):
        return []
    between = f"{', '.join(rivals)} and {ask.name} want {threads} threads of {len(cores)} cores"
    between += ", and one that is awake wants all of its own" if awake else ""
    return [f"{between}: they take turns, evenly; --cores gives a line its own"]


def _cores_of(name: str, root: Path) -> set[int]:
    """All, for a line that has none of its own."""
    drop_in = root / UNITS.relative_to("/") / f"edge@{name}.service.d" / CORES
    with suppress(OSError):
        if match := ALLOWED.search(drop_in.read_text()):
            return set(cpu_list(match[1]))
    return set(_online(root))


def _online(root: Path) -> list[int]:
    """Empty where the root is an image's, which has none."""
    with suppress(OSError):
        return cpu_list((root / ONLINE).read_text().strip())
    return []
