"""What is refused for the journal's sake is never refused without a word about the journal."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from edge.bus.sockets import open_socket
from edge.bus.verdicts import VerdictOutlet
from edge.daemon.ledger import Fast
from edge.journal.writer import Journal
from tests.journal.journals import LINE, FailingDisk, config, verdict


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/verdicts"


@pytest.fixture
def outlet(address: str) -> Iterator[VerdictOutlet]:
    with closing(VerdictOutlet(address)) as outlet:
        yield outlet


def test_a_disk_that_fails_for_an_instant_is_told_of_before_what_is_refused(
    tmp_path: Path, address: str, outlet: VerdictOutlet
) -> None:
    disk = FailingDisk(range(1_000_000), errno.ENOSPC)
    journal = Journal(tmp_path / "journal", LINE, config(mode="fast"), disk)
    ledger = Fast(journal, outlet, "s0", None)
    with open_socket(zmq.SUB, address, bind=False) as ear:
        ear.subscribe(b"")
        assert not ear.poll(300)  # the subscription travels as well
        ledger.publish([verdict(0)])
        while journal.state.writing:
            pass
        (refused,) = ledger.publish([verdict(1)])
        disk.fails = set()
        assert refused.reason == "not_journaled"
        while not journal.state.writing:
            pass
        ledger.tick()
        topics = []
        while ear.poll(300):
            topics.append(ear.recv_multipart()[0])
    ledger.close()
    assert topics == [
        b"journal/l1/writing",
        b"verdict/l1/pill/2",
        b"journal/l1/failing",
        b"verdict/l1/pill/0",
        b"journal/l1/writing",
    ]
