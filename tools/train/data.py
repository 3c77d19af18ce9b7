"""Real surface images in the MVTec AD layout, with the fixed folds of `split.csv` where there is one."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.vision.files import find_images
from edge.vision.image import InputRule, resize, to_channels


@dataclass(frozen=True)
class Sample:
    """One image: `kind` is `good` or the defect's folder name; `group` the physical part, `fold` 0..4 drawn by it."""

    path: Path
    surface: str
    split: str
    kind: str
    mask: Path | None
    fold: int
    group: str

    @property
    def defective(self) -> bool:
        return self.kind != "good"


def read_samples(roots: list[Path], surface: str) -> list[Sample]:
    """All images of a surface, from the first root that has it; without a split.csv each image is a part of its own.

    Raises DataError where no root has the surface.
    """
    for root in roots:
        table = root / "split.csv"
        if (root / surface).is_dir() and table.is_file():
            with table.open(newline="") as rows:
                return [_sample(root, row) for row in csv.DictReader(rows) if row["surface"] == surface]
        if (root / surface).is_dir():
            return [
                _walked(root, path) for path in find_images([root / surface]) if path.parts[-3] in ("train", "test")
            ]
    raise DataError(f"no folder of the surface {surface!r} in {', '.join(map(str, roots))}")


def strangers(samples: list[Sample]) -> list[Sample]:
    """The test images of parts that the train split has no image of: what taught on all of that saw none of them."""
    known = {s.group for s in samples if s.split == "train"}
    return [s for s in samples if s.split == "test" and s.group not in known]


def _walked(root: Path, path: Path) -> Sample:
    """<surface>/<split>/<kind>/<image>, its fold drawn by its name."""
    surface, split, kind = path.relative_to(root).parts[:3]
    mask = root / surface / "ground_truth" / kind / f"{path.stem}_mask.png"
    fold = int(hashlib.sha256(path.name.encode()).hexdigest(), 16) % 5
    return Sample(path, surface, split, kind, mask if mask.is_file() else None, fold, f"{split}/{kind}/{path.stem}")


def _sample(root: Path, row: dict[str, str]) -> Sample:
    path = root / row["path"]
    mask = root / row["surface"] / "ground_truth" / row["kind"] / f"{path.stem}_mask.png"
    drawn = mask if row["mask"] == "1" else None
    return Sample(path, row["surface"], row["split"], row["kind"], drawn, int(row["fold"]), row["group"])


def read_grey(path: Path) -> NDArray[np.uint8]:
    """`(h, w)` uint8. Raises DataError for a file that is no image."""
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise DataError(f"{path} is not an image")
    return pixels  # type: ignore[return-value]  # cv2 promises uint8 for IMREAD_GRAYSCALE


def load_inputs(samples: list[Sample], rule: InputRule) -> NDArray[np.uint8]:
    """`(n, h, w)` uint8: each image at the rule's size, still on the camera's scale."""
    return np.stack([resize(to_channels(read_grey(s.path), 1), rule.width, rule.height) for s in samples])


def load_masks(samples: list[Sample], rule: InputRule) -> NDArray[np.float32]:
    """`(n, h, w)` 0/1: every pixel that a defect touches; all zero for a good image or a missing mask."""
    masks = np.zeros((len(samples), rule.height, rule.width), np.float32)
    for out, sample in zip(masks, samples, strict=True):
        if sample.mask is not None:
            drawn = cv2.resize(read_grey(sample.mask), (rule.width, rule.height), interpolation=cv2.INTER_AREA)
            out[...] = drawn > 0
    return masks


def split(samples: list[Sample], validation: int = 3, report: int = 4) -> tuple[list[Sample], list[Sample]]:
    """Training and validation images; fold `report` of the test split is in neither, nor is another image of its parts.

    The validation fold sets thresholds and chooses epochs, so that the reported images see neither.
    """
    reported = {(s.surface, s.group) for s in samples if s.split == "test" and s.fold == report}
    usable = [s for s in samples if (s.surface, s.group) not in reported]
    return [s for s in usable if s.fold != validation], [s for s in usable if s.fold == validation]
