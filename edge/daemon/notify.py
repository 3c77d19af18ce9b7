"""What systemd is told, over the datagram socket that $NOTIFY_SOCKET names; without one, nothing (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket


def ready(text: str) -> None:
    """Start-up is over. text: what `systemctl status` shows."""
    _tell("READY=1", _status(text))


def status(text: str) -> None:
    _tell(_status(text))


def watchdog() -> None:
    """Still alive; due every `watchdog_interval()`."""
    _tell("WATCHDOG=1")


def stopping() -> None:
    _tell("STOPPING=1")


def watchdog_interval() -> float | None:
    """Seconds between two `watchdog()`: half of what systemd waits. None where it does not wait for this process."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    if not limit.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(limit) / 2e6 or None


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"  # a line break would begin the next assignment


def _tell(*assignments: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract sockets
        address = f"\0{address[1:]}"
    # A message lost is noticed by systemd's own time-outs; it must not stop the line.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(1.0)
        channel.sendto("\n".join(assignments).encode(), address)
