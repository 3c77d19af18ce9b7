"""The subscriber that misses nothing: live verdicts, and replays of the journal wherever one is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

import msgpack
import msgspec
import zmq

from edge.bus.curve import CurveClient
from edge.bus.replay import REPLY_BYTES, Replay, Snapshot
from edge.bus.service import read_answer
from edge.bus.sockets import open_socket
from edge.bus.verdicts import KINDS, VERDICT_BYTES, read_part, read_published, read_verdict
from edge.errors import BusError
from edge.journal.entries import Lost
from edge.records import MESSAGE_VERSION, Alarm, PartVerdict, Verdict

Answer = TypeVar("Answer", Snapshot, Replay)
Published = Verdict | PartVerdict

QUIET_MS = 250  # after so long without a verdict it asks whether it missed one
ANSWER_MS = 1000
SETTLE_S = 1.0  # a verdict published fast is in the journal well within this time
LARGEST_REPLY = REPLY_BYTES + 2 * VERDICT_BYTES


class Asker:
    """One request at a time. After silence it begins with a new socket, so that no late answer is taken for another."""

    def __init__(self, address: str, curve: CurveClient | None = None) -> None:
        """Connect. Raises BusError."""
        self._address, self._curve = address, curve
        self._socket = self._open()

    def snapshot(self) -> Snapshot | None:
        """None where nobody answers. Raises BusError where the answer is none."""
        return self._ask({"v": MESSAGE_VERSION, "ask": "snapshot"}, Snapshot)

    def replay(self, start: int, to: int) -> Replay | None:
        """None where nobody answers. Raises BusError where the answer is none."""
        return self._ask({"v": MESSAGE_VERSION, "ask": "replay", "from": start, "to": to}, Replay)

    def close(self) -> None:
        self._socket.close(0)

    def _open(self) -> zmq.Socket[bytes]:
        return open_socket(
            zmq.DEALER, self._address, bind=False, largest_part=LARGEST_REPLY, high_water=16, curve=self._curve
        )

    def _ask(self, request: dict[str, object], kind: type[Answer]) -> Answer | None:
        self._socket.send(msgpack.packb(request))
        if not self._socket.poll(ANSWER_MS):
            self._socket.close(0)
            self._socket = self._open()
            return None
        data = self._socket.recv_multipart()[-1]
        return read_answer(self._address, data, kind)


class Follower:
    """What is expected next: a position of the daemon's session. Positions that were not durable when a daemon died are
    numbered anew by the next one, so a new session may take back where to go on."""

    def __init__(self, asker: Asker, since: int | None) -> None:
        self.asker = asker
        self.session = ""
        self.expected = since
        self.answered = True  # the last request was

    def look(self) -> Iterator[Published | Lost]:
        """Ask where the journal is, and fetch what is missing up to there; nothing where nobody answers."""
        snapshot = self.asker.snapshot()
        if snapshot is None:
            return
        if not self.session:
            now = snapshot.next if snapshot.state.writing else snapshot.state.next
            self.expected = now if self.expected is None else min(self.expected, now)
        if self.session not in ("", snapshot.session) and self.expected is not None:
            self.expected = min(self.expected, snapshot.state.began)
        self.session = snapshot.session
        yield from self.fetch(snapshot.next)

    def live(self, verdict: Published | Alarm) -> Iterator[Published | Alarm | Lost | None]:
        """It, after whatever is missing before it; nothing where it came already. No journal keeps an alarm."""
        if isinstance(verdict, Alarm) or verdict.journal is None:
            yield verdict
            return
        if verdict.session != self.session:
            yield from self.look()
        if self.expected is None or verdict.session != self.session:
            return  # of a daemon that is gone, or is not there yet: it comes by a replay
        yield from self.settle(verdict.journal)
        if verdict.journal == self.expected:
            self.expected += 1
            yield verdict

    def settle(self, position: int) -> Iterator[Published | Lost | None]:
        """All before `position`; what is not in the journal after a second is lost. None while nobody answers."""
        give_up = time.monotonic() + SETTLE_S
        while self.expected is not None and self.expected < position:
            before = self.expected
            yield from self.fetch(position)
            if self.expected >= position:
                return
            if not self.answered:
                yield None
            if self.expected > before or not self.answered:
                give_up = time.monotonic() + SETTLE_S
            elif time.monotonic() > give_up:
                yield from self._lost(position, "published, and not to be found in the journal")
            else:
                time.sleep(0.01)

    def fetch(self, stop: int) -> Iterator[Published | Lost]:
        """Replays from what is expected to before `stop`, as far as the journal has it."""
        while self.expected is not None and self.expected < stop:
            replay = self.asker.replay(self.expected, stop)
            self.answered = replay is not None
            if replay is None or replay.end <= self.expected:
                return
            for topic, body in replay.messages:
                yield from self._replayed(topic, body)
            if self.expected < min(replay.next, replay.end):
                why = "deleted by the quota" if self.expected < replay.first else "damaged in the journal"
                yield from self._lost(min(replay.next, replay.end), why)

    def _replayed(self, topic: bytes, body: bytes) -> Iterator[Published | Lost]:
        entry = read_message(topic, body)
        first, after = (entry.first, entry.last + 1) if isinstance(entry, Lost) else (entry.journal, None)
        if self.expected is None or first is None or (after or first + 1) <= self.expected:
            return
        if first > self.expected:
            yield from self._lost(first, "deleted by the quota, or damaged in the journal")
        self.expected = after or first + 1
        yield entry

    def _lost(self, stop: int, why: str) -> Iterator[Lost]:
        if self.expected is not None:
            first, self.expected = self.expected, stop
            yield Lost(line="", first=first, last=stop - 1, why=why)


def follow(
    verdicts: str,
    replay: str,
    line: str,
    since: int | None = None,
    timeout_s: float | None = None,
    curve: CurveClient | None = None,
) -> Iterator[Published | Alarm | Lost | None]:
    """Every verdict of a line once, in the order of its journal: from position `since` on, or from now. Alarms as they
    come.

    verdicts, replay: the line's addresses. None about once a second while none comes; Lost where some can be read no
    more; the end after `timeout_s` of silence. curve: the keys of a line with [security]. Raises BusError.
    """
    socket = open_socket(zmq.SUB, verdicts, bind=False, largest_part=VERDICT_BYTES, high_water=100_000, curve=curve)
    for kind in KINDS:
        socket.subscribe(f"{kind}/{line}/")
    follower = Follower(Asker(replay, curve), since)
    last = idle = time.monotonic()
    try:
        while timeout_s is None or time.monotonic() - last < timeout_s:
            topic, body = socket.recv_multipart() if follower.session and socket.poll(QUIET_MS) else (b"", b"")
            for entry in follower.live(read_published(topic, body)) if topic else follower.look():
                yield entry
                idle = time.monotonic()
                last = last if entry is None else idle
            if time.monotonic() - idle >= 1:
                idle = time.monotonic()
                yield None
    finally:
        socket.close(0)
        follower.asker.close()


def read_message(topic: bytes, body: bytes) -> Published | Lost:
    """Raises BusError where it is none."""
    if not topic.startswith(b"lost/"):
        return _published(topic, body)
    try:
        return msgspec.convert(msgpack.unpackb(body, max_str_len=4096, max_map_len=64, max_ext_len=0), Lost)
    except (ValueError, msgpack.UnpackException) as error:
        raise BusError(f"not a record of edge: {error}") from error


def _published(topic: bytes, body: bytes) -> Published:
    return read_part(body) if topic.startswith(b"part/") else read_verdict(body)
