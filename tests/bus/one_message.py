"""What a fuzzer calls: any bytes as the header, any bytes as the pixels. Only a FrameError may come out of it."""

from __future__ import annotations

from contextlib import suppress

from edge.bus.frames import camera_of, read_frame, read_header
from edge.config import Limits
from edge.errors import FrameError

LIMITS = Limits(frame_bytes=1 << 20, pixels=1 << 20)


def read_message(topic: bytes, header: bytes, pixels: bytes) -> bool:
    """Whether a frame came out of it."""
    with suppress(FrameError):
        camera_of(memoryview(topic))
    with suppress(FrameError):
        read_frame(read_header(memoryview(header)), memoryview(pixels), LIMITS)
        return True
    return False


def one_input(data: bytes) -> None:
    """For a coverage-guided fuzzer: the first two bytes say how long the header is."""
    length = int.from_bytes(data[:2], "big")
    read_message(data[:64], data[2 : 2 + length], data[2 + length :])
