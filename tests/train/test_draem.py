"""DRAEM: damage that can be seen, losses that can be counted by hand, a map of the image's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="torch is not here (extra `train`)")
pytest.importorskip("kornia", reason="what the other networks learn with is not here (extra `train`)")

import torch

from tools.train.networks.draem import Draem, MapOnly
from tools.train.recipe import read_recipe
from tools.train.tasks import TASKS
from tools.train.tasks.draem import VISIBLE, altered, damaged, focal_loss, likeness, texture

RECIPES = Path(__file__).resolve().parents[2] / "tools" / "train" / "recipes"


def images(count: int = 4, side: int = 96) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(60, 180, (count, side, side)).astype(np.uint8)


def test_the_network_repairs_and_maps_at_full_size() -> None:
    network = Draem(4, 2).eval()
    repaired, logits = network(torch.rand(2, 1, 64, 96))
    assert repaired.shape == logits.shape == (2, 1, 64, 96)
    torch.testing.assert_close(MapOnly(network)(torch.zeros(1, 1, 64, 64)), network(torch.zeros(1, 1, 64, 64))[1])


def test_the_published_widths_have_the_published_depth() -> None:
    """Five levels to 8 times the width without skips, six to 8 times with them (DRAEM figure 4)."""
    with torch.device("meta"):
        network = Draem(128, 64)
    widths = [
        next(len(p) for p in block.parameters())
        for encoder in (network.encoder, network.compare)
        for block in encoder.blocks
    ]
    assert widths == [128, 256, 512, 1024, 1024, 64, 128, 256, 512, 512, 512]


def test_damage_is_where_the_mask_is_and_can_be_seen() -> None:
    others, rng = images(), np.random.default_rng(3)
    image = others[0].astype(np.float32) / 255
    shares = []
    for _ in range(20):
        broken, mask = damaged(rng, image, others)
        assert broken.dtype == mask.dtype == np.float32 and set(np.unique(mask)) <= {0, 1}
        assert broken.min() >= 0 and broken.max() <= 1
        assert np.abs(broken - image)[mask == 0].max() <= 25 * VISIBLE  # all that 5x5 px may hide in one of them
        shares.append(mask.mean())
    assert 0.005 < np.mean(shares) < 0.3


def test_an_invisible_texture_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    image = images()[0].astype(np.float32) / 255
    monkeypatch.setattr("tools.train.tasks.draem.texture", lambda rng, others: image)
    broken, mask = damaged(np.random.default_rng(1), image, images())
    np.testing.assert_allclose(broken, image, atol=1e-6)
    assert not mask.any()


def test_textures_are_of_every_kind_and_within_the_sensors_range() -> None:
    rng = np.random.default_rng(4)
    made = [texture(rng, images()) for _ in range(30)]
    assert all(t.shape == (96, 96) and t.min() >= 0 and t.max() <= 1 for t in made)
    assert len({round(float(t.mean()), 3) for t in made}) > 20
    assert altered(rng, made[0]).dtype == np.float32


def test_the_focal_loss_is_lins() -> None:
    logits, wanted = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 1.0]])
    p = torch.sigmoid(logits)
    torch.testing.assert_close(focal_loss(logits, wanted), (-((1 - p) ** 2) * torch.log(p)).mean())


def test_likeness_is_one_for_the_same_and_less_for_another() -> None:
    a = torch.rand(2, 1, 32, 32)
    assert float(likeness(a, a)) == pytest.approx(1, abs=1e-4)
    assert float(likeness(a, 1 - a)) < 0.1 < float(likeness(a, (a + 0.1).clamp(0, 1)))


@pytest.mark.parametrize("surface", ["magnetic_tile", "metal_nut"])
def test_a_recipe_builds_what_the_line_runs(surface: str) -> None:
    recipe = read_recipe(RECIPES / f"draem-{surface}.toml")
    task = TASKS[recipe.network]
    network = task.exported(task.build(recipe)).eval()
    assert task.kind == "map" and len(task.outputs) == 1
    with torch.no_grad():
        assert network(torch.zeros(1, 1, recipe.input.height, recipe.input.width)).shape[-2:] == (256, 256)


def test_a_few_steps_bring_the_loss_down() -> None:
    recipe = read_recipe(RECIPES / "draem-metal_nut.toml")
    torch.manual_seed(1)
    network = Draem(4, 2)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    whole = torch.rand(2, 1, 64, 64) * 0.1 + 0.4
    broken, mask = whole.clone(), torch.zeros_like(whole)
    broken[..., 20:30, 20:30], mask[..., 20:30, 20:30] = 1, 1
    losses = []
    for _ in range(15):
        loss = TASKS["draem"].loss(network, (broken, whole, mask), recipe, 0.0, "")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
