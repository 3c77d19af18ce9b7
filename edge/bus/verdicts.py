"""The verdict message, and the reference subscriber that checks sequence and age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgpack
import msgspec
import zmq

from edge.bus.curve import CurveClient
from edge.bus.guard import Guard
from edge.bus.sockets import open_anew, open_socket
from edge.errors import BusError
from edge.journal.entries import JournalState, state_topic
from edge.records import MESSAGE_VERSION, Alarm, PartVerdict, Verdict

Kind = TypeVar("Kind", Verdict, PartVerdict, Alarm, JournalState)

KINDS = "verdict", "part", "alarm"  # of topics; the journal's state is one more
VERDICT_BYTES = 4 * 1024 * 1024
HIGH_WATER = 100_000
UNREAD = 5_000  # for each subscriber; what twenty that stall may keep of the daemon's memory hangs on it


def verdict_topic(verdict: Verdict) -> bytes:
    return f"verdict/{verdict.line}/{verdict.surface or '-'}/{verdict.evaluation}".encode()


def part_topic(verdict: PartVerdict) -> bytes:
    return f"part/{verdict.line}/{verdict.surface or '-'}/{verdict.evaluation}".encode()


def alarm_topic(alarm: Alarm) -> bytes:
    return f"alarm/{alarm.line}/{alarm.camera}".encode()


def message(told: Verdict | PartVerdict | Alarm | JournalState) -> tuple[bytes, bytes]:
    """Topic and body, as they go out and as the journal keeps them."""
    match told:
        case Verdict():
            topic = verdict_topic(told)
        case PartVerdict():
            topic = part_topic(told)
        case Alarm():
            topic = alarm_topic(told)
        case JournalState():
            topic = state_topic(told)
    return topic, msgspec.msgpack.encode(told)


class VerdictOutlet:
    """Where the daemon publishes. It never waits: a subscriber that stalls sees the gap in `seq`."""

    def __init__(self, address: str, guard: Guard | None = None) -> None:
        """Bind. guard: lets in whom the line allows; None: everyone. Raises BusError."""
        curve = guard.curve("verdicts") if guard else None
        self._socket = open_socket(zmq.PUB, address, bind=True, high_water=UNREAD, curve=curve)
        self._guard, self._revocations = guard, guard.revocations("verdicts") if guard else 0

    def publish(self, topic: bytes, body: bytes) -> None:
        """What `message` makes."""
        self._socket.send_multipart([topic, body])

    def close(self) -> None:
        self._socket.close()

    def shut_out_revoked(self) -> None:
        """ZeroMQ asks for a key at the door alone: all have to knock again where one was taken away, and miss what is
        sent meanwhile, for some 100 ms."""
        if self._guard and self._guard.revocations("verdicts") != self._revocations:
            self._revocations = self._guard.revocations("verdicts")
            self._socket = open_anew(self._socket, high_water=UNREAD, curve=self._guard.curve("verdicts"))


class VerdictInlet:
    """Where a subscriber that also does other things takes a line's frame verdicts off the bus."""

    def __init__(self, address: str, line: str, curve: CurveClient | None = None) -> None:
        """Connect. Raises BusError."""
        self._socket = _subscriber(address, curve)
        self._socket.subscribe(f"verdict/{line}/")

    def poll(self, milliseconds: int) -> bool:
        return bool(self._socket.poll(milliseconds))

    def receive(self) -> Verdict:
        """Waits for one. Raises BusError where it is none."""
        return read_verdict(self.receive_unread())

    def receive_unread(self) -> bytes:
        """The next verdict's bytes, not read yet, so that one may take the time first."""
        return self._socket.recv_multipart()[-1]

    def close(self) -> None:
        self._socket.close(0)


def read_verdict(data: bytes) -> Verdict:
    """Raises BusError naming the field."""
    return _read(data, Verdict)


def read_part(data: bytes) -> PartVerdict:
    """Raises BusError naming the field."""
    return _read(data, PartVerdict)


def read_alarm(data: bytes) -> Alarm:
    """Raises BusError naming the field."""
    return _read(data, Alarm)


def read_state(data: bytes) -> JournalState:
    """Raises BusError naming the field."""
    return _read(data, JournalState)


def read_published(topic: bytes, body: bytes) -> Verdict | PartVerdict | Alarm:
    """A message of one of KINDS. Raises BusError naming the field."""
    if topic.startswith(b"alarm/"):
        return read_alarm(body)
    return read_part(body) if topic.startswith(b"part/") else read_verdict(body)


def _read(data: bytes, kind: type[Kind]) -> Kind:
    try:
        claims = msgpack.unpackb(data, max_str_len=4096, max_array_len=65536, max_map_len=256, max_ext_len=0)
        verdict = msgspec.convert(claims, kind)
    except (ValueError, msgpack.UnpackException, msgspec.ValidationError) as error:
        raise BusError(f"not a verdict of edge: {error or type(error).__name__}") from error
    if verdict.v != MESSAGE_VERSION:
        raise BusError(f"a verdict with v = {verdict.v}; this subscriber reads v = {MESSAGE_VERSION}")
    return verdict


@dataclass
class Continuity:
    """Have all verdicts of a daemon's session come? `lost` and `repeated` count over all sessions."""

    lost: int = 0
    repeated: int = 0
    restarts: int = 0
    _next: dict[str, int] = field(default_factory=dict)

    def check(self, verdict: Verdict | PartVerdict) -> int:
        """How many verdicts are missing just before this one; the first of a session is a start, not a gap."""
        expected = self._next.get(verdict.session)
        self._next[verdict.session] = max(verdict.seq + 1, expected or 0)
        if expected is None:
            self.restarts += len(self._next) > 1
            return 0
        if verdict.seq < expected:
            self.repeated += 1
            return 0
        missing = verdict.seq - expected
        self.lost += missing
        return missing

    def doubts(self, verdict: Verdict | PartVerdict, max_age_ms: float | None) -> list[str]:
        """As `check`, in sentences; an older one than `max_age_ms` is told too, None: however old it is."""
        repeated, missing, age = self.repeated, self.check(verdict), age_ms(verdict)
        told = [f"{verdict.verdict_id} came again"] if self.repeated > repeated else []
        told += [f"{missing} verdicts lost before {verdict.verdict_id}"] if missing else []
        old = max_age_ms is not None and age > max_age_ms
        return told + ([f"{verdict.verdict_id} is {age:.0f} ms old"] if old else [])


def age_ms(verdict: Verdict | PartVerdict) -> float:
    """Milliseconds since the verdict was made, by this box's clock."""
    return (time.time_ns() - verdict.t_verdict_ns) / 1e6


def _subscriber(address: str, curve: CurveClient | None) -> zmq.Socket[bytes]:
    return open_socket(zmq.SUB, address, bind=False, largest_part=VERDICT_BYTES, high_water=HIGH_WATER, curve=curve)


def subscribe(
    address: str, line: str = "", timeout_s: float | None = None, curve: CurveClient | None = None
) -> Iterator[Verdict | None]:
    """Verdicts as they come; None once a second while none does, and the end after `timeout_s` of silence."""
    for message in _messages(address, ("verdict",), line, timeout_s, curve):
        yield read_verdict(message[-1]) if message else None


def subscribe_all(
    address: str, line: str = "", timeout_s: float | None = None, curve: CurveClient | None = None
) -> Iterator[Verdict | PartVerdict | Alarm | None]:
    """As `subscribe`, the part verdicts and alarms too, in the order of the daemon."""
    for message in _messages(address, KINDS, line, timeout_s, curve):
        yield read_published(*message) if message else None


def _messages(
    address: str, kinds: tuple[str, ...], line: str, timeout_s: float | None, curve: CurveClient | None
) -> Iterator[list[bytes]]:
    """Topic and body; an empty list once a second while none comes."""
    socket = _subscriber(address, curve)
    for kind in kinds:
        socket.subscribe(f"{kind}/{line}/" if line else f"{kind}/")
    last = time.monotonic()
    try:
        while timeout_s is None or time.monotonic() - last < timeout_s:
            if socket.poll(int(1000 * min(1.0, timeout_s or 1.0))):
                message = socket.recv_multipart()
                last = time.monotonic()
                yield message
            else:
                yield []
    finally:
        socket.close(0)
