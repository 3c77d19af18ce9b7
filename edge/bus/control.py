"""The control socket: one request, one answer, by who may change the line while it runs.

A request is one msgpack map of at most 4 KiB, by a REQ or DEALER socket:

    {v: 1, ask: "reload", frames, seconds, disagree}  -> {v, done, said}, when it is over
    {v: 1, ask: "status"}                             -> {v, line, session, seq, config_sha256, bundles, graphs, queues}

A request that cannot be answered gets {v, error}.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import zmq

from edge.bus.curve import CurveClient
from edge.bus.guard import Guard
from edge.bus.sockets import open_socket
from edge.errors import BusError
from edge.records import MESSAGE_VERSION

log = logging.getLogger("edge")
REQUEST_BYTES = 4096
ANSWER_BYTES = 1024 * 1024
WAITING = 16
POLL_MS = 50


class Request(msgspec.Struct, frozen=True):
    ask: Literal["reload", "status"]
    v: int = MESSAGE_VERSION
    frames: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 20
    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0
    disagree: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05


class Done(msgspec.Struct, frozen=True):
    """A reload's answer: was the line changed, and what was found."""

    done: bool
    said: str
    v: int = MESSAGE_VERSION


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What runs now. seq: the next verdict's. bundles: digests, graphs: engine/device/precision, by name. queues: how
    many frames are in each."""

    v: int = MESSAGE_VERSION
    line: str
    session: str
    seq: int
    config_sha256: str
    bundles: dict[str, str]
    graphs: dict[str, str]
    queues: dict[str, int]


Kind = TypeVar("Kind", Done, Status)


class ControlService:
    """Answers in a thread of its own; several may wait for a reload at once."""

    def __init__(self, address: str, answer: Callable[[Request], Future[Any]], guard: Guard | None = None) -> None:
        """Bind. answer: what a request comes to. guard: lets in whom the line allows. Raises BusError."""
        curve = guard.curve("control") if guard else None
        self._socket = open_socket(
            zmq.ROUTER, address, bind=True, largest_part=REQUEST_BYTES, high_water=WAITING, curve=curve
        )
        self._answer, self._guard = answer, guard
        self._open: list[tuple[list[bytes], Future[Any]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close(0)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(POLL_MS):
                self._take()
            for envelope, future in [pair for pair in self._open if pair[1].done()]:
                self._open.remove((envelope, future))
                self._reply(envelope, future.result())

    def _take(self) -> None:
        first, *rest = self._socket.recv_multipart(copy=False)
        envelope = [first.bytes, *(part.bytes for part in rest[:-1])][:2]
        if self._guard and not self._guard.admits("control", str(first.get("User-Id"))):
            return
        try:
            if not rest or len(rest) > 2:
                raise ValueError("a request is one part, after an empty one at most")
            request = msgspec.msgpack.decode(rest[-1].buffer, type=Request)
            if request.v != MESSAGE_VERSION:
                raise ValueError(f"a request with v = {request.v}; this edge answers v = {MESSAGE_VERSION}")
            if len(self._open) >= WAITING:
                raise ValueError(f"{WAITING} requests wait already")
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            self._reply(envelope, {"v": MESSAGE_VERSION, "error": str(error)[:500]})
            return
        self._open.append((envelope, self._answer(request)))

    def _reply(self, envelope: list[bytes], answer: object) -> None:
        self._socket.send_multipart([*envelope, msgspec.msgpack.encode(answer)])


def ask_status(address: str, timeout_s: float, curve: CurveClient | None = None) -> Status:
    """Raises BusError where nobody answers in time, or refuses to."""
    return _ask(address, Request("status"), Status, timeout_s, curve)


def ask_reload(address: str, request: Request, timeout_s: float, curve: CurveClient | None = None) -> Done:
    """Raises BusError where nobody answers in time, or refuses to."""
    return _ask(address, request, Done, timeout_s, curve)


def _ask(address: str, request: Request, kind: type[Kind], timeout_s: float, curve: CurveClient | None) -> Kind:
    socket = open_socket(zmq.DEALER, address, bind=False, largest_part=ANSWER_BYTES, curve=curve)
    try:
        socket.send(msgspec.msgpack.encode(request))
        if not socket.poll(int(1000 * timeout_s)):
            raise BusError(
                f"{address}: no answer within {timeout_s:g} s; does the daemon run, and may this key control it?"
            )
        data = socket.recv_multipart()[-1]
    finally:
        socket.close(0)
    try:
        claims = msgspec.msgpack.decode(data)
        if isinstance(claims, dict) and "error" in claims:
            raise BusError(f"{address} answers: {claims['error']}")
        return msgspec.convert(claims, kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BusError(f"{address} does not answer as edge's control does: {error}") from error
