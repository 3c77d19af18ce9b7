"""Is a journal whole? Every damage by segment, record and byte."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.errors import JournalError
from edge.journal.format import HEADER_BYTES, Damage, Record, read_header, scan
from edge.journal.reader import END
from edge.journal.segments import TORN, Segment, segments

PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """segment: the file's name. record: its number, None where that is not known. offset: in the file, in bytes."""

    segment: str
    record: int | None
    offset: int
    what: str


@dataclass
class Checked:
    """first, next: the numbers from and to before which records were looked for. lost: positions that the daemon itself
    says were never written. torn: tails that were cut off after a crash. from_ns, to_ns: times of the verdicts."""

    segments: int = 0
    records: int = 0
    lost: int = 0
    first: int = 0
    next: int = 0
    from_ns: int = 0
    to_ns: int = 0
    torn: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class Stamp(msgspec.Struct, frozen=True):
    t_verdict_ns: int = 0


def verify_journal(folder: Path) -> Checked:
    """Every byte is read. A torn tail is no fault while a daemon writes and it is gone within a second.

    Raises JournalError where the folder cannot be read or holds no journal.
    """
    checked = check(folder)
    give_up = time.monotonic() + PATIENCE_S
    while checked.faults and time.monotonic() < give_up and is_written(folder):
        time.sleep(0.05)
        checked = check(folder)
    return checked


def check(folder: Path) -> Checked:
    kept = segments(folder)
    if not kept:
        raise JournalError(f"{folder} holds no journal; give the folder that the line's [journal] names")
    checked = Checked(first=kept[0].first, next=kept[0].first)
    checked.torn = sorted(path.name for path in folder.glob(f"*{TORN}"))
    line, chain = None, None
    ends = [segment.first for segment in kept[1:]] + [END]
    for segment, end in zip(kept, ends, strict=True):
        line, chain = _check_segment(checked, segment, end, line, chain)
    return checked


def is_written(folder: Path) -> bool:
    """Does a daemon have the journal open?"""
    try:
        file = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _check_segment(
    checked: Checked, segment: Segment, end: int, line: str | None, chain: bytes | None
) -> tuple[str | None, bytes | None]:
    """end: the number that the next segment begins with. line, chain: of the segment before. Returns this one's."""
    try:
        data = segment.path.read_bytes()
    except FileNotFoundError:  # by the quota, just now
        checked.first = checked.next = end if end != END else checked.next
        return line, None
    except OSError as error:
        raise JournalError(f"cannot read {segment.path}: {error.strerror}") from error
    checked.segments += 1
    name, header = segment.path.name, read_header(data)

    def fault(record: int | None, offset: int, what: str) -> None:
        checked.faults.append(Fault(name, record, offset, what))

    if header is None:
        fault(None, 0, f"the first {HEADER_BYTES} bytes are no header of a segment of this edge")
    else:
        if header.first != segment.first:
            fault(header.first, 0, f"the file's name says record {segment.first}, its header {header.first}")
        if line is not None and header.line != line:
            fault(header.first, 0, f"it is of line {header.line}, the segment before it of {line}")
        if checked.next != header.first:
            fault(checked.next, 0, f"the segment begins with record {header.first}, {checked.next} should follow")
        elif chain is not None and header.chain != chain:
            fault(header.first, 0, "its chain does not follow from the segment before it")
        line, chain = header.line, header.chain
    number = header.first if header else None
    tail: Damage | None = None
    for item in scan(data, number, chain):
        if isinstance(item, Record):
            if item.number >= end:
                break
            _count(checked, item)
            chain = item.chain
        elif item.tail:
            tail = item
        elif item.number is None or item.number < end:
            fault(item.number, item.offset, item.what)
    if tail and (end == END or checked.next != end):
        fault(tail.number, tail.offset, tail.what)
    return line, chain


def _count(checked: Checked, record: Record) -> None:
    checked.next = record.next
    if record.topic.startswith(b"lost/"):
        checked.lost += record.spans
        return
    checked.records += 1
    try:
        at = msgspec.msgpack.decode(record.body, type=Stamp).t_verdict_ns
    except (msgspec.DecodeError, RecursionError):
        return
    checked.from_ns = min(checked.from_ns or at, at)
    checked.to_ns = max(checked.to_ns, at)
