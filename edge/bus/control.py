"""The control socket: one request, one answer, by who may change the line while it runs.

Requests, as edge.bus.service takes them:

    {v: 1, ask: "reload", frames, seconds, disagree}  -> {v, done, said}, when it is over
    {v: 1, ask: "status"}                             -> {v, line, session, seq, config_sha256, bundles, graphs, queues}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import zmq

from edge.bus.curve import CurveClient
from edge.bus.guard import Guard
from edge.bus.service import Service, read_answer, read_request
from edge.bus.sockets import open_socket
from edge.errors import BusError
from edge.records import MESSAGE_VERSION

ANSWER_BYTES = 1024 * 1024


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


def open_service(address: str, answer: Callable[[Request], Any], guard: Guard | None = None) -> Service:
    """answer: what a request comes to, or a Future of it. Raises BusError."""
    return Service("control", address, "control", lambda data: answer(read_request(data, Request)), guard)


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
    return read_answer(address, data, kind)
