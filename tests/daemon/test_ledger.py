"""A verdict on its way out of a line with a journal: on the disk before it is heard, or never called durable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from edge.bus.sockets import open_socket
from edge.bus.verdicts import VerdictOutlet, message
from edge.daemon.durable import Durable
from edge.daemon.ledger import Fast, NoJournal
from edge.journal.disk import Disk
from edge.journal.entries import JournalState
from edge.journal.reader import read_records
from edge.records import Evaluation, Verdict
from tests.journal.journals import LINE, FailingDisk, open_journal, verdict

FOREVER = range(10**9)


class Heard:
    """A subscriber to all that the line says."""

    def __init__(self, address: str) -> None:
        self.socket = open_socket(zmq.SUB, address, bind=False)
        self.socket.subscribe(b"")

    def next(self, topic: bytes = b"verdict/") -> Any:
        while self.socket.poll(5000):
            named, body = self.socket.recv_multipart()
            if named.startswith(topic):
                return msgspec.msgpack.decode(body)
        raise AssertionError(f"no {topic!r} came")


@contextmanager
def ledger_on(
    folder: Path, kind: type[Durable] | type[Fast], disk: Disk, **keys: Any
) -> Iterator[tuple[Durable | Fast, Heard]]:
    address = f"ipc://{folder}/verdicts"
    with closing(VerdictOutlet(address)) as outlet:
        heard = Heard(address)
        ledger = kind(open_journal(folder / "journal", disk, **keys), outlet, "s0", None)
        time.sleep(0.3)  # the subscription travels as well
        try:
            yield ledger, heard
        finally:
            ledger.close()
            heard.socket.close(0)


def fresh(number: int) -> Verdict:
    return msgspec.structs.replace(verdict(3 * number + 1), journal=None, durable=False)


def kept(folder: Path) -> list[Any]:
    return [msgspec.msgpack.decode(record.body) for record in read_records(folder / "journal")]


@pytest.mark.parametrize(("kind", "durable"), [(Durable, True), (Fast, False)])
def test_what_is_heard_is_what_the_journal_keeps_byte_for_byte(tmp_path: Path, kind: Any, durable: bool) -> None:
    with ledger_on(tmp_path, kind, Disk()) as (ledger, heard):
        published = ledger.publish([fresh(0), fresh(1)])
        first, second = heard.next(), heard.next()
        if durable:
            assert [entry["journal"] for entry in kept(tmp_path)] == [0, 1], "before anybody heard of it"
    assert [v.journal for v in published] == [first["journal"], second["journal"]] == [0, 1]
    assert first["durable"] is second["durable"] is durable
    assert [record.body for record in read_records(tmp_path / "journal")] == [message(v)[1] for v in published]


def too_late(made: Verdict) -> Verdict | None:
    """Of the second; the first is in time."""
    if made.seq == fresh(0).seq:
        return None
    return msgspec.structs.replace(made, evaluation=int(Evaluation.UNDEFINED), reason="late", fail_safe=True)


@pytest.mark.parametrize("kind", [Durable, Fast])
def test_what_became_late_on_its_way_out_is_not_ok_whoever_took_the_time(tmp_path: Path, kind: Any) -> None:
    with ledger_on(tmp_path, kind, Disk()) as (ledger, heard):
        published = ledger.publish([fresh(0), fresh(1)], too_late)
        told = [heard.next()["reason"], heard.next()["reason"]]
    assert told == [verdict.reason for verdict in published] == ["ok", "late"]
    assert [entry["reason"] for entry in kept(tmp_path)] == told


def test_without_a_journal_too(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/verdicts"
    with closing(VerdictOutlet(address)) as outlet:
        heard = Heard(address)
        time.sleep(0.3)  # the subscription travels as well
        published = NoJournal(outlet).publish([fresh(0), fresh(1)], too_late)
        assert [heard.next()["reason"], heard.next()["reason"]] == ["ok", "late"] == [v.reason for v in published]
        heard.socket.close(0)


@pytest.mark.parametrize("kind", [Durable, Fast])
def test_on_a_full_disk_no_part_passes_and_everyone_is_told(tmp_path: Path, kind: Any) -> None:
    with ledger_on(tmp_path, kind, FailingDisk(FOREVER), full="reject") as (ledger, heard):
        if kind is Fast:
            ledger.publish([fresh(0)])  # nobody knows yet
            heard.next()
            time.sleep(0.2)
        (rejected,) = ledger.publish([fresh(1)])
        state = msgspec.convert(heard.next(b"journal/"), JournalState)
        told = heard.next()
    assert rejected.evaluation == told["evaluation"] == Evaluation.UNDEFINED
    assert told["reason"] == "not_journaled" and told["fail_safe"] and not told["durable"]
    assert not state.writing and state.why


def test_a_line_may_go_on_without_its_journal_but_says_so(tmp_path: Path) -> None:
    with ledger_on(tmp_path, Durable, FailingDisk(FOREVER), full="flag") as (ledger, heard):
        ledger.publish([fresh(0)])
        told = heard.next()
    assert (told["evaluation"], told["durable"]) == (Evaluation.OK, False)
    assert ledger.error is None


def test_a_line_may_stop_without_its_journal_and_rejects_until_it_has(tmp_path: Path) -> None:
    with ledger_on(tmp_path, Durable, FailingDisk(FOREVER), full="stop") as (ledger, heard):
        ledger.publish([fresh(0)])
        assert heard.next()["reason"] == "not_journaled"
    assert ledger.error is not None and ledger.error.exit_code == 18 and "stops" in str(ledger.error)


def test_once_there_is_room_again_the_journal_holds_what_was_heard_meanwhile(tmp_path: Path) -> None:
    with ledger_on(tmp_path, Durable, FailingDisk(set(range(4)))) as (ledger, heard):
        while ledger.publish([fresh(0)])[0].durable is False:
            heard.next()
        assert heard.next()["evaluation"] == Evaluation.OK
        ledger.tick()
        assert heard.next(b"journal/")["writing"]
    entries = kept(tmp_path)
    assert [entry["journal"] for entry in entries] == list(range(len(entries)))
    assert {entry["reason"] for entry in entries[:-1]} == {"not_journaled"}
    assert entries[-1]["line"] == LINE and entries[-1]["durable"]
