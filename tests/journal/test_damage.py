"""A journal cut anywhere and flipped anywhere: what was synced before is there, and the damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.journal.reader import read_records
from edge.journal.segments import segments
from edge.journal.verify import check, verify_journal
from edge.journal.writer import Journal
from tests.journal.damage import COUNT, cut_everywhere, fill, fill_two_segments, flip_everywhere, records_of
from tests.journal.journals import config, messages, open_journal


@pytest.fixture
def two_segments(tmp_path: Path) -> Path:
    """Each of `COUNT` verdicts, by two daemons one after the other."""
    folder = tmp_path / "journal"
    fill_two_segments(folder)
    return folder


def test_a_whole_journal_has_no_fault(two_segments: Path) -> None:
    checked = verify_journal(two_segments)
    assert (checked.segments, checked.records, checked.first, checked.next) == (2, 2 * COUNT, 0, 2 * COUNT)
    assert not checked.faults and not checked.torn
    assert checked.to_ns - checked.from_ns == 2 * COUNT - 1


def test_cut_at_every_byte_of_the_last_segment_nothing_synced_before_is_lost(two_segments: Path) -> None:
    assert cut_everywhere(two_segments) > 300


def test_each_byte_flipped_is_found_and_costs_its_own_record_alone(two_segments: Path) -> None:
    assert flip_everywhere(two_segments, 1) > 600


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
