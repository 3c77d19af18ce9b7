"""Opening sockets, and what goes wrong when one does."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import zmq

from edge.bus.curve import Curve, secure
from edge.errors import BusError

IPC = "ipc://"
LINGER_MS = 1000
REBIND_S = 2.0


def open_socket(
    kind: int,
    address: str,
    *,
    bind: bool,
    largest_part: int = -1,
    high_water: int = 1000,
    curve: Curve | None = None,
) -> zmq.Socket[bytes]:
    """Bind or connect. largest_part: bytes; a peer that sends more is cut off. curve: the keys, or none: in plain.

    Raises BusError naming the address.
    """
    socket = _unconnected(kind, largest_part, high_water, curve)
    try:
        if bind:
            _prepare_ipc(address)
            socket.bind(address)
        else:
            socket.connect(address)
    except (zmq.ZMQError, OSError) as error:
        socket.close(0)
        raise BusError(_explain(address, bind, error)) from error
    return socket


def open_anew(old: zmq.Socket[bytes], *, high_water: int, curve: Curve) -> zmq.Socket[bytes]:
    """A bound publisher once more, every connection of the old one cut off; whoever is still allowed comes back by
    itself within a moment. Raises BusError."""
    address = str(old.get_string(zmq.LAST_ENDPOINT))
    socket = _unconnected(zmq.PUB, -1, high_water, curve)
    old.close(0)
    ends = time.monotonic() + REBIND_S
    while True:
        try:
            socket.bind(address)
            return socket
        except zmq.ZMQError as error:  # the old one is closed in another thread
            if time.monotonic() > ends:
                socket.close(0)
                raise BusError(_explain(address, True, error)) from error
            time.sleep(0.001)


def _unconnected(kind: int, largest_part: int, high_water: int, curve: Curve | None) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.linger = LINGER_MS
    socket.set(zmq.MAXMSGSIZE, largest_part)
    socket.set_hwm(high_water)
    if curve:
        secure(socket, curve)
    return socket


def _prepare_ipc(address: str) -> None:
    """ZeroMQ takes a bound ipc path away from its owner without a word: a lock beside it keeps a second daemon out."""
    if not address.startswith(IPC):
        return
    path = Path(address.removeprefix(IPC))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    _LOCKS.append(lock)


_LOCKS: list[int] = []  # held until the process ends


def _explain(address: str, bind: bool, error: zmq.ZMQError | OSError) -> str:
    taken = isinstance(error, BlockingIOError) or getattr(error, "errno", None) == zmq.EADDRINUSE
    if taken:
        return f"{address} is in use; is another edge running on it? Stop it, or give this line its own address"
    verb = "bind" if bind else "connect to"
    return f"cannot {verb} {address}: {error}; write ipc:///folder/name or tcp://127.0.0.1:port"
