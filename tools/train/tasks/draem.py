"""DRAEM, taught on good images with damage drawn into them (Zavrtanik et al. 2021; Rožanec 4).

DRAEM takes its damage from the Describable Textures Dataset. Here it comes from what is at hand: a crop of another
good image of the surface with its tones altered, or Perlin noise between two greys (the paper's ablation shows that
plain colours serve nearly as well). Where such a texture happens to equal what it covers, nothing is marked.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tools.train.data import Sample, load_inputs
from tools.train.losses import ssim
from tools.train.networks.draem import Draem, MapOnly
from tools.train.perlin import perlin, perlin_mask
from tools.train.recipe import Recipe
from tools.train.tasks.task import Batch, Epoch, Task, turned, warped

Floats = NDArray[np.float32]

VISIBLE = 0.015  # a smaller change, on the sensor's range of 0..1 and over 5 px, is no damage
DAMAGED = 0.5  # share of the images that get any (DRAEM's code: one half)
MOST_OF_IMAGE = 0.8  # how much of the image may shine through its damage (DRAEM 3.2: beta)
GAMMA = 2.0  # of the focal loss
WINDOW, STEP = 11, 2  # pixels: side of the SSIM window, and from one to the next


def _build(recipe: Recipe) -> nn.Module:
    return Draem(recipe.width, recipe.width // 2)


def _exported(model: nn.Module) -> nn.Module:
    assert isinstance(model, Draem)
    return MapOnly(model)


def altered(rng: np.random.Generator, crop: Floats) -> Floats:
    """Tones of a `(h, w)` crop in 0..1 changed until it is no longer the surface: three of five ways, as in DRAEM."""
    ways = rng.permutation(5)[:3]
    if 0 in ways:
        crop = crop ** np.float32(rng.choice([0.35, 0.5, 2.0, 3.0]))
    if 1 in ways:
        crop = crop + np.float32(rng.uniform(-0.4, 0.4))
    if 2 in ways:
        crop = np.where(crop > rng.uniform(0.2, 0.8), np.float32(1) - crop, crop)
    if 3 in ways:
        levels = np.float32(rng.integers(2, 6))
        crop = np.asarray(np.round(crop * levels) / levels, np.float32)
    if 4 in ways:
        crop = (crop - crop.mean()) * np.float32(rng.uniform(1.5, 4)) + np.float32(rng.uniform(0.1, 0.9))
    return np.clip(crop, 0, 1).astype(np.float32)


def texture(rng: np.random.Generator, others: NDArray[np.uint8]) -> Floats:
    """`(h, w)` in 0..1: an altered crop of one of the `(n, h, w)` images, or Perlin noise between two greys."""
    _, h, w = others.shape
    if rng.random() < 0.5:
        low, high = rng.uniform(0, 1, 2).astype(np.float32)
        grain = rng.normal(0, rng.uniform(0, 0.08), (h, w)).astype(np.float32)
        return np.asarray(np.clip(low + (high - low) * (perlin(rng, h, w) + 1) / 2 + grain, 0, 1), np.float32)
    side = int(min(h, w) * rng.uniform(0.15, 0.9))
    top, left = rng.integers(0, h - side + 1), rng.integers(0, w - side + 1)
    crop = others[rng.integers(len(others)), top : top + side, left : left + side]
    crop = np.rot90(crop, int(rng.integers(4)))
    whole = cv2.resize(np.ascontiguousarray(crop), (w, h), interpolation=cv2.INTER_LINEAR)
    return altered(rng, np.asarray(whole, np.float32) / np.float32(255))


def damaged(rng: np.random.Generator, image: Floats, others: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """A `(h, w)` image in 0..1 with damage blended in under a Perlin mask (DRAEM, equation 3), and the 0/1 mask."""
    h, w = image.shape
    mask = perlin_mask(rng, h, w)
    through = np.float32(rng.uniform(0, MOST_OF_IMAGE))
    blended = np.where(mask, through * image + (1 - through) * texture(rng, others), image)
    seen = cv2.blur(np.abs(blended - image), (5, 5)) > VISIBLE
    return blended.astype(np.float32), (mask & seen).astype(np.float32)


def _batches(samples: list[Sample], recipe: Recipe) -> Epoch:
    """Every good image of the `train` split once an epoch; half of them damaged. -> (damaged, whole, mask)."""
    images = load_inputs([s for s in samples if s.split == "train" and not s.defective], recipe.input)
    mean, std = recipe.input.mean, recipe.input.std

    def epoch(number: int) -> Iterator[Batch]:
        rng = np.random.default_rng((recipe.seed, number))
        order = rng.permutation(len(images))
        for chosen in np.array_split(order, max(1, len(order) // recipe.batch)):
            planes = torch.from_numpy(images[chosen].astype(np.float32) / 255)[:, None]
            whole = warped(torch.stack([turned(plane, recipe, rng) for plane in planes]), recipe, rng)
            pairs = [
                damaged(rng, image, images) if rng.random() < DAMAGED else (image, np.zeros_like(image))
                for image in whole[:, 0].numpy()
            ]
            broken, masks = (torch.from_numpy(np.stack(half))[:, None] for half in zip(*pairs, strict=True))
            yield (broken - mean) / std, whole, masks

    return epoch


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean of -(1 - p)^2 log p, p being what the true class of each pixel got (Lin 2017; DRAEM 3.2)."""
    plain = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return ((1 - torch.exp(-plain)) ** GAMMA * plain).mean()


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of two `(n, 1, h, w)` in 0..1 (Wang 2004). DRAEM's window of 11 px, but flat and at every other pixel:
    the Gaussian at every pixel would take as long as the whole reconstructive network, this a tenth of it."""
    return ssim(*(functional.avg_pool2d(v, WINDOW, STEP) for v in (a, b, a * a + b * b, a * b)))


def _loss(model: nn.Module, batch: Batch, recipe: Recipe, progress: float, part: str) -> Tensor:
    """DRAEM's equations 2 and 5, each term with weight 1: L2 and SSIM of the repaired image, focal loss of the map.

    The network repairs on the sensor's range of 0..1, whatever the scale of its input.
    """
    broken, whole, mask = batch
    repaired, logits = (out.float() for out in model(broken))
    repair = functional.mse_loss(repaired, whole) + 1 - likeness(repaired, whole)
    return repair + focal_loss(logits, mask)


DRAEM = Task("map", ("map",), _build, _batches, _loss, exported=_exported)
