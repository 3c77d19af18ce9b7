"""From a camera's pixels to a network's input, by the manifest's rule alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Annotated, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import FrameError
from edge.vision.patches import starts
from edge.vision.shrink import shrink

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Floats = NDArray[np.float32]

WHOLE = (1, 1)
# `shrink` is faster where a grey frame has so many times the pixels that are wanted; OpenCV is where both ratios are
# whole numbers.
MUCH = 5
# Run nine at a time Bergmann's patches take two thirds of the time that they take one by one; all 81 take 5 % less
# still, and nine times the memory.
PATCHES_AT_ONCE = 9


class InputRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a frame of any size, 8 or 16 bit, grey or colour, becomes the network's input.

    width, height: pixels of the resized frame. channels: 1 (grey) or 3 (RGB).
    views: `whole` stretches the frame to the input size; `centre` cuts that size out of the middle at the camera's own
    scale (mirrored outward where the frame is smaller). A rule with two views gives a batch of two.
    mean, std: on a scale where the sensor's full range is 0..1; the input is (pixel - mean) / std.
    tiles: columns and rows. Where they are more than one the frame is stretched over all of them, each of the input's
    size, and they are the batch, in place of the views.
    patch, stride: side of the square patches and their distance in pixels; 0 means that the network sees it all.
    """

    width: int
    height: int
    channels: Literal[1, 3] = 1
    views: tuple[Literal["whole", "centre"], ...] = ("whole",)
    mean: float = 0.0
    std: float = 1.0
    tiles: tuple[Annotated[int, msgspec.Meta(ge=1, le=16)], Annotated[int, msgspec.Meta(ge=1, le=16)]] = (1, 1)
    patch: int = 0
    stride: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or self.std <= 0 or not self.views:
            raise ValueError("width, height and std must be positive and views not empty")
        if self.patch and not 0 < self.stride <= self.patch <= min(self.width, self.height):
            raise ValueError("a patch must fit the input, and a stride must lie between 1 and the patch")
        if self.patch and self.tiles != WHOLE:
            raise ValueError("an input has patches or tiles, not both")

    @property
    def batch(self) -> int:
        """Pictures that one frame becomes."""
        return len(self.views) if self.tiles == WHOLE else self.tiles[0] * self.tiles[1]

    @property
    def patches(self) -> int:
        """Patches that one frame is cut into; 0 where the network sees it whole."""
        return len(starts(self.height, self.stride)) * len(starts(self.width, self.stride)) if self.patch else 0

    @property
    def at_once(self) -> int:
        """Images that an engine is to run at once."""
        return min(max(self.patches, 1), PATCHES_AT_ONCE)


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """Grey `(h, w)` or RGB `(h, w, 3)` pixels brought to 1 or 3 channels; no copy where nothing changes."""
    colour = pixels.ndim == 3
    if colour and channels == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]  # cv2 keeps the dtype
    if not colour and channels == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]  # cv2 keeps the dtype
    return pixels


def planes(pixels: Pixels, channels: int) -> Sequence[Pixels]:
    """The channels that differ, each `(h, w)`: of grey pixels one, which the others repeat."""
    if pixels.ndim == 3 and channels == 3:
        return cv2.split(pixels)  # type: ignore[return-value]  # cv2 keeps the dtype
    return (to_channels(pixels, 1),)


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Area average on the way down, linear on the way up; the whole frame, stretched."""
    h, w = pixels.shape[:2]
    if (h, w) == (height, width):
        return pixels
    smaller = h >= height and w >= width
    if pixels.ndim == 2 and smaller and h * w > MUCH * height * width and (h % height or w % width):
        return shrink(pixels, width, height)
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=way)  # type: ignore[return-value]  # cv2 keeps the dtype


def centre(pixels: Pixels, width: int, height: int) -> Pixels:
    """The middle of the frame at its own scale, mirrored outward where the frame is too small."""
    h, w = pixels.shape[:2]
    top, left = max(0, (h - height) // 2), max(0, (w - width) // 2)
    cut = pixels[top : top + height, left : left + width]
    lack_y, lack_x = height - cut.shape[0], width - cut.shape[1]
    if not lack_y and not lack_x:
        return cut
    borders = (lack_y // 2, lack_y - lack_y // 2, lack_x // 2, lack_x - lack_x // 2)
    return cv2.copyMakeBorder(cut, *borders, borderType=cv2.BORDER_REFLECT)  # type: ignore[return-value]  # as above


VIEWS = {"whole": resize, "centre": centre}


def pictures(pixels: Pixels, rule: InputRule) -> Iterator[Pixels]:
    """The frame as the network is to see it: each view, or each tile, row by row."""
    width, height = rule.width, rule.height
    if rule.tiles == WHOLE:
        yield from (VIEWS[view](pixels, width, height) for view in rule.views)
        return
    columns, rows = rule.tiles
    large = resize(pixels, columns * width, rows * height)
    for y, x in product(range(0, rows * height, height), range(0, columns * width, width)):
        yield large[y : y + height, x : x + width]


def prepare(pixels: Pixels, rule: InputRule, full_scale: int | None = None) -> Floats:
    """Bring one frame to the network's input.

    pixels: `(h, w)` grey or `(h, w, 3)` RGB, uint8 or uint16. full_scale: the sensor's largest value where it is less
    than the dtype's (1023 for Mono10 in 16 bits). Returns float32 `(batch, channels, height, width)`.
    Raises FrameError for another dtype or shape.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise FrameError(f"the frame's pixels are {pixels.dtype}; send uint8 or uint16")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or 0 in pixels.shape:
        raise FrameError(f"the frame's shape is {pixels.shape}; send (h, w) grey or (h, w, 3) RGB")
    top = full_scale or int(np.iinfo(pixels.dtype).max)
    gain, offset = 1.0 / (top * rule.std), rule.mean / rule.std
    batch = np.empty((rule.batch, rule.channels, rule.height, rule.width), np.float32)
    for picture, out in zip(pictures(pixels, rule), batch, strict=True):
        colours = planes(picture, rule.channels)
        for colour, plane in zip(colours, out, strict=False):
            plane[...] = colour
            plane *= gain
            plane -= offset
        out[len(colours) :] = out[0]
    return batch
