"""A recipe: one small TOML that says which network learns which surface, and how."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import DataError
from edge.offline.calibrate import ALLOWED, MOST
from edge.vision.image import InputRule

EACH = "{surface}"
# What only the bundle depends on, not the training.
BUNDLING = (
    *("name", "licence", "data", "equalise", "pass_good", "measure", "pooling", "blur", "heat"),
    *("target_frame_ms", "target_patch_ms", "dense_stride", "allowed", "most"),
)


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """name: the bundle's; with `{surface}` in it each surface has a training and a bundle of its own. labels: what a
    SegDec network is taught with; `few`: masks of `masks` defective images, of the others the labels alone.
    crops: patches drawn an epoch (CAE).

    warp: each image is shifted and scaled by up to this share and turned by as many right angles. equalise: see
    tools.train.equalise.
    halving, rotation, noise: of a DRAE: which block of a stage halves, by up to how many radians an image is turned,
    the share of patches that get noise. restarts: how often the learning rate starts anew, at a third of its last peak.
    allowed, most: of the layers that stay in float (edge.offline.float_layers).
    dense_stride: of the patches in the bundle's dense mode; 0 for a bundle without one.
    loss: of a reconstruction, in the training. measure, pooling, blur, heat: on the line, as in edge.bundle.Scoring.
    """

    name: str
    network: Literal[
        "segdec", "segdec-lite", "bergmann-cae", "oh-yun", "chow", "memae", "galacz", "draem", "drae", "gate"
    ]
    surfaces: tuple[str, ...]
    licence: str
    data: str
    input: InputRule
    epochs: int = 1
    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 1
    widths: tuple[int, int, int, int] = (8, 16, 32, 64)
    width: int = 16
    halving: Literal["A", "C"] = "C"
    rotation: float = 0.0
    noise: float = 0.75
    restarts: int = 0
    labels: Literal["masks", "few", "image"] = "masks"
    masks: int = 0
    turns: tuple[Literal["horizontal", "vertical", "quarter"], ...] = ("horizontal", "vertical")
    warp: float = 0.0
    crops: int = 10_000
    equalise: bool = False
    pass_good: float = 0.98
    loss: Literal["l2", "ssim"] = "l2"
    measure: Literal["l2", "ssim"] = "l2"
    pooling: Literal["max", "mean", "worst_patch"] = "max"
    blur: float = 0.0
    heat: Literal["measure", "difference"] = "measure"
    dense_stride: int = 0
    allowed: float = ALLOWED
    most: int = MOST
    target_frame_ms: float | None = None
    target_patch_ms: float | None = None


def read_recipe(path: Path) -> Recipe:
    """Raises msgspec.ValidationError naming the field."""
    return msgspec.convert(tomllib.loads(path.read_text()), Recipe)


def read_recipes(path: Path, surface: str | None = None) -> list[Recipe]:
    """One recipe for each bundle that the file is for. surface: only that one's, where it has one for each.

    Raises DataError where the file does not name the surface, msgspec.ValidationError naming the field.
    """
    recipe = read_recipe(path)
    if surface is not None and surface not in recipe.surfaces:
        raise DataError(f"{path} is for {', '.join(recipe.surfaces)}, not for {surface}")
    if EACH not in recipe.name:
        return [recipe]
    chosen = recipe.surfaces if surface is None else (surface,)
    return [msgspec.structs.replace(recipe, name=recipe.name.replace(EACH, s), surfaces=(s,)) for s in chosen]


def digest(recipe: Recipe, leave_out: tuple[str, ...] = BUNDLING) -> str:
    """SHA-256 of what a recipe says besides the defaults, so that a new field of others changes nothing."""
    said = {name: value for name, value in _said(recipe).items() if name not in leave_out}
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


def _said(struct: msgspec.Struct) -> dict[str, object]:
    """The fields that are not their default, those of a struct inside as well."""
    values = {field.name: getattr(struct, field.name) for field in msgspec.structs.fields(struct)}
    return {
        field.name: _said(values[field.name]) if isinstance(values[field.name], msgspec.Struct) else values[field.name]
        for field in msgspec.structs.fields(struct)
        if values[field.name] != field.default
    }
