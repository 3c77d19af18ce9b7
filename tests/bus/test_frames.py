"""The frame message: what is sent arrives, what lies is refused by name."""

from __future__ import annotations

import struct
import time
import zlib
from typing import Any

import cv2
import google_crc32c
import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.bus.camera import encode, pixel_format_of
from edge.bus.frames import PIXEL_FORMATS, camera_of, pack_header, read_frame, read_header
from edge.config import Limits
from edge.errors import FrameError, FrameTooLarge
from edge.records import FrameHeader
from edge.vision.image import Pixels

LIMITS = Limits()


def claims(pixels: Pixels, data: bytes, encoding: str = "raw", **changed: Any) -> FrameHeader:
    said = {
        "session": "s",
        "seq": 7,
        "trigger_id": "t7",
        "shape": pixels.shape,
        "dtype": str(pixels.dtype),
        "pixel_format": pixel_format_of(pixels),
        "encoding": encoding,
        "nbytes": len(data),
        "crc32c": google_crc32c.value(data),
    }
    return msgspec.convert(said | changed, FrameHeader)


@st.composite
def frames(draw: st.DrawFn) -> Pixels:
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 40)), *draw(st.sampled_from([(), (3,)])))
    deep = np.random.default_rng(draw(st.integers(0, 999))).integers(0, 65535, shape, np.uint16, endpoint=True)
    return deep if draw(st.booleans()) else (deep >> 8).astype(np.uint8)


@given(frames(), st.sampled_from(["raw", "png"]))
def test_what_is_sent_arrives(pixels: Pixels, encoding: Any) -> None:
    data = bytes(encode(pixels, encoding))
    header = read_header(memoryview(pack_header(claims(pixels, data, encoding))))
    frame = read_frame(header, memoryview(data), LIMITS)
    assert frame.pixels.dtype == pixels.dtype and np.array_equal(frame.pixels, pixels)
    assert frame.full_scale == np.iinfo(pixels.dtype).max


def test_jpeg_arrives_nearly() -> None:
    pixels = np.full((32, 48), 90, np.uint8)
    data = bytes(encode(pixels, "jpeg"))
    frame = read_frame(claims(pixels, data, "jpeg"), memoryview(data), LIMITS)
    assert np.abs(frame.pixels.astype(int) - 90).max() <= 2


def test_raw_pixels_are_a_view_that_cannot_be_written() -> None:
    data = bytes(16)
    frame = read_frame(claims(np.zeros((4, 4), np.uint8), data), memoryview(data), LIMITS)
    assert not frame.pixels.flags.writeable and not frame.pixels.flags.owndata


def test_bgr_is_turned_to_rgb() -> None:
    blue = np.zeros((2, 2, 3), np.uint8)
    blue[..., 0] = 255
    frame = read_frame(claims(blue, blue.tobytes(), pixel_format="BGR8"), memoryview(blue.tobytes()), LIMITS)
    assert (frame.pixels[..., 2] == 255).all() and not frame.pixels[..., 0].any()


def test_a_12_bit_format_brings_its_full_scale() -> None:
    pixels = np.zeros((2, 2), np.uint16)
    header = claims(pixels, pixels.tobytes(), pixel_format="Mono12")
    assert read_frame(header, memoryview(pixels.tobytes()), LIMITS).full_scale == 4095


GREY = np.zeros((8, 8), np.uint8)
LIES: dict[str, dict[str, Any]] = {
    "more bytes than came": {"nbytes": 65},
    "a shape of another size": {"shape": (9, 8)},
    "an empty shape": {"shape": (0, 8)},
    "a negative side": {"shape": (-8, -8)},
    "a colour shape for a grey format": {"shape": (8, 8, 1)},
    "a dtype that the format has not": {"dtype": "uint16"},
    "a format that nobody knows": {"pixel_format": "Bayer99"},
    "a checksum of something else": {"crc32c": 1},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_refused(lie: str) -> None:
    data = GREY.tobytes()
    with pytest.raises(FrameError):
        read_frame(claims(GREY, data, **LIES[lie]), memoryview(data), LIMITS)


def test_a_frame_over_the_limits_is_refused_before_it_is_read() -> None:
    data = GREY.tobytes()
    with pytest.raises(FrameTooLarge, match="nbytes"):
        read_frame(claims(GREY, data, nbytes=1 << 40), memoryview(data), LIMITS)
    with pytest.raises(FrameTooLarge, match="pixels"):
        read_frame(claims(GREY, data, shape=(1 << 20, 1 << 20)), memoryview(data), LIMITS)


def png_bomb(side: int, held: int = 1000) -> bytes:
    """A PNG that claims side x side pixels and holds `held` bytes of them."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(held))) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_from_its_header_within_5_ms() -> None:
    data = png_bomb(50_000)
    started = time.perf_counter()
    with pytest.raises(FrameError, match="by its own header"):
        read_frame(claims(GREY, data, "png"), memoryview(data), LIMITS)
    with pytest.raises(FrameTooLarge):
        read_frame(claims(GREY, data, "png", shape=(50_000, 50_000)), memoryview(data), LIMITS)
    assert time.perf_counter() - started < 0.005


@pytest.mark.parametrize("data", [b"", b"no image", png_bomb(8)[:60], png_bomb(8, held=20)])
@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_an_image_that_cannot_be_decoded_is_refused(data: bytes, encoding: str) -> None:
    with pytest.raises(FrameError, match="file"):
        read_frame(claims(GREY, data, encoding), memoryview(data), LIMITS)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_a_cut_file_is_refused_at_every_length(encoding: Any) -> None:
    data = bytes(encode(GREY, encoding))
    for length in range(len(data)):
        with pytest.raises(FrameError):
            read_frame(claims(GREY, data[:length], encoding), memoryview(data[:length]), LIMITS)


def test_an_image_of_another_kind_than_claimed_is_refused() -> None:
    deep: NDArray[np.uint16] = np.zeros((8, 8), np.uint16)
    _, data = cv2.imencode(".png", deep)
    with pytest.raises(FrameError, match="uint16"):
        read_frame(claims(GREY, data.tobytes(), "png"), memoryview(data.tobytes()), LIMITS)


GOOD = msgpack.unpackb(pack_header(claims(GREY, GREY.tobytes())))


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (b"", "msgpack"),
        (b"\xc1", "msgpack"),
        (b"\x91" * 4000, "Expected `object`"),
        (b"\x81\xa1x" + b"\x91" * 4000, "msgpack"),
        (b"\x81\xa5shape\xdd\xff\xff\xff\xff", "msgpack"),
        (msgpack.packb([1, 2]), "header"),
        (msgpack.packb({**GOOD, "seq": "seven"}), "seq"),
        (msgpack.packb({**GOOD, "seq": -1}), "seq"),  # a gap from the least number to the greatest is no number
        (msgpack.packb({**GOOD, "seq": 2**64 - 1}), "seq"),
        (msgpack.packb({**GOOD, "v": 99}), "v = 99"),
        (msgpack.packb({**GOOD, "dtype": "float32"}), "dtype"),
        (msgpack.packb({**GOOD, "encoding": "gif"}), "encoding"),
        (msgpack.packb({**GOOD, "session": "x" * 300}), "session"),
        (msgpack.packb({**GOOD, "deadline_ms": float("nan")}), "deadline_ms"),
        (msgpack.packb({**GOOD, "deadline_ms": float("inf")}), "deadline_ms"),
        (msgpack.packb({**GOOD, "deadline_ms": -1.0}), "deadline_ms"),
        (msgpack.packb({**GOOD, "deadline_ms": 0}), "deadline_ms"),
        (msgpack.packb({**GOOD, "deadline_ms": 0.0}), "deadline_ms"),
        (msgpack.packb({**GOOD, "t_capture_ns": 2**63}), "t_capture_ns"),
        (msgpack.packb({key: value for key, value in GOOD.items() if key != "trigger_id"}), "trigger_id"),
        (bytes(5000), "4096"),
    ],
)
def test_a_malformed_header_is_refused_by_name(header: bytes, named: str) -> None:
    with pytest.raises(FrameError, match=named):
        read_header(memoryview(header))


def test_a_newer_cameras_extra_keys_are_ignored() -> None:
    assert read_header(memoryview(msgpack.packb({**GOOD, "gain": 3}))).seq == 7


@given(st.binary(max_size=4200))
def test_no_bytes_whatever_do_more_than_raise_a_frame_error(data: bytes) -> None:
    for read, answer in ((read_header, FrameHeader), (camera_of, str)):
        try:
            assert isinstance(read(memoryview(data)), answer)
        except FrameError:
            continue


def test_the_topic_names_the_camera() -> None:
    assert camera_of(memoryview(b"frame/line-1/cam0")) == "cam0"
    for topic in (b"frame/line", b"frame/a/b/c", b"frame/a/\xff", b"verdict/a/b", b"frame/a/b\n"):
        with pytest.raises(FrameError, match="topic"):
            camera_of(memoryview(topic))


def test_every_pixel_format_holds_what_its_name_says() -> None:
    for name, pixel_format in PIXEL_FORMATS.items():
        bits = int("".join(c for c in name if c.isdigit()))
        assert pixel_format.full_scale == 2**bits - 1
        assert pixel_format.dtype == ("uint8" if bits == 8 else "uint16")
