"""Journals of small verdicts, and disks that fail when they are told to."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from edge.bus.verdicts import verdict_topic
from edge.config import JournalConfig
from edge.journal.disk import Disk
from edge.journal.reader import read_records
from edge.journal.writer import Journal
from edge.records import Defect, Evaluation, Verdict

LINE = "l1"


def config(**keys: Any) -> JournalConfig:
    return JournalConfig("journal", **keys)


def open_journal(folder: Path, disk: Disk | None = None, **keys: Any) -> Journal:
    return Journal(folder, LINE, config(**keys), disk)


def verdict(position: int, session: str = "s0", **keys: Any) -> Verdict:
    """Rejected, every third of them; three frames a part."""
    bad = position % 3 == 0
    fields: dict[str, Any] = {
        "verdict_id": f"{session}-{position}",
        "seq": position,
        "session": session,
        "line": LINE,
        "camera": "c0",
        "trigger_id": f"t{position}",
        "part_id": f"p{position // 3}",
        "evaluation": int(Evaluation.NOT_OK if bad else Evaluation.OK),
        "reason": "defect" if bad else "ok",
        "fail_safe": False,
        "surface": "pill",
        "score": 0.75 if bad else 0.25,
        "thresholds": {"score": 0.5},
        "defects": (Defect("crack", 0.75, (2, 3, 8, 8), 64.0),) if bad else (),
        "t_verdict_ns": 1_700_000_000_000_000_000 + position,
        "times_ns": {"total": 5_000_000},
        "journal": position,
        "durable": True,
    }
    return Verdict(**(fields | keys))


def message(made: Verdict) -> tuple[bytes, bytes]:
    return verdict_topic(made), msgspec.msgpack.encode(made)


def fill(journal: Journal, count: int, at_once: int = 1, session: str = "s0") -> list[tuple[bytes, bytes]]:
    """Append and commit verdicts; returns their messages."""
    sent = []
    for number in range(count):
        sent.append(message(verdict(journal.next_position, session)))
        journal.append(*sent[-1])
        if (number + 1) % at_once == 0:
            journal.commit()
    journal.commit()
    return sent


def messages(folder: Path) -> list[tuple[bytes, bytes]]:
    return [(record.topic, record.body) for record in read_records(folder)]


class FailingDisk(Disk):
    """Fails the calls that `fails` names, counted from 0 over all kinds; a write that fails leaves half of itself."""

    def __init__(self, fails: range | set[int], number: int = errno.ENOSPC) -> None:
        self.fails = fails
        self.number = number
        self.calls = 0

    def _fail(self) -> bool:
        self.calls += 1
        return self.calls - 1 in self.fails

    def _check(self) -> None:
        if self._fail():
            raise OSError(self.number, os.strerror(self.number))

    def create(self, path: Path) -> int:
        self._check()
        return super().create(path)

    def write(self, file: int, data: bytes) -> int:
        if self._fail():
            super().write(file, data[: len(data) // 2])
            raise OSError(self.number, os.strerror(self.number))
        return super().write(file, data)

    def sync(self, file: int) -> None:
        self._check()
        super().sync(file)

    def truncate(self, file: int, size: int) -> None:
        self._check()
        super().truncate(file, size)

    def rename(self, old: Path, new: Path) -> None:
        self._check()
        super().rename(old, new)

    def delete(self, path: Path) -> None:
        self._check()
        super().delete(path)

    def sync_folder(self, folder: Path) -> None:
        self._check()
        super().sync_folder(folder)


class SlowDisk(FailingDisk):
    """A sync takes so long, and fails where `fails` has it."""

    def __init__(self, slow_s: float = 0.0, fails: range | set[int] = range(0), number: int = errno.ENOSPC) -> None:
        super().__init__(fails, number)
        self.slow_s = slow_s

    def sync(self, file: int) -> None:
        time.sleep(self.slow_s)
        super().sync(file)
