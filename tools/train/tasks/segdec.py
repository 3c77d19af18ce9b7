"""SegDec, taught by masks or by image labels alone (Tabernik 2019; Božič 2020, 2021; Cheng's SBDD)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.errors import DataError
from tools.train.data import Sample, load_inputs, load_masks
from tools.train.losses import pixel_weights, segdec_loss
from tools.train.networks.segdec import Pretrained, SegDec, published
from tools.train.recipe import Recipe
from tools.train.tasks.task import Batch, Epoch, Task, normalise, turned, warped


def _build(recipe: Recipe) -> nn.Module:
    step = 16 if recipe.network == "segdec-lite" else 8
    if recipe.input.width % step or recipe.input.height % step:
        raise DataError(f"{recipe.name}: input.width and height of a {recipe.network} are multiples of {step}")
    features = recipe.widths[-1]
    volume = Pretrained(features) if recipe.network == "segdec-lite" else published(recipe.widths)
    return SegDec(volume, features, stop_gradient=recipe.labels == "masks")


def without_mask(samples: list[Sample], recipe: Recipe) -> NDArray[np.int64]:
    """Defective images that teach their label alone: those that have no mask and, where few masks are to be used, all
    but `recipe.masks` of the others, drawn by the seed."""
    masked = np.flatnonzero([s.defective and s.mask is not None for s in samples])
    if recipe.labels == "few":
        masked = np.random.default_rng(recipe.seed).permutation(masked)[: recipe.masks]
    return np.setdiff1d(np.flatnonzero([s.defective for s in samples]), masked)


def _batches(samples: list[Sample], recipe: Recipe) -> Epoch:
    """Every defective image once an epoch and as many good ones, the least used first (Božič 2021, 3.3)."""
    images = normalise(load_inputs(samples, recipe.input), recipe)
    masks = load_masks(samples, recipe.input)
    weights = torch.from_numpy(np.stack([pixel_weights(m) for m in masks]))[:, None]
    weights[without_mask(samples, recipe)] = 0
    planes = torch.cat([images, torch.from_numpy(masks)[:, None], weights], 1)
    bad = np.array([i for i, s in enumerate(samples) if s.defective])
    good = np.array([i for i, s in enumerate(samples) if not s.defective])
    used = np.zeros(len(good))

    def epoch(number: int) -> Iterator[Batch]:
        rng = np.random.default_rng((recipe.seed, number))
        rarest = np.lexsort((rng.random(len(good)), used))[: len(bad)]
        used[rarest] += 1
        order = rng.permutation(np.concatenate([bad, good[rarest]]))
        for chosen in np.array_split(order, max(1, len(order) // recipe.batch)):
            group = warped(torch.stack([turned(planes[i], recipe, rng) for i in chosen]), recipe, rng)
            contrast = torch.from_numpy(rng.uniform(0.85, 1.15, (len(chosen), 1, 1, 1)).astype(np.float32))
            light = torch.from_numpy(rng.uniform(-0.2, 0.2, (len(chosen), 1, 1, 1)).astype(np.float32))
            label = torch.tensor([[float(samples[i].defective)] for i in chosen])
            yield group[:, :1] * contrast + light, label, group[:, 1:2], group[:, 2:]

    return epoch


def _loss(model: nn.Module, batch: Batch, recipe: Recipe, progress: float, part: str) -> Tensor:
    image, label, mask, weights = batch
    score, defects = model(image)
    share = 0.0 if recipe.labels == "image" else 1 - progress
    return segdec_loss(score.float(), defects.float(), label, mask, weights, share)


SEGDEC = Task("segdec", ("score", "map"), _build, _batches, _loss)
