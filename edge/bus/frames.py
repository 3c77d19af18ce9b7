"""The frame message: topic, header, pixels. Whatever a header claims is checked before anything is allocated."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import prod

import cv2
import google_crc32c
import msgspec
import numpy as np
import zmq

from edge.bus.guard import Guard
from edge.bus.picture_size import claimed_size, unpacks_to_more
from edge.bus.sockets import open_socket
from edge.config import Limits
from edge.errors import FrameError, FrameTooLarge
from edge.records import MESSAGE_VERSION, Frame, FrameHeader
from edge.vision.image import Pixels

HEADER_BYTES = 4096
PARTS = 3
# Straight into the typed header: what it claims of lengths and depths is held against the 4 KiB that are there.
_HEADER = msgspec.msgpack.Decoder(FrameHeader)
TOPIC = re.compile(rb"frame/([A-Za-z0-9_.-]{1,64})/([A-Za-z0-9_.-]{1,64})")


@dataclass(frozen=True, slots=True)
class PixelFormat:
    channels: int
    dtype: str
    full_scale: int
    reversed: bool = False


# The GenICam pixel format names (PFNC) that a line camera sends unpacked.
PIXEL_FORMATS = {
    "Mono8": PixelFormat(1, "uint8", 255),
    "Mono10": PixelFormat(1, "uint16", 1023),
    "Mono12": PixelFormat(1, "uint16", 4095),
    "Mono14": PixelFormat(1, "uint16", 16383),
    "Mono16": PixelFormat(1, "uint16", 65535),
    "RGB8": PixelFormat(3, "uint8", 255),
    "BGR8": PixelFormat(3, "uint8", 255, reversed=True),
    "RGB16": PixelFormat(3, "uint16", 65535),
}


FILE_ENDS = {"png": (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"), "jpeg": (b"\xff\xd8\xff", b"\xff\xd9")}


def frame_topic(line: str, camera: str = "") -> bytes:
    return f"frame/{line}/{camera}".encode()


class FrameInlet:
    """Where the daemon takes frames off the bus."""

    def __init__(self, address: str, limits: Limits, guard: Guard | None = None) -> None:
        """Bind. Cameras wait until `open`. guard: lets in whom the line allows; None: everyone. Raises BusError."""
        curve = guard.curve("frames") if guard else None
        self._socket = open_socket(zmq.SUB, address, bind=True, largest_part=limits.frame_bytes, curve=curve)
        self._guard = guard
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._bell, zmq.POLLIN)

    def open(self, line: str) -> None:
        self._socket.subscribe(frame_topic(line))

    def poll(self, milliseconds: int) -> bool:
        """Is there a message? Waits so long for one, or until `wake`."""
        events = dict(self._poller.poll(milliseconds))
        if self._bell in events:
            os.eventfd_read(self._bell)
        return self._socket in events

    def wake(self) -> None:
        """End a `poll` that waits; any thread may."""
        os.eventfd_write(self._bell, 1)

    def receive(self) -> list[memoryview]:
        """One message, not copied. Parts after the third are dropped unread, one too many is kept as evidence.

        Nothing, where its sender's key was revoked since it came in.
        """
        parts = [self._socket.recv(copy=False)]
        while parts[-1].more and len(parts) <= PARTS:
            parts.append(self._socket.recv(copy=False))
        while self._socket.get(zmq.RCVMORE):
            self._socket.recv(copy=False)
        if self._guard and not self._guard.admits("frames", str(parts[0].get("User-Id"))):
            return []
        return [part.buffer for part in parts]

    def close(self) -> None:
        self._socket.close(0)
        os.close(self._bell)


def camera_of(topic: memoryview) -> str:
    """The camera's name out of `frame/<line>/<camera>`. Raises FrameError."""
    match = TOPIC.fullmatch(topic[:256])
    if match is None:
        raise FrameError(f"the topic {bytes(topic[:64])!r} is not frame/<line>/<camera>")
    return match[2].decode()


def read_header(data: memoryview) -> FrameHeader:
    """Raises FrameError naming the field, FrameTooLarge over 4 KiB."""
    if len(data) > HEADER_BYTES:
        raise FrameTooLarge(f"the frame's header has {len(data)} bytes; at most {HEADER_BYTES} are read")
    try:
        header = _HEADER.decode(data)
    except msgspec.ValidationError as error:
        raise FrameError(f"the frame's header: {error}") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FrameError(f"the frame's header is not a msgpack map: {error}") from error
    if header.v != MESSAGE_VERSION:
        raise FrameError(f"the frame's header has v = {header.v}; this edge reads v = {MESSAGE_VERSION}")
    return header


def read_frame(header: FrameHeader, data: memoryview, limits: Limits) -> Frame:
    """The third part as pixels: a read-only view for raw ones. Raises FrameError, FrameTooLarge."""
    pixel_format = _check_claims(header, len(data), limits)
    if header.crc32c is not None and google_crc32c.value(np.frombuffer(data, np.uint8)) != header.crc32c:
        raise FrameError(f"frame {header.seq}: the pixels' CRC32C is not the header's; they were damaged on the way")
    pixels = _raw(header, data) if header.encoding == "raw" else _decode(header, data)
    if pixel_format.reversed and header.encoding == "raw":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[assignment]  # cv2 keeps the dtype
    return Frame(pixels, pixel_format.full_scale)


def _check_claims(header: FrameHeader, received: int, limits: Limits) -> PixelFormat:
    pixel_format = PIXEL_FORMATS.get(header.pixel_format)
    if pixel_format is None:
        raise FrameError(f"pixel_format {header.pixel_format!r} is not known; send {', '.join(PIXEL_FORMATS)}")
    if header.dtype != pixel_format.dtype:
        raise FrameError(f"dtype {header.dtype} does not go with pixel_format {header.pixel_format}")
    expected = 2 if pixel_format.channels == 1 else 3
    if len(header.shape) != expected or min(header.shape) < 1 or (expected == 3 and header.shape[2] != 3):
        raise FrameError(f"shape {list(header.shape)} does not go with pixel_format {header.pixel_format}")
    if header.nbytes > limits.frame_bytes:
        raise FrameTooLarge(f"nbytes {header.nbytes} is over the line's limit of {limits.frame_bytes}")
    if prod(header.shape[:2]) > limits.pixels:
        raise FrameTooLarge(f"shape {list(header.shape)} is over the line's limit of {limits.pixels} pixels")
    if header.nbytes != received:
        raise FrameError(f"the header says {header.nbytes} bytes of pixels, {received} came")
    return pixel_format


def _raw(header: FrameHeader, data: memoryview) -> Pixels:
    claimed = prod(header.shape) * np.dtype(header.dtype).itemsize
    if claimed != header.nbytes:
        raise FrameError(f"shape {list(header.shape)} of {header.dtype} is {claimed} bytes, nbytes is {header.nbytes}")
    pixels: Pixels = np.frombuffer(data, header.dtype).reshape(header.shape)
    pixels.flags.writeable = False
    return pixels


def _decode(header: FrameHeader, data: memoryview) -> Pixels:
    """PNG or JPEG, the size in the file's own header compared first: a bomb is refused before it is unpacked.

    A decoder fills the missing rest of a cut file with grey and says nothing, so both its ends are looked at.
    """
    head, tail = FILE_ENDS[header.encoding]
    if bytes(data[: len(head)]) != head or bytes(data[-len(tail) :]) != tail:
        raise FrameError(f"the third part is not a whole {header.encoding} file")
    size = claimed_size("png" if header.encoding == "png" else "jpeg", data)
    if size is None:
        raise FrameError(f"the {header.encoding} file's own header cannot be read; it is damaged")
    height, width = size
    if size != header.shape[:2]:
        raise FrameError(
            f"the {header.encoding} file is {height} x {width} by its own header, the message says {list(header.shape)}"
        )
    if header.encoding == "png" and unpacks_to_more(data):
        raise FrameError(f"the png file holds more than its {height} x {width} pixels; it is made to waste time")
    colour = cv2.IMREAD_COLOR_RGB if len(header.shape) == 3 else cv2.IMREAD_GRAYSCALE
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), colour | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise FrameError(f"the {header.encoding} file cannot be decoded: {error.err}") from error
    if pixels is None:
        raise FrameError(f"the {header.encoding} file cannot be decoded")
    if pixels.shape != header.shape or pixels.dtype != header.dtype:
        raise FrameError(
            f"the {header.encoding} file holds {pixels.dtype} {list(pixels.shape)}, "
            f"the message says {header.dtype} {list(header.shape)}"
        )
    return pixels  # type: ignore[return-value]  # the line above made sure of the dtype


def pack_header(header: FrameHeader) -> bytes:
    return msgspec.msgpack.encode(header)
