"""Processes beside each other that never run together: each has the machine for a slice while the others stand still.

A box's pace drifts within a second or two, by more than what is looked for; so long pairs, one after the other, say
little, and slices shorter than the drift say much.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge.errors import EngineError

ROOT = Path(__file__).resolve().parent.parent
SLICE_S = 0.25


@dataclass(frozen=True)
class Command:
    """given: what it reads on its standard input. name: what an error calls it."""

    name: str
    arguments: list[str]
    given: str = ""


@dataclass
class Running:
    name: str
    process: subprocess.Popen[str]
    out: IO[str]
    err: IO[str]


def in_turns(commands: Sequence[Command], limit_s: float, slice_s: float = SLICE_S) -> list[str]:
    """What each printed. Raises EngineError with what one said last, or where one is not done within the limit."""
    running: list[Running] = []
    ends = time.monotonic() + limit_s
    try:
        running += (started(command) for command in commands)
        while left := [one for one in running if one.process.poll() is None]:
            if time.monotonic() > ends:
                raise EngineError(f"{left[0].name} gave no answer within {limit_s:g} s")
            if any(one.process.returncode for one in running):
                break
            for one in left:
                turn(one.process, slice_s)
        for one in running:
            check(one)
        return [said(one.out) for one in running]
    finally:
        for one in running:
            one.process.kill()  # also one that stands still
        for one in running:
            one.process.wait()
            one.out.close()
            one.err.close()


def started(command: Command) -> Running:
    """Standing still until its turn."""
    around = os.environ | {"PYTHONPATH": str(ROOT)}
    out, err, given = (tempfile.TemporaryFile("w+") for _ in range(3))  # noqa: SIM115  # they live as long as it does
    with given:
        given.write(command.given)
        given.seek(0)
        process = subprocess.Popen(command.arguments, stdin=given, stdout=out, stderr=err, text=True, env=around)
    process.send_signal(signal.SIGSTOP)
    return Running(command.name, process, out, err)


def turn(process: subprocess.Popen[str], slice_s: float) -> None:
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(slice_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGSTOP)


def check(one: Running) -> None:
    if one.process.returncode:
        last = (said(one.err).strip() or said(one.out).strip()).splitlines()[-1:]
        raise EngineError(f"{one.name} ended with {one.process.returncode}: {' '.join(last)}")


def said(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
