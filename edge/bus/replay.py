"""Snapshots and replays of the journal over a ROUTER socket: for who comes late, reconnects or missed something.

A request is one msgpack map of at most 4 KiB, by a REQ or DEALER socket:

    {v: 1, ask: "snapshot"}                   -> {v, line, session, first, next, state}
    {v: 1, ask: "replay", from: 17, to: 40}   -> {v, line, first, next, end, messages: [[topic, body], ...]}

first: the oldest position that is kept. Of a snapshot `next` is the first position that is not durable yet. Of a replay
`next` is where to ask on, up to `end`; a body is what was published, byte for byte. A request that cannot be answered
gets {v, error}.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgpack
import msgspec
import zmq

from edge.bus.guard import Guard
from edge.bus.sockets import open_socket
from edge.errors import EdgeError
from edge.journal.entries import JournalState
from edge.journal.reader import Reader
from edge.records import MESSAGE_VERSION

log = logging.getLogger("edge")
REQUEST_BYTES = 4096
REPLY_BYTES = 1024 * 1024
ENVELOPE = 3  # who asks, an empty part where it is a REQ socket, the request
WAITING = 16  # replies to one who does not read them; more are dropped
POLL_MS = 100

Position = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class Request(msgspec.Struct, frozen=True):
    ask: Literal["snapshot", "replay"]
    v: int = MESSAGE_VERSION
    start: Position = msgspec.field(name="from", default=0)
    to: Position | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """session: the daemon's. first, next: the positions that can be replayed, `next` not among them."""

    v: int = MESSAGE_VERSION
    line: str
    session: str
    first: int
    next: int
    state: JournalState


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """messages: topic and body. next: where to ask on; `end` where there is no more."""

    v: int = MESSAGE_VERSION
    line: str
    first: int
    next: int
    end: int
    messages: list[tuple[bytes, bytes]]


class ReplayService:
    """Answers in a thread of its own, out of what is durable alone."""

    def __init__(
        self,
        address: str,
        reader: Reader,
        session: str,
        state: Callable[[], JournalState],
        guard: Guard | None = None,
    ) -> None:
        """Bind. state: of the journal, now. guard: lets in whom the line allows to subscribe; None: everyone.

        Raises BusError."""
        curve = guard.curve("verdicts") if guard else None
        self._socket = open_socket(
            zmq.ROUTER, address, bind=True, largest_part=REQUEST_BYTES, high_water=WAITING, curve=curve
        )
        self._reader, self._guard = reader, guard
        self._session = session
        self._state = state
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close(0)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(POLL_MS):
                parts = self._receive()
                if not parts:
                    continue
                reply = msgspec.msgpack.encode(self._answer(parts))
                self._socket.send_multipart([*parts[: max(1, min(len(parts), ENVELOPE) - 1)], reply])

    def _receive(self) -> list[bytes]:
        """Parts after the fourth are dropped unread; the fourth is kept as evidence. Nothing, where the key of who asks
        was revoked."""
        first = self._socket.recv(copy=False)
        parts = [first.bytes]
        while self._socket.get(zmq.RCVMORE):
            part = self._socket.recv()
            if len(parts) <= ENVELOPE:
                parts.append(part)
        if self._guard and not self._guard.admits("verdicts", str(first.get("User-Id"))):
            return []
        return parts

    def _answer(self, parts: list[bytes]) -> Any:
        try:
            request = read_request(parts)
            if request.ask == "snapshot":
                return self._snapshot()
            return self._replay(request)
        except (ValueError, msgpack.UnpackException, EdgeError) as error:
            return {"v": MESSAGE_VERSION, "error": (str(error) or type(error).__name__)[:500]}

    def _snapshot(self) -> Snapshot:
        state = self._state()
        return Snapshot(
            line=state.line, session=self._session, first=self._reader.first, next=state.durable, state=state
        )

    def _replay(self, request: Request) -> Replay:
        state = self._state()
        end = state.durable if request.to is None else min(request.to, state.durable)
        batch = self._reader.batch(request.start, end, REPLY_BYTES)
        messages = [(record.topic, record.body) for record in batch.records]
        return Replay(line=state.line, first=self._reader.first, next=batch.next, end=end, messages=messages)


def read_request(parts: list[bytes]) -> Request:
    """parts: who asks, perhaps an empty one, the request. Raises ValueError or msgpack's for anything else."""
    if len(parts) not in (2, ENVELOPE) or (len(parts) == ENVELOPE and parts[1]):
        raise ValueError("a request is one part, after an empty one at most")
    claims = msgpack.unpackb(parts[-1], max_str_len=64, max_bin_len=64, max_array_len=16, max_map_len=16, max_ext_len=0)
    request = msgspec.convert(claims, Request)
    if request.v != MESSAGE_VERSION:
        raise ValueError(f"a request with v = {request.v}; this edge answers v = {MESSAGE_VERSION}")
    return request
