"""What the picture alone tells: each of its numbers moves by its own cause and by no other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.drift.features import PICTURE, Features, measure
from edge.inspection.files import read_frame
from edge.offline.pack import golden_frame
from edge.records import Frame
from edge.vision.image import InputRule, Pixels

SIDE = 256


@pytest.fixture(scope="module")
def part() -> Pixels:
    """A texture between a fifth and four fifths of the scale."""
    texture = golden_frame(InputRule(width=SIDE, height=SIDE), 3)
    return (51 + texture * 0.6).astype(np.uint8)


def seen(pixels: Pixels, full_scale: int = 255) -> Features:
    return measure(Frame(pixels, full_scale))


def test_less_light_moves_the_brightness_alone(part: Pixels) -> None:
    before, after = seen(part), seen((part * 0.8).astype(np.uint8))
    assert after["brightness"] == pytest.approx(0.8 * before["brightness"], rel=0.01)
    assert after["focus"] == pytest.approx(before["focus"], rel=0.03)
    assert before["white"] == after["white"] == before["black"] == after["black"] == 0


def test_a_blur_moves_the_focus_alone(part: Pixels) -> None:
    before, after = seen(part), seen(cv2.GaussianBlur(part, (0, 0), 1.5))  # type: ignore[arg-type]  # of uint8 again
    assert after["focus"] < 0.8 * before["focus"]
    assert after["brightness"] == pytest.approx(before["brightness"], rel=0.01)


def test_more_than_the_sensor_holds_is_white(part: Pixels) -> None:
    assert seen(np.clip(part * 1.9, 0, 255).astype(np.uint8))["white"] > 0.1
    assert seen(np.clip(part - 120.0, 0, 255).astype(np.uint8))["black"] > 0.1


def test_depth_colour_and_size_change_nothing(part: Pixels) -> None:
    plain = seen(part)
    for pixels, full_scale in (
        (part.astype(np.uint16) * 257, 65535),
        (part.astype(np.uint16) * 4, 1020),
        (np.dstack([part] * 3), 255),
        (np.tile(part, (2, 3)), 255),
    ):
        assert seen(pixels, full_scale) == pytest.approx(plain, rel=0.05, abs=0.01)  # type: ignore[arg-type]  # numpy's


@given(
    pixels=st.one_of(
        arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))),
        arrays(np.uint16, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    )
)
def test_any_frame_has_finite_features_or_none(pixels: Pixels) -> None:
    found = seen(pixels, int(np.iinfo(pixels.dtype).max))
    assert set(found) == (set(PICTURE) if min(pixels.shape[:2]) >= 4 else set())
    assert all(np.isfinite(value) for value in found.values())
    assert all(0 <= found[name] <= 1 for name in ("brightness", "black", "white") if found)


def test_a_real_part_in_less_light_and_out_of_focus(shared_data: object) -> None:
    (path, *_) = sorted((shared_data / "metal_nut" / "test" / "good").iterdir())  # type: ignore[operator]  # a Path
    part = read_frame(path).pixels
    plain, dark = seen(part), seen((part * 0.8).astype(np.uint8))
    blurred = seen(cv2.GaussianBlur(part, (0, 0), 1.5))  # type: ignore[arg-type]  # of uint8 again
    assert dark["brightness"] == pytest.approx(0.8 * plain["brightness"], rel=0.02)
    assert dark["focus"] == pytest.approx(plain["focus"], rel=0.05)
    assert blurred["focus"] < 0.7 * plain["focus"]
