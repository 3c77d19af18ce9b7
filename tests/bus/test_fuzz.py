"""Ten thousand hostile headers: no crash, no hang, no memory; files that are bombs are refused before they go off."""

from __future__ import annotations

import random
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bus.frames import HEADER_BYTES, PIXEL_FORMATS, read_frame, read_header
from edge.config import Limits
from edge.errors import FrameError
from edge.records import FrameHeader
from tests.bus.one_message import one_input, read_message
from tests.bus.test_frames import png_bomb

SIDE = 8
PIXELS = bytes(SIDE * SIDE)
GOOD: dict[str, Any] = {
    "v": 1,
    "session": "s",
    "seq": 0,
    "trigger_id": "t",
    "part_id": "p",
    "shape": [SIDE, SIDE],
    "dtype": "uint8",
    "pixel_format": "Mono8",
    "encoding": "raw",
    "nbytes": SIDE * SIDE,
}
HEADER: bytes = msgpack.packb(GOOD)

many = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["uint8", "uint16", "raw", "png", "jpeg", *PIXEL_FORMATS]),
)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(leaves, inner, max_size=3))


@settings(many, max_examples=5000)
@given(st.binary(max_size=HEADER_BYTES + 100))
def test_any_bytes_are_refused(data: bytes) -> None:
    one_input(data)
    assert not read_message(b"frame/l/c", data, PIXELS)


@settings(many, max_examples=4000)
@given(st.integers(0, len(HEADER) - 1), st.binary(max_size=6), st.integers(0, 12))
def test_any_change_of_a_good_header_is_refused_or_read(at: int, put: bytes, cut: int) -> None:
    header = HEADER[:at] + put + HEADER[at + cut :]
    if read_message(b"frame/l/c", header, PIXELS):
        assert read_header(memoryview(header)).nbytes == len(PIXELS), "what is read claims no more than came"


@settings(many, max_examples=1000)
@given(st.dictionaries(st.sampled_from([*FrameHeader.__struct_fields__, "else"]), values, max_size=4), st.data())
def test_any_claims_are_refused_or_read(claims: dict[str, Any], data: st.DataObject) -> None:
    pixels = data.draw(st.sampled_from([PIXELS, b"", png_bomb(SIDE), b"\xff\xd8\xff\xe0\xff\xd9"]))
    header = msgpack.packb(GOOD | claims)
    if read_message(b"frame/l/c", header, pixels):
        assert read_header(memoryview(header)).nbytes == len(pixels), "what is read claims no more than came"


NESTS: dict[str, Callable[[int], bytes]] = {
    "arrays": lambda depth: b"\x91" * depth + b"\xc0",
    "maps": lambda depth: b"\x81\xa1k" * (depth // 3) + b"\xc0",
    "arrays in a good header": lambda depth: b"\x8b" + HEADER[1:] + b"\xa4else" + b"\x91" * (depth - 400) + b"\xc0",
}


@pytest.mark.parametrize("kind", NESTS)
@pytest.mark.parametrize("depth", [1000, HEADER_BYTES - 1])
def test_nesting_neither_crashes_nor_hangs_even_on_a_small_stack(kind: str, depth: int) -> None:
    script = (
        "import sys, threading\n"
        "from tests.bus.one_message import read_message\n"
        "header = sys.stdin.buffer.read()\n"
        "threading.stack_size(1 << 18)\n"
        "thread = threading.Thread(target=read_message, args=(b'frame/l/c', header, bytes(64)))\n"
        "thread.start()\n"
        "thread.join(10)\n"
        "sys.exit(thread.is_alive())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=NESTS[kind](depth), capture_output=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def mutated(draw: random.Random) -> bytes:
    data = bytearray(HEADER)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data))
        data[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
    return bytes(data) * draw.choice([1, 1, 1, 20])


def hammer(count: int) -> tuple[int, float, int]:
    """So many hostile headers. Returns the bytes that memory grew by, the slowest's seconds of this thread, and how
    many could be read."""
    draw = random.Random(7)
    for _ in range(5000):
        read_message(b"frame/l/c", mutated(draw), PIXELS)
    before, slowest, read = resident(), 0.0, 0
    for _ in range(count):
        header = mutated(draw)
        started = time.thread_time()
        read += read_message(b"frame/l/c", header, PIXELS)
        slowest = max(slowest, time.thread_time() - started)
    return resident() - before, slowest, read


def test_two_hundred_thousand_headers_take_no_memory_and_no_long_time() -> None:
    grown, slowest, read = hammer(200_000)
    assert grown < 16 << 20
    assert slowest < 0.1 and 0 < read < 200_000


def jpeg(progressive: bool = False, side: int = 256) -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (side, side)).astype(np.uint8)
    return cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])[1].tobytes()


def huge_jpeg() -> bytes:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def many_scans() -> bytes:
    """A progressive file whose last scan comes a thousand times: a decoder passes over the whole picture for each."""
    data = jpeg(progressive=True, side=16)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 1000 + data[-2:]


def png(*chunks: tuple[bytes, bytes], pixels: int = 256 * 257, side: int = 256, depth: int = 8) -> bytes:
    """Black; chunks: kind and content, before its pixels. depth: as it claims to have."""
    black = zlib.compress(bytes(pixels), 9)
    size = struct.pack(">IIBBBBB", side, side, depth, 0, 0, 0, 0)
    all_of_it = [(b"IHDR", size), *chunks, (b"IDAT", black), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in all_of_it
    )


def claiming_png() -> bytes:
    """A chunk that says it has 4 GB, which a decoder allocates."""
    data = png()
    at = data.index(b"IDAT")
    return data[: at - 4] + b"\xff\xff\xff\x53" + data[at:]


def ended_png() -> bytes:
    """One that ends, and goes on with a chunk that claims 4 GB."""
    data = png()
    return data[:33] + data[-12:] + b"\xff\xff\xff\x53IDAT" + data[33:]


TEXT = (b"zTXt", b"k\0\0" + zlib.compress(bytes(7_000_000), 9))

BOMBS: dict[str, bytes] = {
    "a PNG whose chunk claims 4 GB": claiming_png(),
    "a PNG that goes on after its end": ended_png(),
    "a PNG with 20 MB behind its pixels": png(pixels=20_000_000),
    "a PNG of 255 bits a pixel, and all of them": png(pixels=2_000_000, depth=255),
    "a PNG of several pictures": png(*[(b"fdAT", zlib.compress(bytes(20_000_000), 9))]),
    "a PNG of packed texts": png(*[TEXT] * 20),
    "a PNG of a hundred thousand chunks": png(*[(b"tEXt", b"k\0v")] * 100_000),
    "a PNG of a hundred thousand pieces": png(*[(b"IDAT", b"")] * 100_000),
    "a PNG of 2.5 gigapixels": png_bomb(50_000),
    "a JPEG of 3.6 gigapixels": huge_jpeg(),
    "a JPEG of a quarter of a million segments": b"\xff\xd8" + b"\xff\xe0\x00\x02" * 250_000 + b"\xff\xd9",
    "a JPEG of a thousand scans": many_scans(),
    "a JPEG without a frame": b"\xff\xd8" + b"\xff\xfe\xff\xff" + bytes(65_533) + b"\xff\xd9",
    "a PNG that begins with another chunk": b"\x89PNG\r\n\x1a\n" + bytes(4) + b"tEXt" + bytes(60) + b"IEND\xaeB`\x82",
}


def refusal_s(name: str) -> float:
    """Seconds that it takes, the median of nine."""
    data = BOMBS[name]
    encoding = "png" if data[1:4] == b"PNG" else "jpeg"
    said = GOOD | {"encoding": encoding, "nbytes": len(data), "shape": [256, 256]}
    header = read_header(memoryview(msgpack.packb(said)))
    taken = []
    for _ in range(9):
        started = time.perf_counter()
        with pytest.raises(FrameError, match=r"own header|damaged|not a whole|made to waste time"):
            read_frame(header, memoryview(data), Limits())
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_from_its_header_within_5_ms(name: str) -> None:
    assert refusal_s(name) < 0.005


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("most", [1, 255])
def test_a_png_is_no_bomb_however_well_it_is_packed(channels: int, kind: str, most: int) -> None:
    shape = (300, 211) if channels == 1 else (300, 211, 3)
    pixels = np.random.default_rng(1).integers(0, most, shape).astype(kind)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    name = ("RGB" if channels == 3 else "Mono") + ("8" if kind == "uint8" else "16")
    said = GOOD | {"encoding": "png", "nbytes": len(data), "shape": shape, "pixel_format": name, "dtype": kind}
    frame = read_frame(read_header(memoryview(msgpack.packb(said))), memoryview(data), Limits())
    assert np.array_equal(frame.pixels, pixels if channels == 1 else pixels[..., ::-1])


def test_a_png_with_a_text_and_one_piece_for_all_its_pixels_is_read() -> None:
    data = png((b"tEXt", b"Software\0camera"), (b"zTXt", b"k\0\0" + zlib.compress(b"a word" * 100)))
    said = GOOD | {"encoding": "png", "nbytes": len(data), "shape": (256, 256)}
    assert not read_frame(read_header(memoryview(msgpack.packb(said))), memoryview(data), Limits()).pixels.any()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("colour", [False, True])
def test_what_cameras_and_editors_write_is_no_bomb(progressive: bool, colour: bool) -> None:
    shape = (64, 48, 3) if colour else (64, 48)
    pixels = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    data = cv2.imencode(".jpg", pixels, options)[1].tobytes()
    exif = b"\xff\xe1" + struct.pack(">H", 60_000) + b"Exif\0\0" + b"\xff\xda" * 29_996
    data = data[:2] + exif + data[2:]
    said = GOOD | {
        "encoding": "jpeg",
        "nbytes": len(data),
        "shape": shape,
        "pixel_format": "RGB8" if colour else "Mono8",
    }
    frame = read_frame(read_header(memoryview(msgpack.packb(said))), memoryview(data), Limits())
    assert frame.pixels.shape == shape
