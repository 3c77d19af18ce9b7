"""Who waits for a disk, and for how long: nobody for longer than they may, nor than those behind them may."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Timer

import pytest

from edge.bus.verdicts import VerdictInlet, VerdictOutlet
from edge.config import JournalConfig, Line, read_line
from edge.daemon.deadline import CaptureClock
from edge.daemon.durable import Durable
from edge.daemon.inspector import Inspector
from edge.daemon.publisher import Publisher
from edge.daemon.ticket import Belt
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Inspection
from edge.journal.disk import Disk
from edge.journal.writer import Journal
from edge.records import Evaluation, Verdict
from tests.daemon.test_ledger import fresh, ledger_on
from tests.daemon.test_slow_disk import StuckDisk, outcomes
from tests.daemon.tickets import journals_on, ticket
from tests.journal.journals import SlowDisk, message, open_journal, verdict
from tests.lines import DARK, write_line

OK, LATE = (Evaluation.OK, "ok"), (Evaluation.UNDEFINED, "late")


class Last:
    """A line's last stage in this process, with a subscriber; the engines found every part OK."""

    def __init__(self, belt: Belt[Inspector], verdicts: VerdictInlet) -> None:
        self.belt, self.verdicts, self.number = belt, verdicts, 0

    def found(self, *deadlines_ms: float) -> None:
        """At once, in this order."""
        for deadline_ms in deadlines_ms:
            found = ticket(self.number, deadline_ms)
            self.number += 1
            self.belt.finish(found, Inspection(Evaluation.OK, "ok", only="dark"))

    def heard(self, count: int) -> list[Verdict]:
        told = []
        for _ in range(count):
            assert self.verdicts.poll(5000)
            told.append(self.verdicts.receive())
        return told


@contextmanager
def last_stage(small_line: Line, folder: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Last]:
    journals_on(disk, folder, monkeypatch)
    line = read_line(write_line(folder, small_line.bundles, DARK, '[journal]\nfolder = "journal"\n'))
    belt = Belt(16, lambda: None, Inspector(line, open_pipeline(line)))
    with closing(VerdictOutlet(line.config.verdicts)) as outlet:
        publisher = Publisher(line, belt, outlet, CaptureClock())
        publisher.start()
        with closing(VerdictInlet(line.config.verdicts, "small")) as inlet:
            time.sleep(0.3)  # the subscription travels as well
            last = Last(belt, inlet)
            last.found(5000)  # the first one opens a segment
            last.heard(1)
            yield last
            publisher.stop()
            publisher.join(10)


def test_the_most_urgent_leaves_first(
    small_line: Line, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = StuckDisk()
    with last_stage(small_line, tmp_path, disk, monkeypatch) as last:
        disk.answers.clear()
        last.found(5000)
        time.sleep(0.05)  # the publisher has it, and waits for the disk
        last.found(4000, 200)
        Timer(0.5, disk.answers.set).start()
        told = last.heard(3)
    assert [made.trigger_id for made in told] == ["t1", "t3", "t2"]
    assert outcomes(told)[1] == LATE and told[1].deadline_ns is not None
    assert told[1].t_verdict_ns - told[1].deadline_ns < 30e6, (
        "whoever was before it did not wait for longer than it may"
    )
    assert outcomes(told)[2] == OK


def test_a_disk_slower_than_the_line_is_back_to_normal_after_a_hiccup(
    small_line: Line, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write takes longer than a frame: what was late must not make the next one late."""
    disk = SlowDisk()
    with last_stage(small_line, tmp_path, disk, monkeypatch) as last:
        for number in range(200):
            disk.slow_s = 0.3 if 20 <= number < 24 else 0.015
            last.found(150)
            time.sleep(0.01)
        told = last.heard(200)
    late = [place for place, made in enumerate(told) if made.evaluation != Evaluation.OK]
    assert late and max(late) < 100, late


def test_many_wait_no_longer_for_a_silent_disk_than_one(tmp_path: Path) -> None:
    disk = StuckDisk()
    with ledger_on(tmp_path, Durable, disk) as (ledger, _):
        ledger.publish([fresh(9)])
        disk.answers.clear()
        began = time.monotonic()
        published = ledger.publish([fresh(number) for number in range(8)])
        assert 0.9 < time.monotonic() - began < 1.3
        assert {made.reason for made in published} == {"not_journaled"}
        disk.answers.set()


def test_what_was_dropped_for_want_of_room_is_not_kept_and_not_replaced(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "l1", JournalConfig("journal"), most_waiting=1000)
    journal.append_all([message(verdict(position)) for position in range(20)])
    assert journal.lost > 0
    assert journal.commit() == 20
    assert [journal.keeps(position) for position in (0, journal.lost - 1, journal.lost, 19)] == [
        False,
        False,
        True,
        True,
    ]
    journal.replace(0, *message(verdict(0, evaluation=0)))
    assert journal.durable == 20
    journal.close()
    again = open_journal(tmp_path)
    assert again.next_position == 20
    again.close()
