"""A ROUTER socket that answers requests in a thread of its own, and how an answer is read at the other end.

A request is one msgpack map of at most 4 KiB, by a REQ or DEALER socket; one that cannot be answered gets {v, error}.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
import zmq

from edge.bus.curve import Domain
from edge.bus.guard import Guard
from edge.bus.sockets import open_socket
from edge.errors import BusError, EdgeError
from edge.records import MESSAGE_VERSION

REQUEST_BYTES = 4096
ENVELOPE = 3  # who asks, an empty part where it is a REQ socket, the request
WAITING = 16  # replies to one who does not read them, and requests whose answer takes its time; more are dropped
POLL_MS = 50

Kind = TypeVar("Kind", bound=msgspec.Struct)


class Service:
    """answer: what a request's bytes come to, or a Future of it; may raise EdgeError, and as `read_request`. thread:
    where it answers; it ends with `close`."""

    def __init__(
        self, name: str, address: str, domain: Domain, answer: Callable[[bytes], Any], guard: Guard | None = None
    ) -> None:
        """Bind. guard: lets in whom the line allows; None: everyone. Raises BusError."""
        curve = guard.curve(domain) if guard else None
        self._socket = open_socket(
            zmq.ROUTER, address, bind=True, largest_part=REQUEST_BYTES, high_water=WAITING, curve=curve
        )
        self._domain, self._answer, self._guard = domain, answer, guard
        self._open: list[tuple[list[bytes], Future[Any]]] = []
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self._stop.set()
        self.thread.join()
        self._socket.close(0)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(POLL_MS):
                self._take()
            for envelope, future in [pair for pair in self._open if pair[1].done()]:
                self._open.remove((envelope, future))
                self._reply(envelope, future.result())

    def _take(self) -> None:
        parts = self._receive()
        if not parts:
            return
        envelope = parts[: max(1, min(len(parts), ENVELOPE) - 1)]
        try:
            answer = self._answered(parts)
        except (ValueError, msgspec.DecodeError, RecursionError, EdgeError) as error:
            answer = {"v": MESSAGE_VERSION, "error": (str(error) or type(error).__name__)[:500]}
        if isinstance(answer, Future):
            self._open.append((envelope, answer))
        else:
            self._reply(envelope, answer)

    def _answered(self, parts: list[bytes]) -> Any:
        if len(parts) not in (2, ENVELOPE) or (len(parts) == ENVELOPE and parts[1]):
            raise ValueError("a request is one part, after an empty one at most")
        if len(self._open) >= WAITING:
            raise ValueError(f"{WAITING} requests wait already")
        return self._answer(parts[-1])

    def _receive(self) -> list[bytes]:
        """Parts after the fourth are dropped unread; the fourth is kept as evidence. Nothing, where the key of who asks
        was revoked."""
        first = self._socket.recv(copy=False)
        parts = [first.bytes]
        while self._socket.get(zmq.RCVMORE):
            part = self._socket.recv()
            if len(parts) <= ENVELOPE:
                parts.append(part)
        if self._guard and not self._guard.admits(self._domain, str(first.get("User-Id"))):
            return []
        return parts

    def _reply(self, envelope: list[bytes], answer: object) -> None:
        self._socket.send_multipart([*envelope, msgspec.msgpack.encode(answer)])


def read_request(data: bytes, kind: type[Kind]) -> Kind:
    """kind: has the message's version as `v`. Raises ValueError, msgspec.DecodeError, RecursionError."""
    request = msgspec.msgpack.decode(data, type=kind)
    version = getattr(request, "v", None)
    if version != MESSAGE_VERSION:
        raise ValueError(f"a request with v = {version}; this edge answers v = {MESSAGE_VERSION}")
    return request


def read_answer(address: str, data: bytes, kind: type[Kind]) -> Kind:
    """Raises BusError where it is an error, or none of this kind."""
    try:
        claims = msgspec.msgpack.decode(data)
        if isinstance(claims, dict) and "error" in claims:
            raise BusError(f"{address} answers: {claims['error']}")
        return msgspec.convert(claims, kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BusError(f"{address} does not answer as edge does: {error}") from error
