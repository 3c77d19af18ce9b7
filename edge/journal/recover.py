"""Where a journal ends, after whatever ended the last writer."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from edge.errors import JournalError
from edge.journal.format import START, Damage, Record, read_header, scan
from edge.journal.segments import NEW, TORN, Segment, segments

log = logging.getLogger("edge")


@dataclass(frozen=True, slots=True)
class End:
    """next: the number of the record to come. chain: before it."""

    next: int
    chain: bytes


def recover(folder: Path, line: str) -> End:
    """Find the last whole record; a torn tail after it is cut off and kept beside the segment as `.torn`.

    Damage with whole records after it is left for `edge journal verify` to name. Raises JournalError where a segment
    is another line's or cannot be read.
    """
    for leftover in folder.glob(f"*{NEW}"):
        leftover.unlink(missing_ok=True)
    kept = segments(folder)
    for segment in reversed(kept):
        data = _read(segment)
        header = read_header(data)
        if header and header.line != line:
            raise JournalError(f"{folder} is the journal of line {header.line}; give line {line} a folder of its own")
        found = list(scan(data, header.first if header else None, header.chain if header else None))
        if segment is kept[-1]:
            _cut(segment, data, found)
            _sync(segment)
        records = [item for item in found if isinstance(item, Record)]
        if records:
            return End(max(records[-1].next, kept[-1].first), records[-1].chain)
        if header:
            return End(header.first, header.chain)
    return End(kept[-1].first if kept else 0, START)


def _read(segment: Segment) -> bytes:
    try:
        return segment.path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read {segment.path}: {error.strerror}") from error


def _sync(segment: Segment) -> None:
    """What a killed writer wrote and did not sync is only as good as on the disk from here on."""
    try:
        file = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise JournalError(f"cannot sync {segment.path}: {error.strerror}; see to the disk") from error


def _cut(segment: Segment, data: bytes, found: list[Record | Damage]) -> None:
    """Where there is no room for the copy the tail stays: the next segment says where this one ends."""
    tail = found[-1] if found else None
    if not isinstance(tail, Damage) or not tail.tail:
        return
    torn = segment.path.with_suffix(TORN)
    size = tail.end - tail.offset
    try:
        if not torn.exists():
            torn.write_bytes(data[tail.offset :])
        os.truncate(segment.path, tail.offset)
    except OSError as error:
        log.warning("%s: %d torn bytes after record %s stay: %s", segment.path, size, tail.number, error.strerror)
        return
    log.warning(
        "%s: cut off %d torn bytes, in which record %s began; kept as %s", segment.path, size, tail.number, torn
    )
