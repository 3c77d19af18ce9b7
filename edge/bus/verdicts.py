"""The verdict message, and the reference subscriber that checks sequence and age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgpack
import msgspec
import zmq

from edge.bus.sockets import open_socket
from edge.errors import BusError
from edge.records import MESSAGE_VERSION, Verdict

VERDICT_BYTES = 4 * 1024 * 1024


def verdict_topic(verdict: Verdict) -> bytes:
    return f"verdict/{verdict.line}/{verdict.surface or '-'}/{verdict.evaluation}".encode()


class VerdictOutlet:
    """Where the daemon publishes. It never waits: a subscriber that stalls sees the gap in `seq`."""

    def __init__(self, address: str) -> None:
        """Bind. Raises BusError."""
        self._socket = open_socket(zmq.PUB, address, bind=True, high_water=100_000)

    def send(self, verdict: Verdict) -> None:
        self._socket.send_multipart([verdict_topic(verdict), msgspec.msgpack.encode(verdict)])

    def close(self) -> None:
        self._socket.close()


def read_verdict(data: bytes) -> Verdict:
    """Raises BusError naming the field."""
    try:
        claims = msgpack.unpackb(data, max_str_len=4096, max_array_len=65536, max_map_len=256, max_ext_len=0)
        verdict = msgspec.convert(claims, Verdict)
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

    def check(self, verdict: Verdict) -> int:
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


def age_ms(verdict: Verdict) -> float:
    """Milliseconds since the verdict was made, by this box's clock."""
    return (time.time_ns() - verdict.t_verdict_ns) / 1e6


def subscribe(address: str, line: str = "", timeout_s: float | None = None) -> Iterator[Verdict | None]:
    """Verdicts as they come; None once a second while none does, and the end after `timeout_s` of silence."""
    socket = open_socket(zmq.SUB, address, bind=False, largest_part=VERDICT_BYTES, high_water=100_000)
    socket.subscribe(f"verdict/{line}/" if line else "verdict/")
    last = time.monotonic()
    try:
        while timeout_s is None or time.monotonic() - last < timeout_s:
            if socket.poll(int(1000 * min(1.0, timeout_s or 1.0))):
                parts = socket.recv_multipart()
                last = time.monotonic()
                yield read_verdict(parts[-1])
            else:
                yield None
    finally:
        socket.close(0)
