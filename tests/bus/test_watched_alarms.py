"""Whoever watches a line sees its alarms between the verdicts, with and without a journal."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest

from edge.bus.replay import ReplayService
from edge.bus.verdicts import VerdictOutlet, message
from edge.journal.reader import Reader
from edge.records import Alarm
from tests.journal.journals import LINE, open_journal, verdict
from tests.lines import start


def alarm(raised: bool, detail: str) -> Alarm:
    return Alarm(
        line=LINE,
        camera="c0",
        surface="pill",
        raised=raised,
        reason="light",
        feature="brightness",
        moved=("brightness",),
        value=0.1,
        usual=0.2,
        rank=0.0,
        since_ns=1,
        t_alarm_ns=2,
        detail=detail,
    )


BEGUN, OVER = alarm(True, "c0, pill: light has changed"), alarm(False, "c0, pill: light is as it was")


def rows_until(last: str, process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    rows = [process.stdout.readline()]
    while last not in rows[-1]:
        assert rows[-1], "it has ended"
        rows.append(process.stdout.readline())
    return rows


def publish_on(outlet: VerdictOutlet, stop: Event) -> None:
    while not stop.wait(0.1):
        outlet.publish(*message(verdict(0, journal=None, t_verdict_ns=time.time_ns())))


@pytest.mark.parametrize("with_journal", [False, True])
def test_alarms_are_shown_as_they_begin_and_end(tmp_path: Path, with_journal: bool) -> None:
    address, replay = f"ipc://{tmp_path}/verdicts", f"ipc://{tmp_path}/replay"
    again = ["--replay", replay] if with_journal else []
    watch = ["watch", "--from", address, "--line", LINE, "--timeout", 10, *again]
    journal = open_journal(tmp_path / "journal")
    service = ReplayService(replay, Reader(journal.folder), "s0", lambda: journal.state)
    person, machine = start(*watch), start(*watch, "--json")
    with closing(journal), closing(service), closing(VerdictOutlet(address)) as outlet:
        stop = Event()
        publishing = Thread(target=publish_on, args=(outlet, stop))
        publishing.start()
        rows, told = rows_until("NotOK", person), rows_until("pill", machine)
        stop.set()
        publishing.join()
        for each in (BEGUN, OVER):
            outlet.publish(*message(each))
        rows += rows_until("as it was", person)
        told += rows_until("as it was", machine)
        for process in (person, machine):
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    assert rows[0].startswith("part ")
    assert [" ".join(row.split()) for row in rows if row.startswith("!")] == [
        "! c0 pill alarm c0, pill: light has changed",
        "! c0 pill over c0, pill: light is as it was",
    ]
    published = [json.loads(line) for line in told]
    alarms = [json.loads(msgspec.json.encode(each)) for each in (BEGUN, OVER)]
    assert [each for each in published if "raised" in each] == alarms
