"""The journal from outside: is it written, has it room, and what was the last verdict?"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from edge.config import JournalConfig, Line
from edge.doctor.diagnosis import Diagnosis, unknown
from edge.errors import JournalError
from edge.journal.entries import JournalState, read_entry
from edge.journal.reader import read_records
from edge.journal.segments import segments
from edge.records import Verdict

MEGABYTE = 1 << 20


def state(heard: JournalState) -> Diagnosis:
    """As the daemon says it, once a second."""
    if not heard.writing:
        ago = max(0.0, time.time() - heard.since_ns / 1e9)
        found = f'cannot be written for {ago:.0f} s: {heard.why}; full = "{heard.full}"'
        return Diagnosis("journal", "problem", found, "make room, or mend the disk: it goes on by itself")
    if heard.lost:
        found = f"{heard.lost} verdicts of it are lost for good"
        return Diagnosis("journal", "warning", found, "the disk failed or was full for long; edge journal verify")
    return Diagnosis("journal", "ok", f"{heard.durable - heard.began} verdicts since the start, all on the disk")


def room(line: Line, config: JournalConfig) -> Diagnosis:
    """The quotas of segments and pictures against the disk's free space."""
    folder = line.path.parent / config.folder
    try:
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        free = shutil.disk_usage(folder).free
    except OSError:
        return unknown("journal disk", str(folder))
    quota = (config.quota_mb + config.pictures_mb) * MEGABYTE
    found = f"{folder}: {used / MEGABYTE:.0f} of {quota / MEGABYTE:.0f} MB used, {free / MEGABYTE:.0f} MB free"
    if free < 2 * config.segment_mb * MEGABYTE:
        return Diagnosis("journal disk", "problem", found, "make room: soon it cannot be written")
    if used + free < quota:
        return Diagnosis("journal disk", "warning", found, "the disk is full before the quotas are: lower quota_mb")
    return Diagnosis("journal disk", "ok", found)


def last_verdict(folder: Path) -> Verdict | None:
    """The youngest that is on the disk; None where there is none. Raises JournalError where it cannot be read."""
    for segment in reversed(segments(folder)):
        last = None
        for record in read_records(folder, segment.first):
            last = record if record.topic.startswith(b"verdict/") else last
        if last is not None:
            entry = read_entry(last)
            return entry if isinstance(entry, Verdict) else None
    return None


def read_last(line: Line, config: JournalConfig, rows: list[Diagnosis]) -> Verdict | None:
    """As `last_verdict`; where it cannot be read, a row more."""
    try:
        return last_verdict(line.path.parent / config.folder)
    except JournalError as error:
        rows.append(Diagnosis("journal files", "warning", str(error), "run it as the service's user"))
        return None
