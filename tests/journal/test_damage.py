"""A journal cut anywhere and flipped anywhere: what was synced before is there, and the damage is named."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge.journal.format import Record, read_header, scan
from edge.journal.reader import read_records
from edge.journal.segments import segments
from edge.journal.verify import check, verify_journal
from edge.journal.writer import Journal
from tests.journal.journals import LINE, config, messages, open_journal

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


@pytest.fixture
def two_segments(tmp_path: Path) -> Path:
    """Each of `COUNT` verdicts, by two daemons one after the other."""
    folder = tmp_path / "journal"
    for _ in range(2):
        journal = open_journal(folder)
        fill(journal, COUNT)
        journal.close()
    return folder


def records_of(path: Path) -> list[Record]:
    data = path.read_bytes()
    header = read_header(data)
    assert header is not None and header.line == LINE
    found = [item for item in scan(data, header.first, header.chain) if isinstance(item, Record)]
    assert len(found) == COUNT
    return found


def test_a_whole_journal_has_no_fault(two_segments: Path) -> None:
    checked = verify_journal(two_segments)
    assert (checked.segments, checked.records, checked.first, checked.next) == (2, 2 * COUNT, 0, 2 * COUNT)
    assert not checked.faults and not checked.torn
    assert checked.to_ns - checked.from_ns == 2 * COUNT - 1


def test_cut_at_every_byte_of_the_last_segment_nothing_synced_before_is_lost(two_segments: Path) -> None:
    kept = messages(two_segments)
    last = segments(two_segments)[-1].path
    data, ends = last.read_bytes(), [record.end for record in records_of(last)]
    for cut in range(len(data)):
        for torn in two_segments.glob("*.torn"):
            torn.unlink()
        last.write_bytes(data[:cut])
        whole = COUNT + sum(end <= cut for end in ends)
        journal = open_journal(two_segments)
        assert journal.next_position == journal.durable == whole, cut
        assert messages(two_segments) == kept[:whole]
        (sent,) = fill(journal, 1)
        assert messages(two_segments) == [*kept[:whole], sent]
        journal.close()
        assert not check(two_segments).faults, cut
        for segment in segments(two_segments)[1:]:
            segment.path.unlink()


def test_each_byte_flipped_is_found_and_costs_its_own_record_alone(two_segments: Path) -> None:
    kept = messages(two_segments)
    for number, segment in enumerate(segments(two_segments)):
        data, records = segment.path.read_bytes(), records_of(segment.path)
        for place in range(len(data)):
            segment.path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
            (fault, *_) = check(two_segments).faults
            hit = [record.number for record in records if record.offset <= place < record.end]
            assert fault.segment == segment.path.name
            assert [fault.record] == hit or (not hit and fault.offset == 0), (number, place)
            assert messages(two_segments) == [sent for index, sent in enumerate(kept) if index not in hit]
        segment.path.write_bytes(data)


def test_what_was_torn_is_kept_beside_the_segment_and_named(two_segments: Path) -> None:
    last = segments(two_segments)[-1].path
    with last.open("ab") as file:
        file.write(b"half a record")
    assert check(two_segments).faults
    open_journal(two_segments).close()
    assert last.with_suffix(".torn").read_bytes() == b"half a record"
    checked = check(two_segments)
    assert not checked.faults and checked.torn == [last.with_suffix(".torn").name]


def test_damage_with_whole_records_after_it_is_left_as_it_is_and_the_journal_goes_on(two_segments: Path) -> None:
    last = segments(two_segments)[-1].path
    data = bytearray(last.read_bytes())
    data[records_of(last)[2].offset + 30] ^= 1
    last.write_bytes(data)
    journal = open_journal(two_segments)
    assert journal.next_position == 2 * COUNT
    fill(journal, 1)
    journal.close()
    assert last.read_bytes() == data
    assert [fault.record for fault in check(two_segments).faults] == [COUNT + 2]
    assert len(messages(two_segments)) == 2 * COUNT


def test_a_segment_taken_out_swapped_or_cut_short_is_found(two_segments: Path) -> None:
    journal = open_journal(two_segments)
    fill(journal, COUNT)
    journal.close()
    first, second, third = (segment.path for segment in segments(two_segments))
    data, end = second.read_bytes(), records_of(second)[-1].offset
    second.unlink()
    assert [(fault.segment, fault.record) for fault in check(two_segments).faults] == [(third.name, COUNT)]
    second.write_bytes(first.read_bytes())
    assert check(two_segments).faults[0].segment == second.name
    second.write_bytes(data[:end])
    assert [(fault.segment, fault.record) for fault in check(two_segments).faults] == [(third.name, 2 * COUNT - 1)]


def test_another_lines_segment_is_found(two_segments: Path, tmp_path: Path) -> None:
    other = Journal(tmp_path / "other", "l2", config())
    fill(other, COUNT)
    other.close()
    first = segments(two_segments)[0].path
    first.write_bytes((tmp_path / "other" / first.name).read_bytes())
    assert any("line l1" in fault.what for fault in check(two_segments).faults)


def test_reading_begins_and_ends_where_it_is_told(two_segments: Path) -> None:
    assert [record.number for record in read_records(two_segments, 4, 8)] == [4, 5, 6, 7]
    assert [record.number for record in read_records(two_segments, 99)] == []
