"""Which images INT8 is calibrated on: spread over what the network sees, good and defective, every surface alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import tomli_w

from edge.bundle import Sha256
from edge.engines.session import Floats, Session
from edge.errors import DataError
from edge.inspection.files import read_frame
from edge.mistakes import from_toml
from edge.offline.coreset import coreset
from edge.offline.pack import FILE_MODE
from edge.offline.progress import Progress
from edge.offline.samples import GOOD, Sample
from edge.vision.files import images_in
from edge.vision.image import InputRule, prepare
from edge.vision.patches import cut

IMAGES = 64
EACH_SURFACE = 8  # at least so many of each
LOOKED_AT = 120  # candidates of a surface's good or defective images, drawn by the seed
PATCHES = 4  # of an image that is cut into them, drawn by the seed
LEAST = 8
ALLOWED, MOST = 0.05, 3  # of edge.offline.float_layers, where nobody says otherwise


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """path: relative to the data folder."""

    path: str
    sha256: Sha256


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """calibration/<bundle>/recipe.toml: what makes the same INT8 graphs again. fp32: digest of the ONNX graph by whose
    answers the images were chosen. allowed, most: see edge.offline.float_layers."""

    bundle: str
    data: str
    surfaces: tuple[str, ...]
    drawn: str
    seed: int
    count: Annotated[int, msgspec.Meta(ge=1)]
    candidates: int
    fp32: Sha256
    allowed: float = ALLOWED
    most: int = MOST
    image: tuple[Image, ...]


def find_candidates(folders: Sequence[Path], surfaces: Sequence[str]) -> list[Sample]:
    """The images of `folder/<surface>/{train,test}/{good,<kind>}`; of folders that are not laid out so all images, as
    good ones of the only surface. Raises DataError where there are none, or too few of a surface."""
    places = ", ".join(map(str, folders))
    laid_out = [(folder, name) for folder in folders for name in surfaces if (folder / name).is_dir()]
    found = [
        Sample(path, name, path.relative_to(folder / name / split).parts[0], None)
        for folder, name in laid_out
        for split in ("train", "test")
        for path in images_in(folder / name / split)
    ]
    if not laid_out:
        if len(surfaces) > 1:
            raise DataError(f"{places} has none of the folders {', '.join(surfaces)}; the bundle is for all of them")
        found = [Sample(path, surfaces[0], GOOD, None) for folder in folders for path in images_in(folder)]
    for name in surfaces:
        count = sum(sample.surface == name for sample in found)
        if count < LEAST:
            raise DataError(f"{places}: {count} images of {name}; at least {LEAST} are needed to calibrate on")
    return found


def choose(
    session: Session, rule: InputRule, candidates: Sequence[Sample], count: int, seed: int, progress: Progress
) -> list[Sample]:
    """As many of each surface, half of them defective where there are any; of each the ones that lie farthest apart by
    what the FP32 network answers (means, deviations and largest values of its outputs)."""
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, bool], list[Sample]] = {}
    for sample in sorted(candidates, key=lambda s: (s.surface, s.kind, s.path.name, str(s.path))):
        groups.setdefault((sample.surface, sample.defective), []).append(sample)
    drawn = {key: [own[i] for i in sorted(rng.permutation(len(own))[:LOOKED_AT])] for key, own in groups.items()}
    total, done = sum(map(len, drawn.values())), 0
    chosen: list[Sample] = []
    for (surface, defective), own in drawn.items():
        features = []
        for sample in own:
            progress("choosing images", done := done + 1, total)
            features.append(look(session, rule, sample, seed))
        share = share_of(count, surface, defective, drawn)
        chosen += [own[i] for i in coreset(_alike(np.stack(features)), share, seed)]
    return chosen


def share_of(count: int, surface: str, defective: bool, drawn: dict[tuple[str, bool], list[Sample]]) -> int:
    """How many of a group: half of its surface's where that has both, and what one half lacks the other gives."""
    surfaces = {name for name, _ in drawn}
    whole = max(EACH_SURFACE, round(count / len(surfaces)))
    other = len(drawn.get((surface, not defective), []))
    half = whole if not other else whole // 2
    return max(half, whole - other) if other else whole


def look(session: Session, rule: InputRule, sample: Sample, seed: int) -> Floats:
    """Means, deviations and largest values of each channel of the outputs, in a row."""
    rows = []
    for out in session.run(inputs_of(rule, sample, seed)):
        by_channel = np.moveaxis(out, 1, 0).reshape(out.shape[1], -1) if out.ndim > 2 else out.reshape(1, -1)
        rows += [by_channel.mean(1), by_channel.std(1), by_channel.max(1)]
    return np.concatenate(rows).astype(np.float32)


def _alike(rows: Floats) -> Floats:
    """Each number by its own deviation."""
    return np.asarray(rows / np.maximum(rows.std(0), 1e-6), np.float32)


def inputs_of(rule: InputRule, sample: Sample, seed: int) -> Floats:
    """`(n, c, h, w)`: an image as the line prepares it, or a few of its patches. Raises DataError."""
    frame = read_frame(sample.path)
    batch = prepare(frame.pixels, rule, frame.full_scale)
    if not rule.patch:
        return batch
    patches = cut(batch[0, 0], rule.patch, rule.stride)
    rng = np.random.default_rng((seed, len(patches)))
    return rng.choice(patches, min(len(patches), PATCHES), replace=False)


def inputs(rule: InputRule, chosen: Sequence[Sample], seed: int) -> Floats:
    """All of them, `(n, c, h, w)`."""
    return np.concatenate([inputs_of(rule, sample, seed) for sample in chosen])


def recipe_of(
    name: str,
    data: str,
    roots: Sequence[Path],
    chosen: Sequence[Sample],
    seed: int,
    candidates: int,
    fp32: str,
    allowed: float = ALLOWED,
    most: int = MOST,
) -> Calibration:
    """roots: the folders that the images lie in; for the rest see Calibration."""
    images = []
    for sample in chosen:
        root = next(root for root in roots if sample.path.is_relative_to(root))
        digest = hashlib.sha256(sample.path.read_bytes()).hexdigest()
        images.append(Image(sample.path.relative_to(root).as_posix(), digest))
    drawn = "as many of each surface, half defective where there are any; the farthest apart by the FP32 outputs"
    surfaces = tuple(sorted({sample.surface for sample in chosen}))
    return Calibration(
        bundle=name,
        data=data,
        surfaces=surfaces,
        drawn=drawn,
        seed=seed,
        count=len(images),
        candidates=candidates,
        fp32=fp32,
        allowed=allowed,
        most=most,
        image=tuple(images),
    )


def write_recipe(folder: Path, recipe: Calibration) -> Path:
    """calibration/<bundle>/recipe.toml. Raises DataError where it cannot be written."""
    path = folder / "recipe.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(msgspec.to_builtins(recipe)))
        path.chmod(FILE_MODE)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; is the folder writable?") from error
    return path


def read_recipe(path: Path) -> Calibration:
    """Raises DataError naming file and field."""
    try:
        return from_toml(path.read_bytes(), Calibration)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def redraw(recipe: Calibration, roots: Sequence[Path]) -> list[Sample]:
    """The very images of a recipe. Raises DataError for one that is missing, altered, or outside the folders."""
    if not recipe.image or not recipe.surfaces:
        raise DataError(f"the recipe of {recipe.bundle} names no image, or no surface; choose anew without --recipe")
    chosen = []
    for image in recipe.image:
        if Path(image.path).is_absolute() or ".." in Path(image.path).parts:
            raise DataError(f"calibration of {recipe.bundle}: {image.path} leaves its folder")
        path = next((root / image.path for root in roots if (root / image.path).is_file()), None)
        if path is None:
            raise DataError(f"calibration of {recipe.bundle}: {image.path} is in none of {', '.join(map(str, roots))}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != image.sha256:
            raise DataError(f"{path} is not the image that {recipe.bundle} was calibrated on; bring that one")
        parts = Path(image.path).parts
        laid_out = len(parts) > 3 and parts[0] in recipe.surfaces  # <surface>/<split>/<kind>/...
        chosen.append(Sample(path, parts[0] if laid_out else recipe.surfaces[0], parts[2] if laid_out else GOOD, None))
    return chosen
