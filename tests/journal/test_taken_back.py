"""What nobody was told of as it was written is taken off the disk again, and goes there as it was told."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from edge.errors import JournalError
from edge.journal.disk import Disk
from edge.journal.segments import segments
from edge.journal.verify import check
from edge.journal.writer import Journal
from tests.journal.journals import FailingDisk, message, messages, open_journal, verdict

THIRD = 2


def late(position: int) -> tuple[bytes, bytes]:
    return message(verdict(position, evaluation=0, reason="late", fail_safe=True, defects=(), score=None))


def commit_five(journal: Journal) -> list[tuple[bytes, bytes]]:
    """In one write."""
    sent = [message(verdict(position)) for position in range(5)]
    for told in sent:
        journal.append(*told)
    journal.commit()
    return sent


def test_the_journal_is_as_if_the_first_had_never_been_written(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    sent = commit_five(journal)
    journal.replace(THIRD, *late(THIRD))
    assert (journal.durable, journal.next_position) == (THIRD, 5) and journal.appended.is_set()
    assert journal.commit() == 5
    journal.append(*message(verdict(5)))
    journal.close()
    assert messages(tmp_path) == [*sent[:THIRD], late(THIRD), *sent[THIRD + 1 :], message(verdict(5))]
    assert len(segments(tmp_path)) == 1 and not check(tmp_path).faults
    assert open_journal(tmp_path).next_position == 6


@pytest.mark.parametrize("position", [0, THIRD])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("nth", range(8))
def test_whatever_fails_meanwhile_each_position_is_kept_once(
    tmp_path: Path, nth: int, number: int, position: int
) -> None:
    disk = FailingDisk(set(), number)
    journal = open_journal(tmp_path, disk)
    sent = commit_five(journal)
    disk.fails = {disk.calls + nth}
    journal.replace(position, *late(position))
    while journal.durable < 5:
        with suppress(JournalError):
            journal.commit()
        assert messages(tmp_path)[:position] == sent[:position]
    disk.fails = set()
    journal.append(*message(verdict(5)))
    journal.close()
    assert messages(tmp_path) == [*sent[:position], late(position), *sent[position + 1 :], message(verdict(5))]
    assert not check(tmp_path).faults


class Replacing(Disk):
    """What it is writing is told otherwise meanwhile."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None

    def sync(self, file: int) -> None:
        super().sync(file)
        if self.meanwhile:
            self.meanwhile()
            self.meanwhile = None


def test_what_is_told_otherwise_while_it_is_written_is_not_durable_until_it_was_written_anew(tmp_path: Path) -> None:
    disk = Replacing()
    journal = open_journal(tmp_path, disk)
    sent = commit_five(journal)
    disk.meanwhile = lambda: journal.replace(6, *late(6))
    for position in range(5, 8):
        sent.append(message(verdict(position)))
        journal.append(*sent[-1])
    assert journal.commit() == 6 and journal.appended.is_set()
    assert journal.commit() == 8
    journal.close()
    assert messages(tmp_path) == [*sent[:6], late(6), sent[7]] and not check(tmp_path).faults


def test_what_others_were_written_after_cannot_be_replaced(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    commit_five(journal)
    journal.append(*message(verdict(5)))
    journal.commit()
    with pytest.raises(ValueError, match="record 4"):
        journal.replace(4, *late(4))
    journal.close()


class CrashingDisk(Disk):
    """Keeps what a crash would leave before the cut and after the next write, and where the disk had that write but not
    yet the cut: as long as before, zeros behind what is new."""

    def __init__(self, folder: Path, copies: Path) -> None:
        self.folder, self.copies, self.names = folder, copies, list[str]()

    def _copy(self, name: str) -> None:
        shutil.copytree(self.folder, self.copies / name)

    def truncate(self, file: int, size: int) -> None:
        self._copy("before")
        super().truncate(file, size)
        self.names = ["written"]

    def sync(self, file: int) -> None:
        if self.names:
            self._copy(self.names.pop(0))
            self._copy("torn")
            (before,), (torn,) = ((self.copies / name).glob("*.journal") for name in ("before", "torn"))
            torn.write_bytes(torn.read_bytes().ljust(before.stat().st_size, b"\0"))
        super().sync(file)


def test_a_crash_in_between_leaves_one_record_or_none_for_each_position(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal", CrashingDisk(tmp_path / "journal", tmp_path))
    sent = commit_five(journal)
    journal.replace(THIRD, *late(THIRD))
    journal.close()
    anew = [*sent[:THIRD], late(THIRD), *sent[THIRD + 1 :]]
    left = {"before": sent, "written": anew, "torn": anew}
    for name, expected in left.items():
        again = open_journal(tmp_path / name)
        assert again.next_position == len(expected)
        again.close()
        assert messages(tmp_path / name) == expected and not check(tmp_path / name).faults
