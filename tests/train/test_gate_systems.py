"""The gate's networks on made clusters: what the losses mean, and that a short training reads the embedding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch, which teaches the networks, is not here (extra `train`)")

from tools.train.gate import EMBEDDINGS, surfaces_not_taught  # noqa: E402 # after the skip
from tools.train.gate_fit import read_embeddings  # noqa: E402 # after the skip
from tools.train.gate_systems import Taught, dissimilarity, learn_embedding, scale, teach  # noqa: E402 # after the skip
from tools.train.gate_tables import PAPER, RECIPE, Shares, tables  # noqa: E402 # after the skip
from tools.train.losses_gate import divergence, gradient_penalty, reconstruction  # noqa: E402 # after the skip
from tools.train.networks.vaegan import VAEGAN  # noqa: E402 # after the skip
from tools.train.recipe import read_recipe  # noqa: E402 # after the skip

REAL = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 0.0]])


def clusters(seed: int, count: int = 60) -> Taught:
    rng = np.random.default_rng(seed)
    surface = np.repeat(np.arange(3), count)
    codes = (np.eye(3, 8)[surface] * 4 + rng.standard_normal((3 * count, 8)) * 0.2).astype(np.float32)
    ends = np.array([[-1.0] * 8, [5.0] * 8], np.float32)
    return Taught(scale(codes, ends), torch.from_numpy(surface))


def test_the_code_is_held_to_the_class_embedding() -> None:
    at, level = REAL, torch.zeros_like(REAL)
    assert divergence(at, level, REAL).item() == pytest.approx(0)
    assert divergence(at + 1, level, REAL).item() == pytest.approx(1.5)
    assert divergence(at, level + 1, REAL).item() > 0 and divergence(at, level - 1, REAL).item() > 0


def test_reconstruction_is_least_at_what_is_wanted() -> None:
    wanted = torch.tensor([[0.2, 0.8]])
    best = reconstruction(torch.logit(wanted), wanted)
    assert best < reconstruction(torch.logit(wanted) + 0.5, wanted)
    assert best < reconstruction(torch.logit(wanted) - 0.5, wanted)


def test_a_slope_of_one_has_no_penalty() -> None:
    model = VAEGAN(2, 3)
    straight = torch.nn.Linear(5, 1)
    with torch.no_grad():
        straight.weight.copy_(torch.tensor([[0.6, 0.8, 0.0, 0.0, 0.0]]))
    model.discriminator = torch.nn.Sequential(straight)
    real, fake = torch.rand(4, 2), torch.rand(4, 2)
    assert gradient_penalty(model, real, fake, REAL[:1].expand(4, 3)).item() == pytest.approx(0, abs=1e-6)


def test_the_learned_embedding_stays_near_the_one_by_hand_and_comes_again() -> None:
    first, again = (learn_embedding(clusters(1), REAL, 150, 7) for _ in range(2))
    assert torch.equal(first, again)
    assert (first - REAL).abs().mean() < 0.25


@pytest.mark.parametrize("absolute", [True, False])
def test_encoder_2_reads_the_embedding_off_a_fresh_frame(absolute: bool) -> None:
    reader = teach(clusters(1), REAL, absolute, 400, 7)
    fresh = clusters(2)
    distances = dissimilarity(reader, fresh.x, REAL)
    assert (distances.argmin(axis=1) == fresh.surface.numpy()).mean() > 0.95
    own = distances[np.arange(len(distances)), fresh.surface.numpy()]
    nowhere = dissimilarity(reader, torch.rand(60, 8) * 0.2 + 0.4, REAL).min(axis=1)
    assert np.median(nowhere) > np.median(own)


def test_what_the_recipe_does_not_name_is_unseen(tmp_path: Path) -> None:
    for place in ("cloth/train/good", "rope/test/good", "doubtful/cloth", "packages"):
        (tmp_path / place).mkdir(parents=True)
    recipe = read_recipe(RECIPE)
    assert surfaces_not_taught(recipe, [tmp_path]) == ["cloth", "rope"]
    (tmp_path / recipe.surfaces[0] / "train").mkdir(parents=True)
    assert surfaces_not_taught(recipe, [tmp_path]) == ["cloth", "rope"]


def test_every_surface_of_the_shipped_gate_has_its_class_embedding() -> None:
    recipe = read_recipe(RECIPE)
    embeddings = read_embeddings(EMBEDDINGS, recipe.surfaces)
    assert embeddings is not None and set(embeddings.surfaces) == set(recipe.surfaces)
    assert all(0 <= value <= 1 for values in embeddings.surfaces.values() for value in values)


def test_the_tables_stand_beside_the_papers() -> None:
    shares = {key: Shares(90.0, 80.0, 70.0) for key in PAPER}
    text = tables(shares, Shares(99.0, 99.0, 99.0))
    assert "| learned CE | 90.00 | 80.00 | 84.71 | 70.00 | 100 | 98.12 | 95.96 | 97.03 | 100 |" in text
    assert text.splitlines()[-1].startswith("| Mahalanobis (shipped) | 99.00 | 99.00 | 99.00 ")
