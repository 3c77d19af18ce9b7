"""What the one trainer and the one bundler need to know of a network; and the augmentation that tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tools.train.data import Sample
from tools.train.recipe import Recipe

Batch = tuple[Tensor, ...]
Epoch = Callable[[int], Iterator[Batch]]


def whole(model: nn.Module) -> nn.Module:
    return model


@dataclass(frozen=True)
class Task:
    """build: the network, untrained. batches: from the training samples, an epoch's batches by its number. loss: of
    (model, batch, recipe, share of the training that is done, part); part is one of `parts`: the names of submodules
    that have an optimiser each and are stepped in turn on every batch ("": the whole network, with the only one).

    kind, outputs: of the bundle. exported: what of the model the line runs, inputs `(n, c, h, w)`.
    """

    kind: str
    outputs: tuple[str, ...]
    build: Callable[[Recipe], nn.Module]
    batches: Callable[[list[Sample], Recipe], Epoch]
    loss: Callable[[nn.Module, Batch, Recipe, float, str], Tensor]
    parts: tuple[str, ...] = ("",)
    exported: Callable[[nn.Module], nn.Module] = whole


def normalise(pixels: NDArray[np.uint8], recipe: Recipe) -> Tensor:
    """`(n, h, w)` uint8 -> `(n, 1, h, w)`, the same arithmetic as edge.vision.image.prepare."""
    scaled = (pixels.astype(np.float32) * (1 / 255) - recipe.input.mean) / recipe.input.std
    return torch.from_numpy(scaled)[:, None]


def turned(planes: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Flips and quarter turns of `(planes, h, w)`, image, mask and weights alike."""
    if "horizontal" in recipe.turns and rng.random() < 0.5:
        planes = planes.flip(-1)
    if "vertical" in recipe.turns and rng.random() < 0.5:
        planes = planes.flip(-2)
    if "quarter" in recipe.turns and rng.random() < 0.5:
        planes = planes.transpose(-1, -2)
    return planes


def warped(group: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Small random shifts, scales and turns of a batch `(n, planes, h, w)`; what comes in from outside is mirrored."""
    if not recipe.warp:
        return group
    shift, scale, angle = (rng.uniform(-recipe.warp, recipe.warp, (k, len(group))) for k in (2, 1, 1))
    cos, sin = (f(angle[0] * np.pi / 2) * (1 + scale[0]) for f in (np.cos, np.sin))
    rows = [np.stack([cos, -sin, 2 * shift[0]], -1), np.stack([sin, cos, 2 * shift[1]], -1)]
    grid = functional.affine_grid(torch.from_numpy(np.stack(rows, 1)).float(), list(group.shape), align_corners=False)
    return functional.grid_sample(group, grid, padding_mode="reflection", align_corners=False)
