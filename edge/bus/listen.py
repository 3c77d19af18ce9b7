"""What a subscriber hears of a line in a few seconds, whatever is published."""

from __future__ import annotations

import time
from dataclasses import dataclass

import zmq

from edge.bus.curve import CurveClient
from edge.bus.sockets import open_socket
from edge.bus.verdicts import HIGH_WATER, VERDICT_BYTES, read_state, read_verdict
from edge.journal.entries import JournalState
from edge.records import Verdict

KINDS = ("journal", "verdict", "part", "alarm")


@dataclass
class Heard:
    """messages: how many. state, verdict: the last of each; None where none came."""

    messages: int = 0
    state: JournalState | None = None
    verdict: Verdict | None = None


def listen(address: str, line: str, seconds: float, curve: CurveClient | None = None) -> Heard:
    """Raises BusError where the address is none, or what is said there is not edge's."""
    socket = open_socket(zmq.SUB, address, bind=False, largest_part=VERDICT_BYTES, high_water=HIGH_WATER, curve=curve)
    for kind in KINDS:
        socket.subscribe(f"{kind}/{line}/")
    heard, ends = Heard(), time.monotonic() + seconds
    try:
        while (left := ends - time.monotonic()) > 0:
            if not socket.poll(int(1000 * left) + 1):
                break
            topic, body = socket.recv_multipart()[:2]
            heard.messages += 1
            if topic.startswith(b"journal/"):
                heard.state = read_state(body)
            elif topic.startswith(b"verdict/"):
                heard.verdict = read_verdict(body)
    finally:
        socket.close(0)
    return heard
