"""Snapshots, replays and a subscriber that misses nothing, over real sockets."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.follow import follow, read_message
from edge.bus.replay import ReplayService, Request
from edge.bus.service import REQUEST_BYTES, read_request
from edge.bus.verdicts import VerdictOutlet
from edge.errors import EdgeError
from edge.journal.entries import Lost
from edge.journal.flusher import Flusher
from edge.journal.reader import Reader
from edge.journal.segments import segments
from edge.journal.writer import Journal
from edge.records import PartVerdict, Verdict
from tests.journal.journals import LINE, fill, message, open_journal, verdict
from tests.lines import ended, start


class Daemon:
    """What a daemon's publishing stage does, without cameras and networks."""

    def __init__(self, folder: Path, session: str, **keys: Any) -> None:
        self.session = session
        self.address = address(folder, "verdicts")
        self.journal: Journal = open_journal(folder / "journal", **keys)
        self.outlet = VerdictOutlet(self.address)
        self.flusher = Flusher(self.journal) if self.journal.config.mode == "fast" else None
        reader = Reader(self.journal.folder)
        self.service = ReplayService(address(folder, "replay"), reader, session, lambda: self.journal.state)

    def publish(self, count: int = 1, seen: Callable[[int], bool] = lambda _: True) -> None:
        """seen: which positions reach the subscribers."""
        for _ in range(count):
            position = self.journal.next_position
            durable = self.flusher is None
            sent = message(verdict(position, self.session, t_verdict_ns=time.time_ns(), durable=durable))
            self.journal.append(*sent)
            if durable:
                self.journal.commit()
            if seen(position):
                self.outlet.publish(*sent)

    def close(self) -> None:
        self.service.close()
        if self.flusher:
            self.flusher.close()
        self.journal.close()
        self.outlet._socket.unbind(self.address)  # at once, for the next one
        self.outlet.close()


def address(folder: Path, name: str) -> str:
    return f"ipc://{folder}/{name}"


def raw_socket(kind: int) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    return socket


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("f")  # an ipc address has 107 bytes


@pytest.fixture(autouse=True)
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons that follow one another in one process: the lock beside an ipc path is held until the process ends."""
    monkeypatch.setattr("edge.bus.sockets._prepare_ipc", lambda _: None)


class Subscriber(threading.Thread):
    """Follows until it has seen the position `last`."""

    def __init__(self, folder: Path, since: int | None, last: int) -> None:
        super().__init__(daemon=True)
        self.coming = follow(address(folder, "verdicts"), address(folder, "replay"), LINE, since, 20)
        self.last = last
        self.got: list[Verdict | PartVerdict | Lost] = []
        self.start()

    def run(self) -> None:
        for entry in self.coming:
            if isinstance(entry, Verdict | PartVerdict | Lost):
                self.got.append(entry)
                if (entry.last if isinstance(entry, Lost) else entry.journal) == self.last:
                    break
        self.coming.close()  # type: ignore[attr-defined]  # it is a generator

    def positions(self) -> list[int | None]:
        self.join(30)
        assert not self.is_alive(), [self.got[-1:], len(self.got)]
        assert not [entry for entry in self.got if isinstance(entry, Lost)]
        return [entry.journal for entry in self.got if not isinstance(entry, Lost)]


@pytest.fixture
def asking(short: Path) -> Iterator[tuple[Daemon, zmq.Socket[bytes]]]:
    daemon = Daemon(short, "s0")
    with raw_socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(address(short, "replay"))
        yield daemon, socket
    daemon.close()


def ask(socket: zmq.Socket[bytes], request: Any) -> Any:
    socket.send(request if isinstance(request, bytes) else msgpack.packb(request))
    assert socket.poll(5000)
    return msgpack.unpackb(socket.recv())


def test_a_snapshot_says_what_can_be_replayed(asking: tuple[Daemon, zmq.Socket[bytes]]) -> None:
    daemon, socket = asking
    fill(daemon.journal, 5)
    daemon.journal.append(*message(verdict(5)))
    snapshot = ask(socket, {"v": 1, "ask": "snapshot"})
    assert (snapshot["line"], snapshot["session"], snapshot["first"], snapshot["next"]) == (LINE, "s0", 0, 5)
    assert snapshot["state"]["writing"] and snapshot["state"]["next"] == 6


def test_a_replay_gives_what_was_published_byte_for_byte(asking: tuple[Daemon, zmq.Socket[bytes]]) -> None:
    daemon, socket = asking
    sent = fill(daemon.journal, 3000, at_once=100)
    start, got = 10, []
    while start < 2900:
        replay = ask(socket, {"v": 1, "ask": "replay", "from": start, "to": 2900})
        assert replay["end"] == 2900 and sum(len(body) for _, body in replay["messages"]) <= 1 << 20
        got += [(topic, body) for topic, body in replay["messages"]]
        start = replay["next"]
    assert got == sent[10:2900]
    assert ask(socket, {"v": 1, "ask": "replay", "from": 5000})["messages"] == []


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\xc1",
        [],
        {"v": 1},
        {"v": 2, "ask": "snapshot"},
        {"v": 1, "ask": "delete"},
        {"v": 1, "ask": "replay", "from": -1},
        {"v": 1, "ask": "replay", "from": 0, "to": "all"},
        {"v": 1, "ask": "replay", "from": 2**63},
        b"\x91" * 4000,
    ],
)
def test_a_bad_request_is_answered_and_the_next_one_too(
    asking: tuple[Daemon, zmq.Socket[bytes]], request_: Any
) -> None:
    _, socket = asking
    assert ask(socket, request_)["error"]
    assert "session" in ask(socket, {"v": 1, "ask": "snapshot"})


def test_a_request_that_is_too_large_or_has_too_many_parts_disturbs_nobody(
    asking: tuple[Daemon, zmq.Socket[bytes]], short: Path
) -> None:
    _, socket = asking
    with raw_socket(zmq.DEALER) as other:
        other.linger = 0
        other.connect(address(short, "replay"))
        other.send_multipart([b"x"] * 5000)
        assert other.poll(5000) and b"error" in other.recv_multipart()[-1]
        other.send(bytes(REQUEST_BYTES + 1))
        assert not other.poll(200)
    assert "session" in ask(socket, {"v": 1, "ask": "snapshot"})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_whatever_do_more_than_raise(parts: list[bytes]) -> None:
    for part in parts:
        with pytest.raises((ValueError, msgspec.DecodeError, RecursionError)):
            read_request(part, Request)
    if len(parts) > 1:
        with pytest.raises(EdgeError):
            read_message(parts[0], parts[1])
        with pytest.raises(EdgeError):
            read_message(b"lost/", parts[1])


def test_who_joins_ten_thousand_verdicts_late_has_them_all_within_a_second(short: Path) -> None:
    daemon = Daemon(short, "s0")
    fill(daemon.journal, 10_000, at_once=500)
    took = []
    for _ in range(3):  # the box has other things to do
        begun = time.monotonic()
        assert Subscriber(short, 0, 9_999).positions() == list(range(10_000))
        took.append(time.monotonic() - begun)
    daemon.close()
    print(f"10,000 verdicts replayed in {1000 * min(took):.0f} ms")
    assert min(took) < 1


def test_who_comes_without_a_position_begins_with_the_next_one(short: Path) -> None:
    daemon = Daemon(short, "s0")
    fill(daemon.journal, 10)
    subscriber = Subscriber(short, None, 12)
    time.sleep(0.5)
    daemon.publish(3)
    assert subscriber.positions() == [10, 11, 12]
    daemon.close()


@pytest.mark.parametrize("mode", ["durable", "fast"])
def test_gaps_are_filled_in_order_and_nothing_comes_twice(short: Path, mode: str) -> None:
    daemon = Daemon(short, "s0", mode=mode)
    subscriber = Subscriber(short, 0, 1999)
    daemon.publish(1000, seen=lambda position: position % 7 not in (2, 3))
    daemon.publish(1000, seen=lambda position: position % 100 != 50 and position != 1999)
    assert subscriber.positions() == list(range(2000))
    daemon.close()


def test_a_late_joiner_has_no_gap_while_verdicts_go_on(short: Path) -> None:
    daemon = Daemon(short, "s0")
    fill(daemon.journal, 3000, at_once=100)
    subscriber = Subscriber(short, 500, 3999)
    daemon.publish(1000)
    assert subscriber.positions() == list(range(500, 4000))
    daemon.close()


def test_a_subscriber_outlives_daemons(short: Path) -> None:
    subscriber = Subscriber(short, 0, 299)
    for session in ("s0", "s1", "s2"):
        daemon = Daemon(short, session)
        daemon.publish(100, seen=lambda position: position % 10 < 8)
        daemon.close()
    daemon = Daemon(short, "s3")
    assert subscriber.positions() == list(range(300))
    daemon.close()


def test_positions_that_a_dead_daemon_published_and_never_wrote_are_numbered_anew(short: Path) -> None:
    dead = Daemon(short, "s0")
    subscriber = Subscriber(short, 0, 5)
    dead.publish(3)
    for position in (3, 4):  # fast, and killed before they were on the disk
        dead.outlet.publish(*message(verdict(position, "s0", durable=False)))
    time.sleep(0.5)
    dead.close()
    daemon = Daemon(short, "s1")
    daemon.publish(3)
    assert subscriber.positions() == [0, 1, 2, 3, 4, 3, 4, 5]
    names = [entry.verdict_id for entry in subscriber.got if not isinstance(entry, Lost)]
    assert len(set(names)) == 8
    daemon.close()


def test_what_the_quota_deleted_or_a_disk_lost_is_said(short: Path) -> None:
    for _ in range(3):
        journal = open_journal(short / "journal")
        fill(journal, 10)
        journal.close()
    first, second, _ = segments(short / "journal")
    first.path.unlink()
    data = bytearray(second.path.read_bytes())
    data[200] ^= 1
    second.path.write_bytes(data)
    daemon = Daemon(short, "s0")
    subscriber = Subscriber(short, 0, 29)
    subscriber.join(20)
    lost = [(entry.first, entry.last) for entry in subscriber.got if isinstance(entry, Lost)]
    assert lost == [(0, 10)]
    assert [entry.journal for entry in subscriber.got if isinstance(entry, Verdict)] == list(range(11, 30))
    daemon.close()


def test_a_gap_that_the_journal_cannot_fill_is_said_after_a_second(short: Path) -> None:
    daemon = Daemon(short, "s0")
    subscriber = Subscriber(short, 0, 7)
    daemon.publish(3)
    time.sleep(0.5)
    daemon.outlet.publish(*message(verdict(7, "s0", durable=False)))
    subscriber.join(20)
    lost = [(entry.first, entry.last) for entry in subscriber.got if isinstance(entry, Lost)]
    assert lost == [(3, 6)] and len(subscriber.got) == 5
    daemon.close()


def test_watch_begins_where_it_is_told_and_ends_well(short: Path) -> None:
    daemon = Daemon(short, "s0")
    fill(daemon.journal, 20)
    addresses = ("--from", address(short, "verdicts"), "--replay", address(short, "replay"))
    process = start("watch", *addresses, "--line", LINE, "--since", 5, "--count", 15, "--json")
    code, out, err = ended(process)
    assert code == 0, err
    assert [msgspec.json.decode(row)["journal"] for row in out.splitlines()] == list(range(5, 20))
    daemon.close()


def test_since_without_replay_is_wrong_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "watch", "--from", "ipc:///tmp/none", "--since", "3"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "--replay" in done.stderr
