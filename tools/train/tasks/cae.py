"""Convolutional autoencoders, taught to rebuild random patches of good images (Zouar 4.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from kornia.metrics import ssim
from torch import Tensor, nn
from torch.nn import functional

from edge.vision.patches import padded_length
from tools.train.data import Sample, load_inputs
from tools.train.networks.cae import BergmannCAE, ChowCAE, OhYunCAE, PoolingCAE, fold
from tools.train.networks.cae_memory import MemAE, entropy
from tools.train.recipe import Recipe
from tools.train.tasks.task import Batch, Epoch, Task, normalise

ENTROPY_WEIGHT = 0.0002  # Gong 3.4
WINDOW = 11


def patch_batches(samples: list[Sample], recipe: Recipe) -> Epoch:
    """Random patches of the `train` split's good images (Zouar 4.1.1); its `test` split is all left to report on.

    They are drawn from the image as the line cuts it, its edges repeated: a network that never saw a repeated edge
    rebuilds it so badly that nothing else shows in the score. A patch as large as the image is the image.
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


def distance(rebuilt: Tensor, patches: Tensor, recipe: Recipe) -> Tensor:
    """Mean squared difference; with 1 - SSIM added for Bergmann's other autoencoder. Alone that has no slope where the
    output is far off: on metal_nut it stayed at 1 for the whole training."""
    rebuilt, patches = rebuilt.float().contiguous(), patches.contiguous()
    squared = functional.mse_loss(rebuilt, patches)
    return squared if recipe.loss == "l2" else squared + 1 - ssim(rebuilt, patches, WINDOW).mean()


def _loss(model: nn.Module, batch: Batch, recipe: Recipe, progress: float, part: str) -> Tensor:
    (patches,) = batch
    answer = model(patches)
    return distance(answer[0] if isinstance(answer, tuple) else answer, patches, recipe)


def _memory_loss(model: nn.Module, batch: Batch, recipe: Recipe, progress: float, part: str) -> Tensor:
    """Gong equation 10: what is rebuilt, and that few items are used for it."""
    assert isinstance(model, MemAE)  # built below
    (patches,) = batch
    rebuilt, weights = model.recall(patches)
    return distance(rebuilt, patches, recipe) + ENTROPY_WEIGHT * entropy(weights)


def _task(network: Callable[[], nn.Module], outputs: tuple[str, ...] = ("reconstruction",)) -> Task:
    def build(recipe: Recipe) -> nn.Module:
        return network()

    loss = _memory_loss if network is MemAE else _loss
    return Task("reconstruction", outputs, build, patch_batches, loss, exported=fold)


AUTOENCODERS = {
    "bergmann-cae": _task(BergmannCAE),
    "oh-yun": _task(OhYunCAE),
    "chow": _task(ChowCAE),
    "memae": _task(MemAE),
    "galacz": _task(PoolingCAE, ("reconstruction", "latent")),
}
