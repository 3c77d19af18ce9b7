"""Images to evaluate on: folders in the MVTec AD layout, with the folds of `split.csv` where there are any."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.vision.files import images_in

GOOD = "good"


@dataclass(frozen=True, slots=True)
class Sample:
    """One image. kind: its folder's name, `good` or a defect's. mask: its ground truth, where there is one."""

    path: Path
    surface: str
    kind: str
    mask: Path | None

    @property
    def defective(self) -> bool:
        return self.kind != GOOD


def find_samples(
    roots: Sequence[Path], fold: int | None = None, limit: int | None = None
) -> tuple[list[Sample], list[str]]:
    """The images of all surfaces, sorted by surface, kind and name, and notes on what was left out.

    `test` counts; a surface without `test` gives its `train/good` where a fold is asked for, nothing otherwise.
    fold: only images of this fold by each root's split.csv. limit: so many a surface, spread evenly over kinds.
    Raises DataError where there is no image, or no readable split.csv for a fold.
    """
    by_surface: dict[str, list[Sample]] = {}
    notes: list[str] = []
    for root in roots:
        folds = read_folds(root) if fold is not None else None
        for folder in _surface_folders(root):
            found = _test_samples(folder)
            if not (folder / "test").is_dir():
                if folds is None:
                    notes.append(f"{folder}: no test folder; its train/good is used with --fold only")
                    continue
                found = [Sample(path, folder.name, GOOD, None) for path in images_in(folder / "train" / GOOD)]
            if folds is not None:
                found = [s for s in found if folds.get(s.path.relative_to(root).as_posix()) == fold]
            by_surface.setdefault(folder.name, []).extend(found)
    samples = [s for name in sorted(by_surface) for s in spread(by_surface[name], limit)]
    if not samples:
        of_fold = "" if fold is None else f" of fold {fold}"
        advice = "; ".join(notes) or "give folders that hold <surface>/test/{good,<kind>}"
        raise DataError(f"no image{of_fold} to evaluate in {', '.join(map(str, roots))}: {advice}")
    return samples, notes


def _surface_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give one that holds <surface>/test/{{good,<kind>}}")
    if (root / "test").is_dir():
        raise DataError(f"{root} is a surface itself; give the folder above it, {root.resolve().parent}")
    return sorted(f for f in root.iterdir() if (f / "test").is_dir() or (f / "train" / GOOD).is_dir())


def _test_samples(folder: Path) -> list[Sample]:
    samples = []
    for path in images_in(folder / "test"):
        below = path.relative_to(folder / "test")
        kind = below.parts[0]
        mask = folder / "ground_truth" / below.with_name(f"{path.stem}_mask.png")
        samples.append(Sample(path, folder.name, kind, mask if kind != GOOD and mask.is_file() else None))
    return samples


def read_folds(root: Path) -> dict[str, int]:
    """Fold by path relative to the root, from split.csv. Raises DataError naming file and line."""
    table = root / "split.csv"
    if not table.is_file():
        raise DataError(f"--fold needs {table} with the columns path and fold; bring it, or leave --fold out")
    with table.open(newline="") as file:
        rows = csv.DictReader(file)
        try:
            return {row["path"]: int(row["fold"]) for row in rows}
        except KeyError as error:
            raise DataError(f"{table} has no column {error}; --fold needs path and fold") from error
        except (ValueError, TypeError) as error:
            raise DataError(f"{table}, line {rows.line_num}: the fold is not a whole number") from error


def spread(samples: list[Sample], limit: int | None) -> list[Sample]:
    """At most `limit` of them, evenly, in their order by kind and name, so that kinds keep their shares."""
    ordered = sorted(samples, key=lambda s: (s.kind, s.path))
    if limit is None or len(ordered) <= limit:
        return ordered
    return [ordered[(2 * i + 1) * len(ordered) // (2 * limit)] for i in range(limit)]


def read_mask(sample: Sample, image_shape: tuple[int, ...], width: int, height: int) -> NDArray[np.bool_] | None:
    """`(height, width)`: every pixel that a defect touches; all False for a good image. None where a defective one has
    no mask, or an empty one: nobody knows where its defect is.

    image_shape: `(h, w, ...)` of the image. Raises DataError for a mask that is no image or of another size.
    """
    if not sample.defective:
        return np.zeros((height, width), np.bool_)
    if sample.mask is None:
        return None
    drawn = cv2.imread(str(sample.mask), cv2.IMREAD_GRAYSCALE)
    if drawn is None:
        raise DataError(f"{sample.mask} is not an image that can be read")
    if drawn.shape != image_shape[:2]:
        raise DataError(f"{sample.mask} is {drawn.shape}, its image {image_shape[:2]}; a mask has its image's size")
    white = np.where(drawn > 0, np.uint8(255), np.uint8(0))
    mask = cv2.resize(white, (width, height), interpolation=cv2.INTER_AREA) > 0
    return mask if mask.any() else None
