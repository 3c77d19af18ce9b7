"""Folders of good images, as commands are given them: what is not good by its place is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.errors import DataError
from edge.inspection.files import read_frame
from edge.records import Frame
from edge.vision.files import find_images


def good_files(places: Sequence[Path]) -> list[Path]:
    """Files as given and those of folders. Raises DataError: for folders inside a folder, among which those of defects
    may be; for masks."""
    found = find_images(places)
    for path in found:
        if any(place.is_dir() and path.parent != place and path.is_relative_to(place) for place in places):
            raise DataError(f"{path.parent} is a folder inside the one given; name the folder of good images itself")
        if path.stem.endswith("_mask"):
            raise DataError(f"{path} is a mask by its name; give good images alone")
    return found


def once_each(paths: Sequence[Path]) -> Iterator[tuple[Path, Frame]]:
    """Each picture once, read as it is asked for: one that comes twice proves no more than once. Raises DataError."""
    known: set[bytes] = set()
    for path in paths:
        frame = read_frame(path)
        digest = hashlib.sha256(frame.pixels.tobytes()).digest()
        if digest not in known:
            known.add(digest)
            yield path, frame
