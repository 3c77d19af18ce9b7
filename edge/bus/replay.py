"""Snapshots and replays of the journal over a ROUTER socket: for who comes late, reconnects or missed something.

Requests, as edge.bus.service takes them:

    {v: 1, ask: "snapshot"}                   -> {v, line, session, first, next, state}
    {v: 1, ask: "replay", from: 17, to: 40}   -> {v, line, first, next, end, messages: [[topic, body], ...]}

first: the oldest position that is kept. Of a snapshot `next` is the first position that is not durable yet. Of a replay
`next` is where to ask on, up to `end`; a body is what was published, byte for byte. A request that cannot be answered
gets {v, error}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from edge.bus.guard import Guard
from edge.bus.service import Service, read_request
from edge.journal.entries import JournalState
from edge.journal.reader import Reader
from edge.records import MESSAGE_VERSION

REPLY_BYTES = 1024 * 1024

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
    """Answers out of what is durable alone."""

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
        self._reader, self._session, self._state = reader, session, state
        self._service = Service("replay", address, "verdicts", self._answer, guard)
        self.thread = self._service.thread

    def close(self) -> None:
        self._service.close()

    def _answer(self, data: bytes) -> Snapshot | Replay:
        request = read_request(data, Request)
        return self._snapshot() if request.ask == "snapshot" else self._replay(request)

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
