"""What a picture file says of its own size, read from its first bytes in bounded time: nothing of it is unpacked."""

from __future__ import annotations

import re
import struct
from itertools import islice
from typing import Literal

PNG_HEAD = struct.Struct(">8sI4sII")
SEGMENT = struct.Struct(">BBH")
FRAME_HEAD = struct.Struct(">BHH")
# A camera writes a dozen segments (tables, EXIF, a colour profile in up to 255 pieces); a bomb writes a million.
MOST_SEGMENTS = 512
# A decoder passes over the whole picture for each scan: a progressive file has ten, a bomb of 94 kB
# a thousand, and 20 seconds of it.
MOST_SCANS = 16
START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
START_OF_SCAN = 0xDA
SCAN = re.compile(bytes((0xFF, START_OF_SCAN)))


def claimed_size(encoding: Literal["png", "jpeg"], data: memoryview) -> tuple[int, int] | None:
    """Height and width, or None where the file does not say them or is made to waste time."""
    return _png(data) if encoding == "png" else _jpeg(data)


def _png(data: memoryview) -> tuple[int, int] | None:
    if len(data) < PNG_HEAD.size:
        return None
    _, length, kind, width, height = PNG_HEAD.unpack_from(data)
    return (height, width) if (length, kind) == (13, b"IHDR") else None


def _jpeg(data: memoryview) -> tuple[int, int] | None:
    at = 2
    for _ in range(MOST_SEGMENTS):
        if at + SEGMENT.size + FRAME_HEAD.size > len(data):
            return None
        mark, kind, length = SEGMENT.unpack_from(data, at)
        if mark != 0xFF or length < 2 or kind == START_OF_SCAN:
            return None
        if kind in START_OF_FRAME:
            _, height, width = FRAME_HEAD.unpack_from(data, at + SEGMENT.size)
            return (height, width) if _scans(data[at:]) <= MOST_SCANS else None
        at += 2 + length
    return None


def _scans(data: memoryview) -> int:
    """How many, counted to one too many. In a scan's own bytes 0xFF is followed by 0, so that the mark is its own."""
    return sum(1 for _ in islice(SCAN.finditer(data), MOST_SCANS + 1))
