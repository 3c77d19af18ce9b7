"""What a picture file says of its own size, read from its first bytes in bounded time: nothing of it is unpacked."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Literal

PNG_HEAD = struct.Struct(">8sI4sIIBBxxB")
CHUNK = struct.Struct(">I4s")
CHECK_BYTES = 4  # after a chunk's data
PIXELS_AT = 8  # where a PNG's chunks begin
# A decoder allocates whatever length a chunk claims: a file of 140 bytes took 4 GB. Encoders write pixels in pieces of
# 8 kB or more.
PIECE_BYTES = 2048
# Texts and colour profiles are packed too, and each may grow a thousand times: 770 kB of texts took eight seconds.
PACKED = {b"zTXt", b"iTXt", b"iCCP"}
MOST_PACKED_BYTES = 32 * 1024
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by a PNG's colour type
DEPTHS = {1, 2, 4, 8, 16}  # bits of a channel
MOVING = {b"acTL", b"fcTL", b"fdAT"}  # a PNG of several pictures; no camera sends one
PACKED_AT_ONCE, UNPACKED_AT_ONCE = 1 << 16, 1 << 18
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
    _, length, kind, width, height, depth, colour, _ = PNG_HEAD.unpack_from(data)
    if (length, kind) != (13, b"IHDR") or depth not in DEPTHS or colour not in CHANNELS or _chunks(data) is None:
        return None
    return height, width


def _chunks(data: memoryview) -> list[tuple[bytes, memoryview]] | None:
    """Kind and content; None where one leads out of the file, or where they are made to waste time."""
    found, at, others, packed = list[tuple[bytes, memoryview]](), PIXELS_AT, 0, 0
    while at + CHUNK.size <= len(data):
        length, kind = CHUNK.unpack_from(data, at)
        at += CHUNK.size
        if at + length + CHECK_BYTES > len(data):
            return None
        if kind in MOVING:
            return None
        found.append((kind, data[at : at + length]))
        at += length + CHECK_BYTES
        if kind == b"IEND":
            return None if at < len(data) else found  # a decoder may read on after it
        others += kind != b"IDAT"
        packed += length if kind in PACKED else 0
        if (
            others > MOST_SEGMENTS
            or packed > MOST_PACKED_BYTES
            or len(found) > MOST_SEGMENTS + len(data) // PIECE_BYTES
        ):
            return None
    return None


def unpacks_to_more(data: memoryview) -> bool:
    """Is there more in a PNG's pixels than its size takes? A decoder unpacks all of it: 2 MB of an 8 x 8 file took
    eight seconds. Call it where its size is known to be right."""
    _, _, _, width, height, depth, colour, interlaced = PNG_HEAD.unpack_from(data)
    most: int = height * (width * depth * CHANNELS[colour] // 8 + 2) * (2 if interlaced else 1)  # then twice the rows
    stream, unpacked = zlib.decompressobj(), 0
    for waits in _pieces(data):
        try:
            while waits and not stream.eof and unpacked <= most:
                unpacked += len(stream.decompress(waits, UNPACKED_AT_ONCE))
                waits = stream.unconsumed_tail
        except zlib.error:
            return False  # damaged, as the decoder says too
    return unpacked > most


def _pieces(data: memoryview) -> Iterator[memoryview | bytes]:
    """A PNG's packed pixels, little at a time: zlib copies what it leaves."""
    for kind, packed in _chunks(data) or []:
        if kind == b"IDAT":
            yield from (packed[at : at + PACKED_AT_ONCE] for at in range(0, len(packed), PACKED_AT_ONCE))


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
