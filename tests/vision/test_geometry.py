"""A box drawn in a frame comes back where it was, whatever lies between."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.boxes import find_defects, to_frame, worst_place
from edge.vision.image import InputRule, prepare
from edge.vision.patches import cut, dividing_factors, starts, stitch

sizes = st.tuples(st.integers(40, 700), st.integers(40, 700))


@st.composite
def boxes_in_frames(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """(frame height, width), (x, y, w, h) inside it."""
    height, width = draw(sizes)
    w, h = draw(st.integers(1, width)), draw(st.integers(1, height))
    return (height, width), (draw(st.integers(0, width - w)), draw(st.integers(0, height - h)), w, h)


@given(boxes_in_frames(), sizes)
def test_a_box_goes_to_any_map_and_returns_within_one_pixel(
    drawn: tuple[tuple[int, int], tuple[int, int, int, int]], map_size: tuple[int, int]
) -> None:
    frame_size, (x, y, w, h) = drawn
    sy, sx = map_size[0] / frame_size[0], map_size[1] / frame_size[1]
    back = to_frame((x * sx, y * sy, w * sx, h * sy), map_size, frame_size)
    assert np.abs(np.subtract(back, (x, y, w, h))).max() <= 1


@st.composite
def rules(draw: st.DrawFn) -> InputRule:
    patch = draw(st.sampled_from([0, 16, 32]))
    stride = draw(st.integers(1, patch)) if patch else 0
    return InputRule(draw(st.integers(32, 96)), draw(st.integers(32, 96)), patch=patch, stride=max(stride, patch // 4))


@given(boxes_in_frames(), rules())
def test_a_box_drawn_in_the_pixels_returns_through_resize_patches_and_stitch(
    drawn: tuple[tuple[int, int], tuple[int, int, int, int]], rule: InputRule
) -> None:
    """Within one pixel of the coarser grid: a frame pixel, or a map pixel where those are larger."""
    (height, width), (x, y, w, h) = drawn
    sy, sx = max(1.0, height / rule.height), max(1.0, width / rule.width)
    w, h = min(width - x, max(w, int(2 * sx) + 1)), min(height - y, max(h, int(2 * sy) + 1))
    frame = np.zeros((height, width), np.uint8)
    frame[y : y + h, x : x + w] = 255
    image = prepare(frame, rule)[0, 0]
    if rule.patch:
        image = stitch(cut(image, rule.patch, rule.stride), rule.height, rule.width, rule.stride)
    if not (image > 0.5).any():
        assert w < 2 * sx or h < 2 * sy  # cut off by the frame's own edge to less than the map can show
        return
    (defect,) = find_defects(image, 0.5, (height, width), "drawn")
    left, top, found_w, found_h = defect.bbox
    assert abs(left - x) <= sx + 1e-6 and abs(left + found_w - x - w) <= sx + 1e-6
    assert abs(top - y) <= sy + 1e-6 and abs(top + found_h - y - h) <= sy + 1e-6


@given(rules().filter(lambda rule: rule.patch > 0), st.integers(0, 2**32 - 1))
def test_stitching_undoes_cutting(rule: InputRule, seed: int) -> None:
    image = np.random.default_rng(seed).random((rule.height, rule.width), dtype=np.float32)
    patches = cut(image, rule.patch, rule.stride)
    assert np.allclose(stitch(patches, rule.height, rule.width, rule.stride), image, atol=1e-5)


@given(rules().filter(lambda rule: rule.patch > 0), st.integers(0, 2**32 - 1))
def test_patches_are_cut_and_stitched_as_zouar_writes_it_bit_for_bit(rule: InputRule, seed: int) -> None:
    """The whole padded image, patch after patch, divided by how many cover a pixel, cropped in the end."""
    rng, side = np.random.default_rng(seed), rule.patch
    rows, columns = starts(rule.height, rule.stride), starts(rule.width, rule.stride)
    image = rng.random((rule.height, rule.width), dtype=np.float32)
    whole = np.pad(image, ((0, rows[-1] + side - rule.height), (0, columns[-1] + side - rule.width)), mode="edge")
    places = [(slice(y, y + side), slice(x, x + side)) for y in rows for x in columns]
    patches = cut(image, side, rule.stride)
    assert len(places) == rule.patches
    np.testing.assert_array_equal(patches, np.stack([whole[place] for place in places])[:, None])
    rebuilt = rng.random(patches.shape, dtype=np.float32)
    total, factors = np.zeros(whole.shape, np.float32), np.zeros(whole.shape, np.float32)
    for place, patch in zip(places, rebuilt, strict=True):
        total[place] += patch[0]
        factors[place] += 1
    expected = (total / factors)[: rule.height, : rule.width]
    np.testing.assert_array_equal(stitch(rebuilt, rule.height, rule.width, rule.stride), expected)


def test_zouars_image_gives_81_patches_which_are_run_nine_at_a_time() -> None:
    rule = InputRule(256, 256, patch=128, stride=30)
    assert len(starts(256, 30)) == 9 and (rule.patches, rule.at_once) == (81, 9)
    assert cut(np.zeros((256, 256), np.float32), 128, 30).shape == (81, 1, 128, 128)


@given(rules())
def test_no_more_images_are_run_at_once_than_a_frame_has_patches(rule: InputRule) -> None:
    assert rule.at_once == 1 if not rule.patch else 1 <= rule.at_once <= min(9, rule.patches)


def test_dividing_factors_count_what_covers_a_pixel() -> None:
    factors = dividing_factors(256, 256, 128, 30)
    assert factors[0, 0] == 1 and factors[30, 0] == 2 and factors[150, 150] == 25


def test_missing_pixels_of_a_patch_repeat_the_last_one() -> None:
    image = np.arange(256, dtype=np.float32)[None].repeat(256, axis=0)
    last = cut(image, 128, 30)[8, 0]
    assert (last[:, 16:] == 255).all()


def test_two_places_are_two_defects_worst_first() -> None:
    scores = np.zeros((10, 20), np.float32)
    scores[1:3, 2:5], scores[7, 15] = 0.6, 0.9
    worst, other = find_defects(scores, 0.5, (100, 200), "scratch")
    assert worst.bbox == (150, 70, 10, 10) and worst.area == 100 and worst.label == "scratch"
    assert other.bbox == (20, 10, 30, 20) and other.area == 600


def test_a_place_smaller_than_the_least_area_is_not_named() -> None:
    scores = np.zeros((10, 10), np.float32)
    scores[4, 4] = 1
    assert find_defects(scores, 0.5, (10, 10), "dot", least_area=2) == ()
    assert worst_place(scores, (10, 10), "dot").bbox == (4, 4, 1, 1)
