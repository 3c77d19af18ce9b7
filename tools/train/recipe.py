"""A recipe: one small TOML that says which network learns which surface, and how."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from edge.bundle import Format
from edge.vision.image import InputRule


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """name: the bundle's name. labels: what a SegDec network is taught with. crops: patches drawn an epoch (CAE).

    warp: each image is shifted and scaled by up to this share and turned by as many right angles. float_layers: those
    that INT8 hurts most, kept float in the INT8 graphs too. int8: the formats whose INT8 graph is fit to be shipped.
    """

    name: str
    network: Literal["segdec", "bergmann-cae", "gate"]
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
    labels: Literal["masks", "image"] = "masks"
    turns: tuple[Literal["horizontal", "vertical", "quarter"], ...] = ("horizontal", "vertical")
    warp: float = 0.0
    crops: int = 10_000
    float_layers: tuple[str, ...] = ()
    int8: tuple[Format, ...] = ("onnx", "tflite")
    pass_good: float = 0.98
    blur: float = 0.0
    target_frame_ms: float | None = None
    target_patch_ms: float | None = None


def read_recipe(path: Path) -> Recipe:
    """Raises msgspec.ValidationError naming the field."""
    return msgspec.convert(tomllib.loads(path.read_text()), Recipe)
