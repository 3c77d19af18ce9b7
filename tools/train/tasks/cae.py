"""Convolutional autoencoders, taught to rebuild random patches of good images (Zouar 4.1.1)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from edge.vision.patches import padded_length
from tools.train.data import Sample, load_inputs
from tools.train.networks.cae import BergmannCAE
from tools.train.recipe import Recipe
from tools.train.tasks.task import Batch, Epoch, Task, normalise


def _build(recipe: Recipe) -> nn.Module:
    return BergmannCAE()


def patch_batches(samples: list[Sample], recipe: Recipe) -> Epoch:
    """Random patches of the `train` split's good images (Zouar 4.1.1); its `test` split is all left to report on.

    They are drawn from the image as the line cuts it, its edges repeated: a network that never saw a repeated edge
    rebuilds it so badly that nothing else shows in the score.
    """
    images = load_inputs([s for s in samples if s.split == "train" and not s.defective], recipe.input)
    side, stride = recipe.input.patch, recipe.input.stride
    beyond = [(0, padded_length(length, side, stride) - length) for length in images.shape[1:]]
    images = np.pad(images, ((0, 0), *beyond), mode="edge")

    def epoch(number: int) -> Iterator[Batch]:
        rng = np.random.default_rng((recipe.seed, number))
        n, h, w = images.shape
        which = rng.integers(0, n, recipe.crops)
        tops, lefts = rng.integers(0, h - side + 1, recipe.crops), rng.integers(0, w - side + 1, recipe.crops)
        for first in range(0, recipe.crops, recipe.batch):
            part = range(first, min(first + recipe.batch, recipe.crops))
            cut = [images[which[i], tops[i] : tops[i] + side, lefts[i] : lefts[i] + side] for i in part]
            yield (normalise(np.stack(cut), recipe),)

    return epoch


def _loss(model: nn.Module, batch: Batch, recipe: Recipe, progress: float, part: str) -> Tensor:
    (patches,) = batch
    return functional.mse_loss(model(patches).float(), patches)


CAE = Task("reconstruction", ("reconstruction",), _build, patch_batches, _loss)
