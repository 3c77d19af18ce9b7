"""Every kind of frame becomes the same input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.errors import FrameError
from edge.vision.image import MUCH, InputRule, prepare, resize

GREY = InputRule(32, 24)
COLOUR = InputRule(32, 24, channels=3)


def ramp() -> NDArray[np.uint8]:
    return (np.arange(48)[:, None] * 2 + np.arange(64) * 2).astype(np.uint8)


def test_grey_and_colour_of_8_and_16_bits_agree() -> None:
    grey = ramp()
    expected = prepare(grey, GREY)
    assert expected.shape == (1, 1, 24, 32) and expected.dtype == np.float32
    for same in (np.dstack([grey] * 3), grey.astype(np.uint16) * 257, np.dstack([grey.astype(np.uint16) * 257] * 3)):
        assert np.abs(prepare(same, GREY) - expected).max() < 0.5 / 255
    assert np.array_equal(prepare(grey, COLOUR), expected.repeat(3, axis=1))


def test_each_colour_stays_in_its_own_channel() -> None:
    rgb = np.dstack([np.full((24, 32), level, np.uint8) for level in (10, 20, 30)])
    assert prepare(rgb, COLOUR)[0, :, 5, 5] * 255 == pytest.approx([10, 20, 30])


def test_a_12_bit_sensor_in_16_bits_uses_its_own_full_scale() -> None:
    twelve = ramp().astype(np.uint16) * 16
    assert np.abs(prepare(twelve, GREY, full_scale=4095) - prepare(ramp(), GREY)).max() < 2 / 255


def test_mean_and_std_are_those_of_the_manifest() -> None:
    rule = InputRule(32, 24, mean=0.5, std=0.25)
    assert np.allclose(prepare(ramp(), rule), (prepare(ramp(), GREY) - 0.5) / 0.25, atol=1e-5)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([(), (3,)]), st.sampled_from([np.uint8, np.uint16]))
def test_any_size_fits(height: int, width: int, channels: tuple[int, ...], dtype: type) -> None:
    frame: NDArray[np.uint8] = np.full((height, width, *channels), np.iinfo(dtype).max, dtype)
    rule = InputRule(32, 24, views=("whole", "centre"))
    assert np.allclose(prepare(frame, rule), 1.0, atol=1e-4)


def test_the_centre_view_keeps_the_cameras_scale() -> None:
    frame = np.zeros((100, 100), np.uint8)
    frame[38:62, 34:66] = 255
    rule = InputRule(32, 24, views=("centre",))
    assert (prepare(frame, rule) == 1).all()


@given(st.integers(1, 4), st.integers(1, 4))
def test_tiles_side_by_side_are_the_frame_itself(columns: int, rows: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (24 * rows, 32 * columns), np.uint8)
    rule = InputRule(32, 24, tiles=(columns, rows))
    tiles = prepare(frame, rule)
    assert len(tiles) == rule.batch
    together = tiles.reshape(rows, columns, 24, 32).transpose(0, 2, 1, 3).reshape(frame.shape)
    assert np.allclose(together, frame / 255, atol=1e-6)


def test_patches_and_tiles_together_are_refused() -> None:
    with pytest.raises(ValueError, match="patches or tiles"):
        InputRule(32, 24, tiles=(2, 1), patch=16, stride=8)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.int16),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_other_pixels_are_refused_by_name(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(FrameError, match="send"):
        prepare(pixels, GREY)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(150, 1700),
    st.integers(150, 1700),
    st.floats(2.3, 20),
    st.floats(2.3, 20),
    st.sampled_from([np.uint8, np.uint16]),
)
def test_a_large_grey_frame_is_averaged_as_opencv_does(
    height: int, width: int, lower: float, narrower: float, dtype: type[np.uint8] | type[np.uint16]
) -> None:
    rng, low, narrow = np.random.default_rng(height * width), int(height / lower), int(width / narrower)
    pixels = rng.integers(0, np.iinfo(dtype).max, (height, width), dtype, endpoint=True)
    assert pixels.size > MUCH * narrow * low
    ours = resize(pixels, narrow, low)
    theirs = cv2.resize(pixels, (narrow, low), interpolation=cv2.INTER_AREA)
    apart = np.abs(ours.astype(np.int64) - theirs)
    assert ours.dtype == dtype and ours.shape == (low, narrow)
    assert apart.max() <= 1 and (apart > 0).mean() < (0.001 if dtype is np.uint8 else 0.05)


def test_whole_pixels_are_averaged_by_opencv_itself() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1024, 768), np.uint8)
    assert np.array_equal(resize(pixels, 256, 256), cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_AREA))


def test_a_cut_out_of_a_large_grey_frame_is_averaged_alike() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2000, 1800), np.uint8)
    cut = pixels[100:1900, 50:1650]
    assert np.array_equal(resize(cut, 224, 224), resize(cut.copy(), 224, 224))
