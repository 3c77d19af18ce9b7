"""The writer: numbers, rotation, quota, one at a time, and a process that is killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from edge.config import read_line
from edge.errors import JournalError
from edge.journal.entries import Lost, read_entry
from edge.journal.flusher import Flusher
from edge.journal.reader import read_records
from edge.journal.segments import segments
from edge.journal.verify import check, is_written, verify_journal
from edge.journal.writer import MEGABYTE, Journal
from edge.journal.writer import open_journal as open_line_journal
from tests.journal.journals import LINE, config, fill, message, messages, open_journal, verdict
from tests.lines import DARK, write_line


def test_positions_go_on_over_sessions_without_a_gap(tmp_path: Path) -> None:
    sent: list[tuple[bytes, bytes]] = []
    for session in ("a", "b", "c"):
        journal = open_journal(tmp_path)
        assert journal.began == journal.next_position == journal.durable == len(sent)
        sent += fill(journal, 5, at_once=2, session=session)
        journal.close()
    assert messages(tmp_path) == sent
    assert [record.number for record in read_records(tmp_path)] == list(range(15))
    assert [read_entry(record) for record in read_records(tmp_path, 14)] == [verdict(14, "c")]


def test_an_appended_record_is_durable_after_the_commit_alone(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert journal.append(*message(verdict(0))) == 0
    assert (journal.next_position, journal.durable, messages(tmp_path)) == (1, 0, [])
    assert journal.commit() == journal.durable == 1
    assert messages(tmp_path) == [message(verdict(0))]
    assert journal.commit() == 1
    journal.close()


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = open_journal(tmp_path)
    assert is_written(tmp_path)
    with pytest.raises(JournalError, match="in use"):
        open_journal(tmp_path)
    first.close()
    assert not is_written(tmp_path)
    open_journal(tmp_path).close()


def test_another_lines_folder_is_refused(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    fill(journal, 1)
    journal.close()
    with pytest.raises(JournalError, match="line l1"):
        Journal(tmp_path, "l2", config())
    open_journal(tmp_path).close()


def test_the_lines_own_journal_lies_beside_its_file(tmp_path: Path) -> None:
    line = read_line(write_line(tmp_path, ".", DARK, '[journal]\nfolder = "kept"\nmode = "fast"\n', name=LINE))
    assert line.config.journal and line.config.journal.full == "reject"
    journal = open_line_journal(line, line.config.journal)
    fill(journal, 1)
    journal.close()
    assert len(messages(tmp_path / "kept")) == 1


def test_a_folder_that_cannot_be_is_a_journal_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="file"):
        open_journal(tmp_path / "file" / "journal")


def test_the_oldest_segments_make_room_and_the_rest_stays_whole(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, quota_mb=4, segment_mb=1)
    for _ in range(90):
        journal.append(b"verdict/l1/pill/1", bytes(100_000))
        journal.commit()
    sizes = [segment.path.stat().st_size for segment in segments(tmp_path)]
    assert sum(sizes) <= 4 * MEGABYTE and len(sizes) >= 3 and max(sizes) < 1.2 * MEGABYTE
    checked = verify_journal(tmp_path)
    assert not checked.faults and checked.next == 90 and checked.first == segments(tmp_path)[0].first > 0
    assert [record.number for record in read_records(tmp_path)] == list(range(checked.first, 90))
    journal.close()
    assert open_journal(tmp_path).next_position == 90


def test_fast_records_are_on_the_disk_soon_after(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, mode="fast")
    flusher = Flusher(journal)
    waits = []
    for position in range(50):
        begun = time.monotonic()
        journal.append(*message(verdict(position)))
        while journal.durable <= position:
            time.sleep(0.0005)
        waits.append(time.monotonic() - begun)
    assert sorted(waits)[25] < 0.015
    flusher.close()
    journal.close()


def test_many_fast_records_lose_none(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, mode="fast")
    flusher = Flusher(journal)
    sent = [message(verdict(position)) for position in range(5000)]
    assert [journal.append(*one) for one in sent] == list(range(5000))
    flusher.close()
    journal.close()
    assert messages(tmp_path) == sent and not check(tmp_path).faults


KILLED = """
import sys
from pathlib import Path
from tests.journal.journals import message, open_journal, verdict
journal = open_journal(Path(sys.argv[1]))
print(journal.next_position, flush=True)
while True:
    for _ in range(3):
        journal.append(*message(verdict(journal.next_position, sys.argv[2])))
    print(journal.commit(), flush=True)
"""


def test_killed_at_random_no_durable_record_is_lost_and_none_doubled(tmp_path: Path, repository: Path) -> None:
    told = 0
    rng = random.Random(5)
    for life in range(24):
        command = [sys.executable, "-c", KILLED, str(tmp_path), f"s{life}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository)
        assert process.stdout is not None
        assert int(process.stdout.readline()) >= told
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        lines = process.stdout.read().split("\n")[:-1]
        told = int(lines[-1]) if lines else told
        process.wait()
        numbers = [record.number for record in read_records(tmp_path)]
        assert numbers[:told] == list(range(told))
    open_journal(tmp_path).close()
    entries = [read_entry(record) for record in read_records(tmp_path)]
    assert not any(isinstance(entry, Lost) for entry in entries)
    names = [entry.verdict_id for entry in entries if not isinstance(entry, Lost)]
    assert len(set(names)) == len(names) > 24
    assert not verify_journal(tmp_path).faults


def test_a_journal_can_be_read_and_verified_while_it_is_written(tmp_path: Path, repository: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), "s0"], stdout=subprocess.PIPE, text=True, cwd=repository
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        for _ in range(20):
            checked = verify_journal(tmp_path) if segments(tmp_path) else None
            assert not checked or not checked.faults
            numbers = [record.number for record in read_records(tmp_path)]
            assert numbers == list(range(len(numbers)))
            process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_what_waits_can_be_replaced(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append(b"verdict/l1/-/1", b"first")
    journal.append(b"verdict/l1/-/1", b"second")
    journal.replace(0, b"verdict/l1/-/0", b"other")
    journal.commit()
    assert messages(tmp_path) == [(b"verdict/l1/-/0", b"other"), (b"verdict/l1/-/1", b"second")]
    journal.close()


def test_the_state_can_be_published(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    fill(journal, 2)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(journal.state))
    assert state["writing"] and state["next"] == state["durable"] == 2 and state["full"] == "reject"
    journal.close()
