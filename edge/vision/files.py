"""Image files on disk: which there are, and their pixels as stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.errors import DataError
from edge.vision.image import Pixels

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def images_in(folder: Path) -> list[Path]:
    """Every image of a folder and of those inside it, sorted; none where there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def find_images(places: Iterable[Path]) -> list[Path]:
    """Files as given, folders searched and sorted. Raises DataError where there is no image at all."""
    places = list(places)
    found = [path for place in places for path in (images_in(place) if place.is_dir() else [place])]
    if not found:
        where = ", ".join(map(str, places))
        raise DataError(f"no image in {where}; give folders or files ending in {sorted(SUFFIXES)}")
    return found


def short_names(paths: Sequence[Path]) -> list[str]:
    """Each file's name without its ending, after as many of its folders as tell all of them apart."""
    whole = [path.with_suffix("").relative_to(path.anchor).parts for path in paths]
    names = list[str]()
    for depth in range(1, max(map(len, whole), default=0) + 1):
        names = ["/".join(parts[-depth:]) for parts in whole]
        if len(set(names)) == len(set(whole)):
            break
    return names


def read_image(path: Path) -> Pixels:
    """`(h, w)` or RGB `(h, w, 3)`, 8 or 16 bits as stored. Raises DataError naming the file."""
    try:
        pixels = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:  # it claims more pixels than OpenCV takes
        raise DataError(f"{path} is not an image that can be read: {error.err}") from error
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path} is not an image of 8 or 16 bits that can be read")
    if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        return pixels[..., 0].copy()  # type: ignore[return-value]  # cv2 gives uint8 or uint16 here
    return pixels  # type: ignore[return-value]  # as above
