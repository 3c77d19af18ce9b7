"""A disk that takes until after a deadline: nothing that is late leaves as OK, and the journal holds what left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread, Timer
from time import perf_counter_ns

import msgspec
import pytest
from click.testing import CliRunner

from edge.bus.follow import Asker, follow
from edge.bus.verdicts import VerdictInlet, VerdictOutlet, message, read_verdict
from edge.cli import main
from edge.config import JournalConfig, Line, read_line
from edge.daemon.deadline import CaptureClock
from edge.daemon.durable import Durable
from edge.daemon.inspector import Inspector
from edge.daemon.ledger import Fast
from edge.daemon.publisher import Publisher
from edge.daemon.ticket import Belt
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Inspection
from edge.journal.disk import Disk
from edge.journal.entries import JournalState
from edge.journal.reader import read_records
from edge.journal.segments import segments
from edge.journal.verify import check
from edge.journal.writer import Journal
from edge.records import Evaluation, PartVerdict, Verdict
from tests.daemon.test_ledger import fresh, kept, ledger_on
from tests.daemon.tickets import journals_on, ticket
from tests.journal.journals import SlowDisk
from tests.lines import DARK, write_line

SYNC_S = 0.2
OK, LATE = (Evaluation.OK, "ok"), (Evaluation.UNDEFINED, "late")


@dataclass
class Due:
    """What has to leave instead of `fresh(0)`, `fresh(1)`, ... so many seconds from now, and until when they wait."""

    seconds: tuple[float, ...]
    began: float = field(default_factory=time.perf_counter)

    def at(self, verdict: Verdict) -> int:
        return int(1e9 * (self.began + self.seconds[(verdict.seq - 1) // 3]))

    def late(self, verdict: Verdict) -> Verdict | None:
        if verdict.evaluation == Evaluation.UNDEFINED or perf_counter_ns() < self.at(verdict):
            return None
        return msgspec.structs.replace(verdict, evaluation=0, reason="late", fail_safe=True, journal=None)


def publish(ledger: Durable | Fast, *seconds: float) -> list[Verdict]:
    """`fresh(0)`, `fresh(1)`, ... each of which has so long."""
    due = Due(seconds)
    return ledger.publish([fresh(number) for number in range(len(seconds))], due.late, due.at)


def outcomes(verdicts: list[Verdict]) -> list[tuple[int, str]]:
    return [(verdict.evaluation, verdict.reason) for verdict in verdicts]


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds() and time.monotonic() < until:
        time.sleep(0.005)
    assert holds()


def bodies(folder: Path) -> list[bytes]:
    return [record.body for record in read_records(folder / "journal")]


def test_what_the_disk_makes_late_leaves_as_late_at_its_deadline_and_is_kept_as_it_left(tmp_path: Path) -> None:
    disk = SlowDisk()
    with ledger_on(tmp_path, Durable, disk) as (ledger, heard):
        ledger.publish([fresh(9)])
        disk.slow_s, began = SYNC_S, time.monotonic()
        published = publish(ledger, SYNC_S / 4, 10, 10)
        told = [heard.next() for _ in range(4)][1:]
        assert time.monotonic() - began < 4 * SYNC_S
    assert outcomes(published) == [LATE, OK, OK]
    assert [verdict.durable for verdict in published] == [False, True, True]
    assert [verdict.journal for verdict in published] == [1, 2, 3]
    assert told == [msgspec.msgpack.decode(message(verdict)[1]) for verdict in published], "in their order, each once"
    assert bodies(tmp_path)[1:] == [message(verdict)[1] for verdict in published]
    assert not check(tmp_path / "journal").faults


class StuckDisk(Disk):
    """A sync is not done before `answers` is set."""

    def __init__(self) -> None:
        self.answers = Event()
        self.answers.set()

    def sync(self, file: int) -> None:
        self.answers.wait(20)
        super().sync(file)


def test_a_disk_that_does_not_answer_holds_up_nothing_that_is_due(tmp_path: Path) -> None:
    disk = StuckDisk()
    with ledger_on(tmp_path, Durable, disk) as (ledger, _):
        ledger.publish([fresh(9)])
        disk.answers.clear()
        for _ in range(5):
            began = time.monotonic()
            assert outcomes(publish(ledger, 0.1)) == [LATE]
            assert 0.1 <= time.monotonic() - began < 0.12
        disk.answers.set()
        wait_until(lambda: ledger.journal.durable == 6)
    assert [entry["reason"] for entry in kept(tmp_path)] == ["ok", *5 * ["late"]]
    assert not check(tmp_path / "journal").faults


@pytest.mark.parametrize(("full", "expected"), [("reject", (Evaluation.UNDEFINED, "not_journaled")), ("flag", OK)])
@pytest.mark.parametrize("kind", [Durable, Fast])
def test_a_disk_that_has_not_answered_for_a_second_is_one_that_fails(
    tmp_path: Path, kind: type[Durable] | type[Fast], full: str, expected: tuple[int, str]
) -> None:
    disk = StuckDisk()
    with ledger_on(tmp_path, kind, disk, full=full) as (ledger, heard):
        ledger.publish([fresh(9)])
        wait_until(lambda: ledger.journal.durable == 1)
        disk.answers.clear()
        ledger.publish([fresh(8)])
        time.sleep(1.1)
        began = time.monotonic()
        (published,) = ledger.publish([fresh(0)])
        assert time.monotonic() - began < 0.1, "nobody waits for it any more"
        state = msgspec.convert(heard.next(b"journal/l1/failing"), JournalState)
        disk.answers.set()
        wait_until(lambda: ledger.journal.durable == 3)
        (after,) = ledger.publish([fresh(1)])
    assert outcomes([published, after]) == [expected, OK] and not published.durable
    assert "not answered for more than 1 s" in state.why and 1 <= (time.time_ns() - state.since_ns) / 1e9 < 4
    assert bodies(tmp_path)[2:] == [message(verdict)[1] for verdict in (published, after)]
    assert not check(tmp_path / "journal").faults


def test_a_line_that_is_to_stop_does_so_where_the_disk_does_not_answer(tmp_path: Path) -> None:
    disk = StuckDisk()
    with ledger_on(tmp_path, Durable, disk, full="stop") as (ledger, _):
        disk.answers.clear()
        (published,) = ledger.publish([fresh(0)])
        assert published.reason == "not_journaled"
        assert ledger.error is not None and "not answered" in str(ledger.error)
        disk.answers.set()


def test_where_nothing_is_late_nothing_is_written_twice(tmp_path: Path) -> None:
    disk = SlowDisk()
    with ledger_on(tmp_path, Durable, disk) as (ledger, _):
        ledger.publish([fresh(9)])
        calls = disk.calls
        published = publish(ledger, 10, 10, 10)
        assert disk.calls == calls + 2, "one write, one sync"
    assert outcomes(published) == [OK, OK, OK] and [entry["journal"] for entry in kept(tmp_path)] == [0, 1, 2, 3]


@pytest.mark.parametrize("full", ["reject", "flag"])
@pytest.mark.parametrize("failing", [{2}, {3}, {4}, {2, 3}, {3, 4}])
def test_a_disk_that_fails_when_it_is_written_anew_makes_nothing_ok_or_durable(
    tmp_path: Path, failing: set[int], full: str
) -> None:
    """Of the calls: 0 write, 1 sync, 2 the cut, 3 write, 4 sync, or the cut where 3 failed."""
    disk = SlowDisk()
    with ledger_on(tmp_path, Durable, disk, full=full) as (ledger, heard):
        ledger.publish([fresh(9)])
        disk.slow_s, disk.fails = SYNC_S, {disk.calls + call for call in failing}
        published = publish(ledger, SYNC_S / 2)
        wait_until(lambda: ledger.journal.durable == 2)
        disk.slow_s = 0.0
        published += ledger.publish([fresh(1)])
        told = [heard.next() for _ in range(3)]
    assert outcomes(published) == [LATE, OK] and [verdict.durable for verdict in published] == [False, True]
    assert [entry["reason"] for entry in told] == ["ok", "late", "ok"]
    assert bodies(tmp_path)[1:] == [message(verdict)[1] for verdict in published]
    assert len(segments(tmp_path / "journal")) == 1 + any(call in failing for call in (2, 4))
    assert not check(tmp_path / "journal").faults


def test_a_disk_that_answers_after_the_end_has_what_left_and_the_folder_is_free(tmp_path: Path) -> None:
    disk = StuckDisk()
    with ledger_on(tmp_path, Durable, disk) as (ledger, _):
        ledger.publish([fresh(9)])
        disk.answers.clear()
        published, began = publish(ledger, 0.05), time.monotonic()
        Timer(4.0, disk.answers.set).start()
    assert time.monotonic() - began < 4
    wait_until(lambda: not ledger.threads[0].is_alive())
    assert outcomes(published) == [LATE] and bodies(tmp_path)[1:] == [message(verdict)[1] for verdict in published]
    Journal(tmp_path / "journal", "l1", JournalConfig("journal")).close()


def test_what_is_late_on_a_disk_that_fails_is_late(tmp_path: Path) -> None:
    disk = SlowDisk(SYNC_S)
    with ledger_on(tmp_path, Durable, disk, full="flag") as (ledger, _):
        disk.fails = {2}  # the first sync, once it has taken its time
        published = publish(ledger, SYNC_S / 2, 10)
        assert outcomes(published) == [LATE, OK] and not any(verdict.durable for verdict in published)
    assert bodies(tmp_path) == [message(verdict)[1] for verdict in published], "once the disk can"


def test_nobody_has_by_a_replay_what_was_not_sent(tmp_path: Path) -> None:
    disk, stopping, replayed = SlowDisk(), Event(), set[tuple[int, str]]()
    address = f"ipc://{tmp_path}/replay"

    def ask() -> None:
        with closing(Asker(address)) as asker:
            while not stopping.is_set():
                answer = asker.replay(1, 1 << 40)
                replayed.update(outcomes([read_verdict(body) for _, body in answer.messages] if answer else []))

    with ledger_on(tmp_path, Durable, disk, replay=address) as (ledger, _):
        ledger.publish([fresh(9)])
        asking, disk.slow_s = Thread(target=ask), 0.05
        asking.start()

        def soon(verdict: Verdict) -> Verdict | None:
            time.sleep(0.05)  # it is on the disk, and has not left
            return Due((0,)).late(verdict)

        ledger.publish([fresh(0)], soon)
        time.sleep(0.2)
        stopping.set()
        asking.join()
    assert replayed == {LATE}


@dataclass
class Plant:
    """A line's last stage in this process, with a subscriber."""

    folder: Path
    disk: SlowDisk
    belt: Belt[Inspector]
    verdicts: VerdictInlet

    def answer(self, number: int, deadline_ms: float) -> Verdict:
        """An OK that the engines found in time."""
        self.belt.finish(ticket(number, deadline_ms), Inspection(Evaluation.OK, "ok", only="dark"))
        assert self.verdicts.poll(10_000)
        return self.verdicts.receive()


@pytest.fixture
def plant(small_line: Line, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    disk = SlowDisk()
    journals_on(disk, tmp_path, monkeypatch)
    tables = (
        f'[journal]\nfolder = "journal"\nreplay = "ipc://{tmp_path}/replay"\n[parts]\nframes = 3\nwithin_ms = 9000\n'
    )
    line = read_line(write_line(tmp_path, small_line.bundles, DARK, tables))
    belt = Belt(16, lambda: None, Inspector(line, open_pipeline(line)))
    with closing(VerdictOutlet(line.config.verdicts)) as outlet:
        publisher = Publisher(line, belt, outlet, CaptureClock())
        publisher.start()
        with closing(VerdictInlet(line.config.verdicts, "small")) as inlet:
            time.sleep(0.3)  # the subscription travels as well
            yield Plant(tmp_path, disk, belt, inlet)
            publisher.stop()
            publisher.join(10)


def test_a_subscriber_a_part_a_follower_and_the_journal_all_have_the_one_late_verdict(plant: Plant) -> None:
    first = plant.answer(0, 5000)
    plant.disk.slow_s = 0.32  # longer than a follower is quiet
    coming = follow(f"ipc://{plant.folder}/verdicts", f"ipc://{plant.folder}/replay", "small", 0, 10)
    followed: list[Verdict | PartVerdict] = []

    def listen() -> None:
        for entry in coming:
            if isinstance(entry, Verdict | PartVerdict):
                followed.append(entry)
                if isinstance(entry, PartVerdict):
                    return

    listening = Thread(target=listen)
    listening.start()
    second = plant.answer(1, 200)
    third = plant.answer(2, 5000)
    listening.join(10)
    assert outcomes([first, second, third]) == [OK, LATE, OK]
    assert second.fail_safe and not second.durable and "had left" in second.detail
    assert second.deadline_ns is not None and second.t_verdict_ns > second.deadline_ns
    assert [verdict.seq for verdict in (first, second, third)] == [0, 1, 2]
    *frames, part = followed
    assert frames == [first, second, third] and (part.evaluation, part.reason) == LATE
    asked = ["journal", "read", str(plant.folder / "journal"), "--trigger", "t1", "--json"]
    (row,) = CliRunner().invoke(main, asked).stdout.splitlines()
    assert json.loads(row)["reason"] == "late" and json.loads(row)["seq"] == 1
