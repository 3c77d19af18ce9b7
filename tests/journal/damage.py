"""A journal of two small segments, cut at each byte of its last one, and each of its bytes flipped."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.journal.format import Record, read_header, scan
from edge.journal.segments import segments
from edge.journal.verify import check
from edge.journal.writer import Journal
from tests.journal.journals import LINE, messages, open_journal

COUNT = 6


def fill(journal: Journal, count: int) -> list[tuple[bytes, bytes]]:
    """As small as a record can be and still tell its time, so that each of its bytes can be tried."""
    sent = []
    for _ in range(count):
        body = msgspec.msgpack.encode({"t_verdict_ns": 10**18 + journal.next_position})
        sent.append((b"verdict/l1/-/1", body))
        journal.append(*sent[-1])
        journal.commit()
    return sent


def fill_two_segments(folder: Path) -> None:
    """Each of `COUNT` verdicts, by two daemons one after the other."""
    for _ in range(2):
        journal = open_journal(folder)
        fill(journal, COUNT)
        journal.close()


def records_of(path: Path) -> list[Record]:
    data = path.read_bytes()
    header = read_header(data)
    assert header is not None and header.line == LINE
    found = [item for item in scan(data, header.first, header.chain) if isinstance(item, Record)]
    assert len(found) == COUNT
    return found


def cut_everywhere(folder: Path) -> int:
    """At each byte of the last segment: all that is whole before it is there, the next verdict follows it, and nothing
    is a fault. Returns how many cuts that were."""
    kept = messages(folder)
    last = segments(folder)[-1].path
    data, ends = last.read_bytes(), [record.end for record in records_of(last)]
    for cut in range(len(data)):
        for torn in folder.glob("*.torn"):
            torn.unlink()
        last.write_bytes(data[:cut])
        whole = COUNT + sum(end <= cut for end in ends)
        journal = open_journal(folder)
        assert journal.next_position == journal.durable == whole, cut
        assert messages(folder) == kept[:whole]
        (sent,) = fill(journal, 1)
        assert messages(folder) == [*kept[:whole], sent]
        journal.close()
        assert not check(folder).faults, cut
        for segment in segments(folder)[1:]:
            segment.path.unlink()
    return len(data)


def flip_everywhere(folder: Path, bits: int) -> int:
    """So many bits of each byte, one after the other: each is found, and costs its own record alone. Returns how many
    flips that were."""
    kept, flips = messages(folder), 0
    for number, segment in enumerate(segments(folder)):
        data, records = segment.path.read_bytes(), records_of(segment.path)
        for place in range(len(data)):
            for bit in range(bits):
                flipped = data[place] ^ (1 << (place + bit) % 8)
                segment.path.write_bytes(data[:place] + bytes([flipped]) + data[place + 1 :])
                (fault, *_) = check(folder).faults
                hit = [record.number for record in records if record.offset <= place < record.end]
                assert fault.segment == segment.path.name
                assert [fault.record] == hit or (not hit and fault.offset == 0), (number, place)
                assert messages(folder) == [sent for index, sent in enumerate(kept) if index not in hit]
                flips += 1
        segment.path.write_bytes(data)
    return flips
