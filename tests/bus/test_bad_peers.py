"""Real sockets: whatever one peer sends, every frame of a good camera comes through, in its order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq

from edge.bus.camera import Camera
from edge.bus.frames import FrameInlet, frame_topic
from edge.bus.sockets import open_socket
from edge.config import Limits

FRAMES = 200
GOOD = np.full((64, 64), 51, np.uint8)
LIMITS = Limits(frame_bytes=100_000)


class Taker(threading.Thread):
    """The daemon's part: takes messages off the inlet until it is told to stop: libzmq aborts a process now and then
    that closes its publishers as the other end goes (its issue 3442)."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.good, self.other, self.stopping = list[bytes](), 0, threading.Event()
        self._address, self.bound = address, threading.Event()

    def run(self) -> None:
        with closing(FrameInlet(self._address, LIMITS)) as inlet:
            inlet.open("l")
            self.bound.set()
            while not self.stopping.is_set():
                if not inlet.poll(50):
                    continue
                parts = inlet.receive()
                if bytes(parts[0]) == frame_topic("l", "good"):
                    self.good.append(bytes(parts[1]))
                else:
                    self.other += 1


Evil = Callable[[zmq.Socket[bytes]], object]
EVILS: dict[str, Evil] = {
    "parts over the limit": lambda s: s.send_multipart([frame_topic("l", "evil"), b"", bytes(200_000)]),
    "garbage": lambda s: s.send_multipart([frame_topic("l", "evil") + bytes(range(256)), b"\xc1" * 4096, b"\xff"]),
    "ten thousand topics": lambda s: [s.send_multipart([b"frame/l/%d" % n, b"", b""]) for n in range(10_000)],
    "two hundred parts": lambda s: s.send_multipart([frame_topic("l", "evil"), *[b"x" * 1000] * 199]),
    "a flood": lambda s: [s.send_multipart([frame_topic("l", "evil"), b"x", b"y"]) for _ in range(1000)],
    "a flood of what nobody asked for": lambda s: [s.send(b"other") for _ in range(1000)],
}


@contextmanager
def nuisance(address: str, evil: Evil) -> Iterator[None]:
    """Two peers that do it again and again, in a thread of their own, whether they are cut off or not."""
    stopping = threading.Event()

    def play() -> None:
        sockets = [open_socket(zmq.PUB, address, bind=False) for _ in range(2)]
        while not stopping.wait(0.001):
            for socket in sockets:
                evil(socket)
        for socket in sockets:
            socket.close(0)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@pytest.mark.parametrize("name", EVILS)
def test_a_bad_peer_costs_a_good_camera_no_frame(tmp_path: Path, name: str) -> None:
    address = f"ipc://{tmp_path}/frames"
    taker = Taker(address)
    taker.start()
    assert taker.bound.wait(5)
    with nuisance(address, EVILS[name]), closing(Camera(address, "l", "good")) as camera:
        for number in range(FRAMES):
            camera.send(GOOD, f"t{number}")
        heard = name not in ("parts over the limit", "a flood of what nobody asked for")
        until = time.monotonic() + 30
        while (len(taker.good) < FRAMES or (heard and not taker.other)) and time.monotonic() < until:
            time.sleep(0.01)
    taker.stopping.set()
    taker.join()
    assert [b"t%d" % number in header for number, header in enumerate(taker.good)] == [True] * FRAMES
    assert bool(taker.other) == heard
