"""Where a socket's address leads: to this box alone, or to a network."""

from __future__ import annotations

from ipaddress import ip_address

ON_THE_BOX = ("ipc://", "inproc://")
TCP = "tcp://"


def is_address(address: str) -> bool:
    """Of a kind that a line listens on."""
    return address.startswith((*ON_THE_BOX, TCP))


def is_local(address: str) -> bool:
    """Whether only this box reaches it: ipc, inproc, or tcp on 127.0.0.0/8, [::1] or localhost."""
    if address.startswith(ON_THE_BOX):
        return True
    host = address.removeprefix(TCP).rpartition(":")[0] if address.startswith(TCP) else ""
    if host == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False  # a wildcard, an interface or a name that some resolver knows
