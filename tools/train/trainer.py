"""One trainer for every network that learns by gradient: seeded, resumable, with a progress bar."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional

from edge.vision.patches import padded_length
from tools.train.data import Sample, load_inputs, load_masks, split
from tools.train.losses import pixel_weights, segdec_loss
from tools.train.networks.cae import BergmannCAE
from tools.train.networks.segdec import SegDec
from tools.train.recipe import Recipe

Batch = tuple[Tensor, ...]


def build(recipe: Recipe) -> nn.Module:
    torch.manual_seed(recipe.seed)
    if recipe.network == "segdec":
        return SegDec(recipe.widths, stop_gradient=recipe.labels == "masks")
    return BergmannCAE()


def normalise(pixels: NDArray[np.uint8], recipe: Recipe) -> Tensor:
    """`(n, h, w)` uint8 -> `(n, 1, h, w)`, the same arithmetic as edge.vision.image.prepare."""
    scaled = (pixels.astype(np.float32) * (1 / 255) - recipe.input.mean) / recipe.input.std
    return torch.from_numpy(scaled)[:, None]


def _turned(planes: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Flips and quarter turns of `(planes, h, w)`, image, mask and weights alike."""
    if "horizontal" in recipe.turns and rng.random() < 0.5:
        planes = planes.flip(-1)
    if "vertical" in recipe.turns and rng.random() < 0.5:
        planes = planes.flip(-2)
    if "quarter" in recipe.turns and rng.random() < 0.5:
        planes = planes.transpose(-1, -2)
    return planes


def _warped(group: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Small random shifts, scales and turns of a batch `(n, planes, h, w)`; what comes in from outside is mirrored."""
    if not recipe.warp:
        return group
    shift, scale, angle = (rng.uniform(-recipe.warp, recipe.warp, (k, len(group))) for k in (2, 1, 1))
    cos, sin = (f(angle[0] * np.pi / 2) * (1 + scale[0]) for f in (np.cos, np.sin))
    rows = [np.stack([cos, -sin, 2 * shift[0]], -1), np.stack([sin, cos, 2 * shift[1]], -1)]
    grid = functional.affine_grid(torch.from_numpy(np.stack(rows, 1)).float(), list(group.shape), align_corners=False)
    return functional.grid_sample(group, grid, padding_mode="reflection", align_corners=False)


def segdec_batches(samples: list[Sample], recipe: Recipe) -> Callable[[int], Iterator[Batch]]:
    """Every defective image once an epoch and as many good ones, the least used first (Božič 2021, 3.3)."""
    images = normalise(load_inputs(samples, recipe.input), recipe)
    masks = load_masks(samples, recipe.input)
    weights = torch.from_numpy(np.stack([pixel_weights(m) for m in masks]))[:, None]
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
            group = _warped(torch.stack([_turned(planes[i], recipe, rng) for i in chosen]), recipe, rng)
            contrast = torch.from_numpy(rng.uniform(0.85, 1.15, (len(chosen), 1, 1, 1)).astype(np.float32))
            light = torch.from_numpy(rng.uniform(-0.2, 0.2, (len(chosen), 1, 1, 1)).astype(np.float32))
            label = torch.tensor([[float(samples[i].defective)] for i in chosen])
            yield group[:, :1] * contrast + light, label, group[:, 1:2], group[:, 2:]

    return epoch


def patch_batches(samples: list[Sample], recipe: Recipe) -> Callable[[int], Iterator[Batch]]:
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


def loss_of(model: nn.Module, batch: Batch, recipe: Recipe, progress: float) -> Tensor:
    """progress: the share of the training that is done, 0..1."""
    if recipe.network == "segdec":
        image, label, mask, weights = batch
        score, defects = model(image)
        share = 1 - progress if recipe.labels == "masks" else 0.0
        return segdec_loss(score.float(), defects.float(), label, mask, weights, share)
    return functional.mse_loss(model(batch[0]).float(), batch[0])


def train(recipe: Recipe, samples: list[Sample], out: Path) -> None:
    """Train, keeping a checkpoint after each epoch in `out`; an interrupted run goes on from there."""
    training, _ = split(samples)
    model = build(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimiser = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    batches = (segdec_batches if recipe.network == "segdec" else patch_batches)(training, recipe)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs, recipe.learning_rate / 50)
    curve: list[float] = []
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        curve = saved["curve"]
    started = time.monotonic()
    with Progress() as bar:
        task = bar.add_task(recipe.name, total=recipe.epochs, completed=len(curve))
        for epoch in range(len(curve), recipe.epochs):
            curve.append(_one_epoch(model, optimiser, batches(epoch), recipe, epoch))
            schedule.step()
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "curve": curve,
                },
                checkpoint,
            )
            bar.update(task, advance=1, description=f"{recipe.name} loss {curve[-1]:.5f}")
            print(f"{recipe.name} {epoch + 1}/{recipe.epochs} loss {curve[-1]:.5f}", flush=True)
    report = {"loss": curve, "seconds": round(time.monotonic() - started), "images": len(training)}
    (out / "training.json").write_text(json.dumps(report))


def _one_epoch(
    model: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterator[Batch], recipe: Recipe, epoch: int
) -> float:
    model.train()
    losses = []
    for batch in batches:
        channels_last = (batch[0].contiguous(memory_format=torch.channels_last), *batch[1:])
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, channels_last, recipe, epoch / recipe.epochs)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return float(np.mean(losses))
