"""A camera on the bus: image files, played at a line's pace."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import cv2
import google_crc32c
import numpy as np
import zmq

from edge.bus.curve import CurveClient
from edge.bus.frames import PIXEL_FORMATS, frame_topic, pack_header
from edge.bus.sockets import open_socket
from edge.errors import BusError, DataError
from edge.records import FrameHeader
from edge.vision.files import read_image, short_names
from edge.vision.image import Pixels

LINGER_CAMERA_MS = 5_000
SUBSCRIBE = b"\x01"  # a subscription's first byte; the topic follows
TOLD = 100  # characters of what somebody else asks for

Encoding = Literal["raw", "png", "jpeg"]


def pixel_format_of(pixels: Pixels) -> str:
    """The PFNC name of `(h, w)` or `(h, w, 3)` pixels of 8 or 16 bits."""
    return f"{'RGB' if pixels.ndim == 3 else 'Mono'}{8 * pixels.dtype.itemsize}"


def encode(pixels: Pixels, encoding: Encoding) -> bytes | memoryview:
    if encoding == "raw":
        return np.ascontiguousarray(pixels).data.cast("B")
    if encoding == "jpeg" and pixels.dtype.itemsize == 2:
        raise DataError("JPEG holds 8 bits; send 16-bit images as raw or png")
    shown = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    _, data = cv2.imencode(".png" if encoding == "png" else ".jpg", shown)
    return data.tobytes()


class Camera:
    """Publishes frames to a line's daemon and counts them. Waits for the daemon before the first."""

    def __init__(
        self, address: str, line: str, name: str, patience_s: float = 10.0, curve: CurveClient | None = None
    ) -> None:
        """Raises BusError where no daemon lets it in within `patience_s`."""
        self.session = uuid.uuid4().hex[:12]
        self.sent = 0
        self._topic = frame_topic(line, name)
        self._socket = open_socket(zmq.XPUB, address, bind=False, curve=curve)
        self._socket.set(zmq.XPUB_NODROP, 1)  # a slow daemon is waited for, nothing is dropped unseen
        others = self._wait_for_the_line(patience_s)
        if others is None:
            return
        self._socket.close(0)
        keys = "is this key allowed, and --server-key its own?" if curve else "does it want a key?"
        advice = f"who listens there wants {', '.join(sorted(others))}" if others else f"start it, or {keys}"
        raise BusError(f"no daemon took the frames of line {line!r} at {address} within {patience_s:g} s; {advice}")

    def _wait_for_the_line(self, patience_s: float) -> set[str] | None:
        """None once somebody wants these frames; in the end what else is wanted there, if anything."""
        others, until = set[str](), time.monotonic() + patience_s
        while self._socket.poll(max(0, int(1000 * (until - time.monotonic())))):
            wanted = self._socket.recv()
            if wanted[:1] == SUBSCRIBE and self._topic.startswith(wanted[1:]):
                return None
            if wanted[:1] == SUBSCRIBE:
                others.add(ascii(wanted[1:].decode(errors="replace")[:TOLD]))
        return others

    def send(
        self,
        pixels: Pixels,
        trigger_id: str,
        part_id: str | None = None,
        encoding: Encoding = "raw",
        deadline_ms: float | None = None,
    ) -> None:
        data = encode(pixels, encoding)
        header = FrameHeader(
            session=self.session,
            seq=self.sent,
            trigger_id=trigger_id,
            part_id=part_id,
            t_capture_ns=time.time_ns(),
            shape=pixels.shape,
            dtype=PIXEL_FORMATS[pixel_format_of(pixels)].dtype,  # type: ignore[arg-type]  # the table holds no other
            pixel_format=pixel_format_of(pixels),
            encoding=encoding,
            nbytes=len(data),
            crc32c=google_crc32c.value(np.frombuffer(data, np.uint8)),
            deadline_ms=deadline_ms,
            simulated=True,
        )
        self._socket.send_multipart([self._topic, pack_header(header), data], copy=False)
        self.sent += 1

    def close(self, linger_ms: int = LINGER_CAMERA_MS) -> None:
        """linger_ms: how long what was sent may still take to reach the daemon."""
        self._socket.close(linger_ms)


def at_rate(hertz: float) -> Iterator[None]:
    """Ticks on an even schedule; a late tick does not move the ones after it. 0 ticks as fast as asked."""
    started = time.monotonic()
    for number in itertools.count():
        if hertz:
            time.sleep(max(0.0, started + number / hertz - time.monotonic()))
        yield


def play(
    camera: Camera,
    images: list[Path],
    hertz: float,
    encoding: Encoding,
    loop: bool,
    deadline_ms: float | None = None,
    part_frames: int = 1,
) -> Iterator[Path]:
    """Send one image a tick; yields each path once it is sent. part_frames: so many in a row show one part, whose id is
    the first one's name."""
    names = dict(zip(images, short_names(images), strict=True))
    source = itertools.cycle(images) if loop else iter(images)
    part_id = ""
    for number, (path, _) in enumerate(zip(source, at_rate(hertz), strict=False)):
        part_id = part_id if number % part_frames else names[path]
        camera.send(read_image(path), f"{camera.session}-{camera.sent}", part_id, encoding, deadline_ms)
        yield path
