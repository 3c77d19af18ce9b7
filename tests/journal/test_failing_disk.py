"""Each of the disk's calls fails once, or from there on: nobody crashes, nothing that was durable is lost, and what
waited is written as soon as it can be."""

from __future__ import annotations

import errno
import time
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import JournalError
from edge.journal.disk import Disk
from edge.journal.entries import Lost, read_entry
from edge.journal.flusher import Flusher
from edge.journal.format import Record
from edge.journal.reader import read_records
from edge.journal.verify import check
from edge.journal.writer import Journal
from tests.journal.journals import LINE, FailingDisk, config, fill, message, messages, open_journal, verdict

ROUNDS = 12


def write(journal: Journal) -> tuple[list[tuple[bytes, bytes]], int]:
    """Large enough for three segments. Returns what was sent, and how many commits failed."""
    sent, failed = [], 0
    for position in range(ROUNDS):
        sent.append((b"verdict/l1/pill/1", bytes([position]) * 300_000))
        journal.append(*sent[-1])
        before = journal.durable
        try:
            durable = journal.commit()
        except JournalError:
            failed += 1
            durable = before
        assert journal.durable == durable == (before if journal.state.why else position + 1)
        assert messages(journal.folder)[:durable] == sent[:durable]
    return sent, failed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_the_nth_call_failing_loses_nothing(tmp_path: Path, number: int) -> None:
    for nth in count():
        folder = tmp_path / str(nth)
        disk = FailingDisk({nth}, number)
        journal = open_journal(folder, disk, segment_mb=1, quota_mb=100)
        sent, failed = write(journal)
        assert failed <= 1
        journal.close()
        assert messages(folder) == sent and not check(folder).faults, nth
        assert journal.state.writing and journal.lost == 0
        if nth >= disk.calls:
            assert nth > 30 and not failed
            break


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_from_the_nth_call_on_failing_the_synced_prefix_stays_and_the_rest_comes_after_a_restart(
    tmp_path: Path, number: int
) -> None:
    for nth in range(0, 36, 3):
        folder = tmp_path / str(nth)
        journal = open_journal(folder, FailingDisk(range(nth, 1_000_000), number), segment_mb=1, quota_mb=100)
        sent, failed = write(journal)
        assert failed
        with pytest.raises(JournalError):
            journal.close()
        durable = journal.durable
        again = open_journal(folder)
        assert again.next_position >= durable
        assert messages(folder)[:durable] == sent[:durable]
        (more,) = fill(again, 1)
        assert messages(folder)[-1] == more and not check(folder).faults, nth
        again.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_every_other_call_failing_ends_well(tmp_path: Path, number: int) -> None:
    disk = FailingDisk(set(range(1, 2000, 2)), number)
    journal = open_journal(tmp_path, disk, segment_mb=1, quota_mb=100)
    sent, failed = write(journal)
    assert failed
    disk.fails = set()
    journal.close()
    assert messages(tmp_path) == sent and not check(tmp_path).faults


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 60)), st.sampled_from([errno.ENOSPC, errno.EIO]))
def test_any_calls_failing_lose_nothing_that_was_durable(
    tmp_path_factory: pytest.TempPathFactory, fails: set[int], number: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    disk = FailingDisk(fails, number)
    journal = open_journal(folder, disk, segment_mb=1, quota_mb=100)
    sent, _ = write(journal)
    disk.fails = set()
    journal.close()
    assert messages(folder) == sent and not check(folder).faults


class ShortDisk(Disk):
    """The third write takes half and says so."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, file: int, data: bytes) -> int:
        self.writes += 1
        return super().write(file, data[: len(data) // 2] if self.writes == 3 else data)


def test_a_short_write_is_a_full_disk(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, ShortDisk())
    sent = fill(journal, 1)
    sent.append(message(verdict(1)))
    journal.append(*sent[-1])
    with pytest.raises(JournalError, match="only"):
        journal.commit()
    assert messages(tmp_path) == sent[:1] and not check(tmp_path).faults
    journal.close()
    assert messages(tmp_path) == sent


def test_a_segment_whose_sync_failed_is_not_written_again(tmp_path: Path) -> None:
    disk = FailingDisk(set(), errno.EIO)
    journal = open_journal(tmp_path, disk)
    fill(journal, 2)
    begun = journal.durable
    disk.fails = {disk.calls + 1}
    journal.append(*message(verdict(2)))
    with pytest.raises(JournalError):
        journal.commit()
    journal.commit()
    journal.close()
    _, second = sorted(tmp_path.glob("*.journal"))
    assert second.name.startswith(f"{begun:020d}") and not check(tmp_path).faults
    assert [record.number for record in read_records(tmp_path)] == [0, 1, 2]


def test_over_the_bound_the_oldest_are_lost_counted_and_said(tmp_path: Path) -> None:
    disk = FailingDisk(range(1_000_000))
    journal = Journal(tmp_path, LINE, config(), disk, most_waiting=10_000)
    for position in range(100):
        journal.append(b"verdict/l1/pill/1", bytes([position]) * 1000)
        with pytest.raises(JournalError):
            journal.commit()
    assert journal.lost == journal.state.lost >= 90
    disk.fails = set()
    assert journal.commit() == 100
    journal.close()
    lost, *kept = read_records(tmp_path)
    entry = read_entry(lost)
    assert isinstance(entry, Lost) and (entry.first, entry.last) == (0, journal.lost - 1)
    assert [record.number for record in kept] == list(range(journal.lost, 100))
    checked = check(tmp_path)
    assert not checked.faults and checked.lost == journal.lost and checked.records == len(kept)
    assert open_journal(tmp_path).next_position == 100


class StallingDisk(FailingDisk):
    """A sync takes a while and fails, as on a dying disk, while verdicts go on being appended."""

    def sync(self, file: int) -> None:
        if self.fails:
            time.sleep(0.02)
        super().sync(file)


def test_a_fast_line_whose_disk_fails_for_a_while_knows_it_at_once_and_recovers(tmp_path: Path) -> None:
    disk = StallingDisk(set(), errno.EIO)
    journal = Journal(tmp_path, LINE, config(mode="fast"), disk, most_waiting=20_000)
    flusher = Flusher(journal)
    said = 0.0
    for position in range(600):
        if position == 100:
            disk.fails, began = range(1_000_000), time.monotonic()
        if position == 400:
            disk.fails = set()
        journal.append(b"verdict/l1/pill/1", position.to_bytes(4, "little") * 250)
        said = said or (0.0 if journal.state.writing else time.monotonic() - began)
        time.sleep(0.001)
    assert 0 < said < 1
    flusher.close()
    journal.close()
    assert journal.state.writing and journal.lost and not check(tmp_path).faults
    records: list[Record] = list(read_records(tmp_path))
    assert [record.number for record in records[1:]] == [record.next for record in records[:-1]]
    assert records[0].number == 0 and records[-1].next == 600
    for record in records:
        if record.topic.startswith(b"verdict"):
            assert record.body[:4] == record.number.to_bytes(4, "little")
    assert sum(record.spans for record in records if record.topic.startswith(b"lost")) == journal.lost
