"""One trainer for every network that learns by gradient: seeded, resumable, with a progress bar."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from tools.train.curves import draw_run
from tools.train.data import Sample, split
from tools.train.recipe import Recipe, digest
from tools.train.tasks import TASKS
from tools.train.tasks.task import Batch, Task


@dataclass(frozen=True)
class Training:
    """What a checkpoint holds, but for the curves: the model, and an optimiser and a schedule for each of its parts."""

    model: nn.Module
    optimisers: dict[str, AdamW]
    schedules: dict[str, LRScheduler]


def build(recipe: Recipe) -> nn.Module:
    torch.manual_seed(recipe.seed)
    return TASKS[recipe.network].build(recipe)


def train(recipe: Recipe, samples: list[Sample], out: Path) -> None:
    """Train, keeping a checkpoint after each epoch in `out`; an interrupted run goes on from there, unless it was by
    another recipe."""
    task = TASKS[recipe.network]
    training, _ = split(samples)
    state = _begin(recipe, task)
    batches = task.batches(training, recipe)
    out.mkdir(parents=True, exist_ok=True)
    curves = _resume(state, recipe, out / "checkpoint.pt")
    started = time.monotonic()
    with Progress() as bar:
        shown = bar.add_task(recipe.name, total=recipe.epochs, completed=len(curves))
        for epoch in range(len(curves), recipe.epochs):
            curves.append(_one_epoch(state, task, batches(epoch), recipe, epoch))
            for schedule in state.schedules.values():
                schedule.step()
            _keep(state, recipe, curves, out / "checkpoint.pt")
            losses = " ".join(f"{name} {value:.5f}".strip() for name, value in curves[-1].items())
            bar.update(shown, advance=1, description=f"{recipe.name} loss {losses}")
            print(f"{recipe.name} {epoch + 1}/{recipe.epochs} loss {losses}", flush=True)
    report = {
        "recipe": digest(recipe),
        "loss": curves,
        "seconds": round(time.monotonic() - started),
        "images": len(training),
    }
    (out / "training.json").write_text(json.dumps(report))
    draw_run(out)


def _begin(recipe: Recipe, task: Task) -> Training:
    model = build(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    parts = {name: model.get_submodule(name) for name in task.parts}
    rate, decay = recipe.learning_rate, recipe.weight_decay
    optimisers = {name: AdamW(part.parameters(), rate, weight_decay=decay) for name, part in parts.items()}
    schedules = {name: _schedule(optimiser, recipe) for name, optimiser in optimisers.items()}
    return Training(model, optimisers, schedules)


def _schedule(optimiser: AdamW, recipe: Recipe) -> LRScheduler:
    """A cosine down to a fiftieth; with restarts several, each beginning at a third of the one before (Ferrari 7.3)."""
    if not recipe.restarts:
        return CosineAnnealingLR(optimiser, recipe.epochs, recipe.learning_rate / 50)
    period = math.ceil(recipe.epochs / (recipe.restarts + 1))

    def share(epoch: int) -> float:
        restarted, along = divmod(epoch, period)
        return float(3.0**-restarted * (0.51 + 0.49 * math.cos(math.pi * along / period)))

    return LambdaLR(optimiser, share)


def _keep(state: Training, recipe: Recipe, curves: list[dict[str, float]], path: Path) -> None:
    kept = {
        "recipe": digest(recipe),
        "model": state.model.state_dict(),
        "optimisers": {name: optimiser.state_dict() for name, optimiser in state.optimisers.items()},
        "schedules": {name: schedule.state_dict() for name, schedule in state.schedules.items()},
        "curves": curves,
    }
    fresh = path.with_suffix(".fresh")
    torch.save(kept, fresh)
    fresh.replace(path)  # whole or not at all, whenever it is interrupted


def _resume(state: Training, recipe: Recipe, path: Path) -> list[dict[str, float]]:
    """The curves so far; the state is brought to where the checkpoint stands."""
    if not path.is_file():
        return []
    kept = torch.load(path, weights_only=True)
    if kept.get("recipe", digest(recipe)) != digest(recipe):
        return []
    state.model.load_state_dict(kept["model"])
    for name, optimiser in state.optimisers.items():
        optimiser.load_state_dict(kept["optimisers"][name])
        state.schedules[name].load_state_dict(kept["schedules"][name])
    curves: list[dict[str, float]] = kept["curves"]
    return curves


def _one_epoch(state: Training, task: Task, batches: Iterator[Batch], recipe: Recipe, epoch: int) -> dict[str, float]:
    """Each part's mean loss; on every batch the parts are stepped in turn."""
    state.model.train()
    losses: dict[str, list[float]] = {part: [] for part in task.parts}
    for batch in batches:
        channels_last = (batch[0].contiguous(memory_format=torch.channels_last), *batch[1:])
        for part, optimiser in state.optimisers.items():
            with torch.autocast("cpu", torch.bfloat16):
                loss = task.loss(state.model, channels_last, recipe, epoch / recipe.epochs, part)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses[part].append(loss.item())
    return {part: float(np.mean(values)) for part, values in losses.items()}
