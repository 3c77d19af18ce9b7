"""What a record holds, typed: a frame's verdict, a part's, or which records were lost."""

from __future__ import annotations

from typing import Any

import msgspec

from edge.errors import JournalError
from edge.journal.format import Record
from edge.records import MESSAGE_VERSION, PartVerdict, Verdict


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """In place of the verdicts at the positions `first` to `last`, which nobody can read any more."""

    v: int = MESSAGE_VERSION
    line: str
    first: int
    last: int
    why: str


Entry = Verdict | PartVerdict | Lost
KINDS: dict[bytes, Any] = {b"verdict": Verdict, b"part": PartVerdict, b"lost": Lost}


class JournalState(msgspec.Struct, frozen=True, kw_only=True):
    """How the journal is. writing: the last attempt succeeded, and none has waited for the disk for a second; why: what
    failed, since when on the realtime clock.

    began: the position that this session's first verdict has. next: of the next one; durable: the first one that is
    not on the disk as it was told. lost: verdicts that will never be there. full: the line's policy while it cannot
    write.
    """

    v: int = MESSAGE_VERSION
    line: str
    full: str
    writing: bool
    why: str = ""
    since_ns: int = 0
    began: int
    next: int
    durable: int
    lost: int = 0


def lost_topic(line: str) -> bytes:
    return f"lost/{line}".encode()


def state_topic(state: JournalState) -> bytes:
    return f"journal/{state.line}/{'writing' if state.writing else 'failing'}".encode()


def read_entry(record: Record) -> Entry:
    """Raises JournalError where the record holds none of these."""
    kind = KINDS.get(record.topic.split(b"/", 1)[0])
    try:
        if kind is not None:
            return msgspec.msgpack.decode(record.body, type=kind)  # type: ignore[no-any-return]  # one of KINDS
    except (msgspec.DecodeError, RecursionError) as error:
        raise JournalError(f"record {record.number} is no verdict that this edge reads: {error}") from error
    raise JournalError(f"record {record.number} has the topic {record.topic[:64]!r}, which this edge does not read")
