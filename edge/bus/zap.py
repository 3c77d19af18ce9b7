"""ZeroMQ's question who may come in, and its answer, as plain data (ZAP, RFC 27)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zmq.utils import z85

ADDRESS = "inproc://zeromq.zap.01"
VERSION = b"1.0"


@dataclass(frozen=True, slots=True)
class Request:
    """key: the peer's public one in Z85; empty where it comes without CURVE. address: of a tcp peer."""

    number: bytes
    domain: str
    address: str
    key: str


def read_request(parts: Sequence[bytes]) -> Request | None:
    """None where it is not a request of version 1.0, which ZeroMQ itself never sends."""
    if len(parts) < 6 or parts[0] != VERSION:
        return None
    _, number, domain, address, _, mechanism, *credentials = parts
    curve = mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == 32
    key = z85.encode(credentials[0]).decode() if curve else ""
    return Request(number, domain.decode("utf-8", "replace"), address.decode("utf-8", "replace"), key)


def yes(request: Request) -> list[bytes]:
    """The key becomes the connection's `User-Id`, which each of its messages brings along."""
    return [VERSION, request.number, b"200", b"OK", request.key.encode(), b""]


def no(request: Request) -> list[bytes]:
    """300 says not now: the peer knocks again by itself, so that a key which is allowed later needs no restart."""
    return [VERSION, request.number, b"300", b"no access", b"", b""]
