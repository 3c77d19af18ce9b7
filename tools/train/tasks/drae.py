"""DRAE, taught within a GAN to rebuild good patches from under Perlin noise (Ferrari 6.1, 6.2 and 7.3).

Where the paper is silent this follows what it cites: L2 is the mean squared difference and the discriminator learns by
cross-entropy (GANomaly); the noise covers half to all of the patch under its mask, and the latent code that counts is
the one of the perturbed patch (the authors' own later code). Two things differ. The grain under the mask is fresh
noise, since the mask's own is above 0.5 there and would only ever brighten. And N in the noise loss is what the noise
changed, |X* - X|: on a black image that is the noise itself, as the paper says, and on any other a patch rebuilt
without fault has the least loss, which it would not have otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge.vision.patches import padded_length, starts
from tools.train.data import Sample, load_inputs
from tools.train.losses import ssim
from tools.train.networks.drae import Drae, on_the_line
from tools.train.perlin import perlin, perlin_mask
from tools.train.recipe import Recipe
from tools.train.tasks.task import Batch, Epoch, Task

Floats = NDArray[np.float32]

HUBER, SSIM = 2.0, 1.0  # equation 8: w_a, w_b
ADVERSARIAL, CONTEXTUAL, ENCODER, NOISE = 1.0, 50.0, 1.0, 3.0  # w_1 .. w_4
COVERED = 0.5, 1.0  # how much of the patch the noise covers under its mask
WINDOW, SIGMA = 11, 1.5  # pixels; Wang's Gaussian, as on the line


def _build(recipe: Recipe) -> nn.Module:
    return Drae(recipe.widths, recipe.halving)


def perturbed(rng: np.random.Generator, patch: Floats) -> Floats:
    """Equation 1: a `(h, w)` patch in 0..1 with Perlin noise over some of it."""
    height, width = patch.shape
    mask, grain = perlin_mask(rng, height, width), (perlin(rng, height, width) + 1) / 2
    share = np.float32(rng.uniform(*COVERED))
    return np.where(mask, (1 - share) * patch + share * grain, patch).astype(np.float32)


def turned_patch(rng: np.random.Generator, image: NDArray[np.uint8], corner: tuple[int, int], recipe: Recipe) -> Floats:
    """The square at `corner` (top, left) of an `(h, w)` image that was flipped and turned as the recipe allows, in
    0..1. What comes in from outside the image is mirrored."""
    for way, axis in (("vertical", 0), ("horizontal", 1)):
        if way in recipe.turns and rng.random() < 0.5:
            image = np.ascontiguousarray(np.flip(image, axis))
    side, (top, left) = recipe.input.patch, corner
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, float(np.degrees(rng.uniform(-recipe.rotation, recipe.rotation))), 1.0)
    turn[:, 2] -= left, top
    cut = cv2.warpAffine(image, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cut / np.float32(255), np.float32)


def _batches(samples: list[Sample], recipe: Recipe) -> Epoch:
    """Every patch, as the line cuts it, of the `train` split's good images once an epoch -> (perturbed, as it was)."""
    images = load_inputs([s for s in samples if s.split == "train" and not s.defective], recipe.input)
    side, stride = recipe.input.patch, recipe.input.stride
    corners = [(y, x) for y in starts(images.shape[1], stride) for x in starts(images.shape[2], stride)]
    beyond = [(0, padded_length(length, side, stride) - length) for length in images.shape[1:]]
    images = np.pad(images, ((0, 0), *beyond), mode="edge")

    def epoch(number: int) -> Iterator[Batch]:
        rng = np.random.default_rng((recipe.seed, number))
        order = rng.permutation(len(images) * len(corners))
        for chosen in np.array_split(order, max(1, len(order) // recipe.batch)):
            whole = [turned_patch(rng, images[i // len(corners)], corners[i % len(corners)], recipe) for i in chosen]
            seen = [perturbed(rng, patch) if rng.random() < recipe.noise else patch for patch in whole]
            yield torch.from_numpy(np.stack(seen))[:, None], torch.from_numpy(np.stack(whole))[:, None]

    return epoch


@lru_cache(maxsize=4)
def blurring(side: int) -> Tensor:
    """`(side, side)`: times a column of pixels, what Wang's Gaussian makes of it, edges mirrored."""
    reach = WINDOW // 2
    weights = np.exp(-((np.arange(WINDOW) - reach) ** 2) / (2 * SIGMA**2))
    padded = np.pad(np.eye(side), ((reach, reach), (0, 0)), mode="reflect")
    rows = sum(w * padded[i : i + side] for i, w in enumerate(weights / weights.sum()))
    return torch.from_numpy(np.asarray(rows, np.float32))


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of two `(n, 1, h, w)` float32 in 0..1. As kornia.metrics.ssim, but two products of matrices a plane
    take a tenth of the time that its convolution takes on a CPU."""
    down, across = blurring(a.shape[-2]), blurring(a.shape[-1])
    mean_a, mean_b, squares, product = (down @ v @ across.T for v in (a, b, a * a + b * b, a * b))
    return ssim(mean_a, mean_b, squares, product)


def contextual(rebuilt: Tensor, whole: Tensor) -> Tensor:
    """Equation 7."""
    with torch.autocast("cpu", enabled=False):
        return HUBER * functional.huber_loss(rebuilt, whole) + SSIM * (1 - likeness(rebuilt, whole))


def _generator_loss(model: Drae, seen: Tensor, whole: Tensor) -> Tensor:
    """Equations 2 to 7 with the weights of equation 8."""
    code, rebuilt, again = model.generator(seen)
    model.faked = rebuilt.detach()
    true, false = model.discriminator(whole)[0], model.discriminator(rebuilt)[0]
    noise = functional.l1_loss((seen - rebuilt).abs(), (seen - whole).abs())
    return (
        ADVERSARIAL * functional.mse_loss(false.float(), true.float())
        + CONTEXTUAL * contextual(rebuilt, whole)
        + ENCODER * functional.l1_loss(again.float(), code.float())
        + NOISE * noise
    )


def _discriminator_loss(model: Drae, whole: Tensor) -> Tensor:
    assert model.faked is not None  # the generator's turn comes first
    true, false = model.discriminator(whole)[1].float(), model.discriminator(model.faked)[1].float()
    right = functional.binary_cross_entropy_with_logits
    return (right(true, torch.ones_like(true)) + right(false, torch.zeros_like(false))) / 2


def _loss(model: nn.Module, batch: Batch, recipe: Recipe, progress: float, part: str) -> Tensor:
    assert isinstance(model, Drae)  # built above
    seen, whole = batch
    model.discriminator.requires_grad_(part == "discriminator")
    return _discriminator_loss(model, whole) if part == "discriminator" else _generator_loss(model, seen, whole)


DRAE = Task(
    *("reconstruction", ("reconstruction",), _build, _batches, _loss),
    parts=("generator", "discriminator"),
    exported=on_the_line,
)
