"""What a socket needs to know of keys (CURVE, RFC 26). A server's peers are let in by edge.bus.guard alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zmq

from edge.bus.keys import KeyPair, read_pair, read_public
from edge.errors import DataError

Domain = Literal["frames", "verdicts", "control"]
HANDSHAKE_MS = 3000  # a peer that was turned away knocks again after it


@dataclass(frozen=True, slots=True)
class CurveServer:
    """The daemon's side. domain: which list of allowed keys is asked (ZAP, RFC 27)."""

    own: KeyPair
    domain: Domain


@dataclass(frozen=True, slots=True)
class CurveClient:
    """A camera's or a subscriber's side. server: the daemon's public key in Z85, so that none can take its place."""

    own: KeyPair
    server: bytes


Curve = CurveServer | CurveClient


def client_keys(key: Path | None, server_key: Path | None) -> CurveClient | None:
    """key: the peer's own secret file. server_key: the daemon's public one. None: both, for a line without keys.

    Raises DataError naming the file, or the half that is missing.
    """
    if key is None and server_key is None:
        return None
    if key is None or server_key is None:
        raise DataError("give --key and --server-key both: the peer's own secret key and the daemon's public one")
    return CurveClient(read_pair(key), read_public(server_key))


def secure(socket: zmq.Socket[bytes], curve: Curve) -> None:
    """Before the socket is bound or connected."""
    socket.curve_publickey, socket.curve_secretkey = curve.own
    if isinstance(curve, CurveClient):
        socket.curve_serverkey = curve.server
        return
    socket.curve_server = True
    socket.set(zmq.ZAP_DOMAIN, curve.domain.encode())
    socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without it, a socket that nobody guards lets every key in
    socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
