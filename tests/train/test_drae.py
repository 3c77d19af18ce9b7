"""Ferrari's DRAE: its noise and losses as the paper writes them, and a small one the same on every engine."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import Scoring
from edge.engines.processor import int8_overflows
from edge.engines.session import ENGINES, OVERFLOWING, READS, installed, open_session
from edge.inspection.reconstruction import pooled
from edge.records import Finding
from edge.vision.draw import heat
from edge.vision.image import InputRule
from tools.train.perlin import perlin, perlin_mask

torch = pytest.importorskip("torch", reason="the networks need torch: pip install '.[train]'")
pytest.importorskip("kornia", reason="the losses are compared with kornia's: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="export needs litert-torch: pip install '.[train]'")
pytest.importorskip("ai_edge_quantizer", reason="quantisation needs ai-edge-quantizer: pip install '.[train]'")

from kornia.metrics import ssim  # noqa: E402  # after the skip
from torch import Tensor, nn  # noqa: E402  # after the skip

from edge.vision.similarity import ssim_map  # noqa: E402  # after the skip
from tools.train.curves import read_curves  # noqa: E402  # after the skip
from tools.train.data import Sample  # noqa: E402  # after the skip
from tools.train.drae_width import doubling, gflop, graphs, settled  # noqa: E402  # after the skip
from tools.train.networks.drae import Drae, Halving, on_the_line  # noqa: E402  # after the skip
from tools.train.recipe import Recipe, read_recipe  # noqa: E402  # after the skip
from tools.train.tasks.drae import DRAE, likeness, perturbed, turned_patch  # noqa: E402  # after the skip
from tools.train.trainer import train  # noqa: E402  # after the skip

RECIPES = sorted(Path("tools/train/recipes").rglob("drae-*.toml"))
TINY = Recipe(
    name="tiny",
    network="drae",
    surfaces=("blobs",),
    licence="none",
    data="none",
    input=InputRule(width=256, height=256, patch=256, stride=256),
    widths=(2, 2, 2, 2),
    halving="A",
    batch=2,
    epochs=2,
)


def images(count: int) -> NDArray[np.float32]:
    """`(count, 1, 256, 256)` in 0..1: blurred noise, which has structure for SSIM to see."""
    noise = np.random.default_rng(3).random((count, 256, 256), dtype=np.float32)
    return np.stack([cv2.GaussianBlur(n, (0, 0), 3) * 4 - 1.5 for n in noise])[:, None].clip(0, 1).astype(np.float32)


def test_perlin_noise_is_seeded_and_in_its_range() -> None:
    first, again = (perlin(np.random.default_rng(5), 100, 180) for _ in range(2))
    assert first.shape == (100, 180)
    assert first.dtype == np.float32
    assert (first == again).all()
    rng = np.random.default_rng(5)
    drawn = np.stack([perlin(rng, 64, 64) for _ in range(40)])
    assert np.abs(drawn).max() <= 1
    assert drawn.min() < -0.6 < 0.6 < drawn.max()
    assert abs(drawn.mean()) < 0.1
    share = np.mean([perlin_mask(rng, 64, 64).mean() for _ in range(40)])
    assert 0.01 < share < 0.2


def test_noise_changes_what_is_under_its_mask_alone() -> None:
    rng, patch = np.random.default_rng(1), images(1)[0, 0]
    for _ in range(10):
        seen = perturbed(rng, patch)
        assert seen.dtype == np.float32
        assert 0 <= seen.min() <= seen.max() <= 1
        assert np.mean(seen != patch) < 0.5


def test_a_patch_that_may_not_turn_is_the_images_own() -> None:
    image = np.arange(256 * 512, dtype=np.uint32).reshape(256, 512).astype(np.uint8)
    still = msgspec.structs.replace(TINY, turns=(), rotation=0.0)
    patch = turned_patch(np.random.default_rng(1), image, (0, 256), still)
    assert np.allclose(patch, image[:, 256:] / np.float32(255))


def test_the_loss_is_the_lines_own_ssim_and_kornias() -> None:
    a, b = images(2)
    mine = float(likeness(torch.from_numpy(a[None]), torch.from_numpy(b[None])))
    assert mine == pytest.approx(float(ssim_map(a[0], b[0]).mean()), abs=1e-4)
    assert mine == pytest.approx(float(ssim(torch.from_numpy(a[None]), torch.from_numpy(b[None]), 11).mean()), abs=1e-4)


def test_a_patch_rebuilt_without_fault_costs_only_its_code() -> None:
    """Contextual, adversarial and noise loss are zero there (equations 2, 6, 7)."""

    class Perfect(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return torch.zeros(1), whole.clone(), torch.full((1,), 0.25)

    whole = torch.from_numpy(images(2))
    seen = torch.from_numpy(
        np.stack([perturbed(np.random.default_rng(i), p[0])[None] for i, p in enumerate(images(2))])
    )
    model = Drae((2, 2, 2, 2), "A").eval()
    model.generator = Perfect()  # type: ignore[assignment]  # stands in for a generator that has learnt all
    assert float(DRAE.loss(model, (seen, whole), TINY, 0.0, "generator")) == pytest.approx(0.25, abs=1e-4)


def test_both_parts_learn_and_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    samples = []
    for number, image in enumerate(images(3)):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), (image[0] * 255).astype(np.uint8))
        samples.append(Sample(path, "blobs", "train", "good", None, 0, str(number)))
    train(TINY, samples, tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert len(saved["curves"]) == 2
    assert set(saved["curves"][0]) == {"generator", "discriminator"}
    assert set(read_curves(tmp_path / "run" / "training.json")) == {"generator", "discriminator"}
    assert (tmp_path / "run" / "training.png").is_file()
    torch.manual_seed(TINY.seed)
    fresh = Drae(TINY.widths, TINY.halving).state_dict()
    for part in ("generator.encoder", "generator.decoder", "generator.again", "discriminator"):
        assert any(
            (saved["model"][name] != fresh[name]).any()
            for name in fresh
            if name.startswith(part) and name.endswith("weight")
        )


@pytest.mark.parametrize("halving", ["A", "C"])
def test_every_engine_rebuilds_as_torch_does(halving: Halving) -> None:
    """FP32 at every pixel; INT8 on the average, since weights that never learnt anything magnify what it rounds."""
    patches = images(4)
    model = settled((8, 8, 8, 8), halving, patches)
    with torch.no_grad():
        expected = model.generator(torch.from_numpy(patches[:1]))[1].numpy()
    for form, precision, graph in graphs(on_the_line(model), patches):
        overflows = OVERFLOWING if precision == "int8" and int8_overflows() else ()
        for engine in (e for e in ENGINES if form in READS[e] and installed(e) and e not in overflows):
            session = open_session(engine, graph, 2, "cpu")
            difference = np.abs(session.run(patches[:1])[0] - expected)
            off, allowed = (difference.max(), 1e-3) if precision == "fp32" else (difference.mean(), 0.1)
            assert off <= allowed * np.ptp(expected), (engine, precision)
            session.close()


def test_the_full_width_is_the_papers() -> None:
    net = Drae((1, 1, 1, 1), "C").generator
    code, rebuilt, again = net(torch.zeros(1, 1, 256, 256))
    assert code.shape == again.shape == (1, 64, 1, 1)
    assert rebuilt.shape == (1, 1, 256, 256)
    assert gflop(doubling(128), "A") < 500 < gflop(doubling(128), "C")


def test_the_worst_patch_is_the_frames_score() -> None:
    rule = InputRule(width=8, height=4, patch=4, stride=4)
    scores = np.zeros((4, 8), np.float32)
    scores[:, 4:] = 0.5
    scores[0, 0] = 1
    assert pooled(scores, Scoring(pooling="worst_patch"), rule) == 0.5


def test_the_heat_of_a_rejected_frame_has_the_maps_own_range() -> None:
    """Equations 10 and 11; the colours of a good frame keep the threshold in their middle."""
    ramp = np.tile(np.linspace(0.2, 0.4, 16, dtype=np.float32), (16, 1))
    rejected = Finding(0.5, 0.3, (), ramp, 10.0, stretched=True)
    ends = heat(Finding(0, 1, (), np.array([[0, 2]], np.float32), 1.0), (1, 2))[0]
    assert (heat(rejected, (16, 16))[0, [0, -1]] == ends).all()
    passed = Finding(0.2, 0.3, (), ramp, 10.0, stretched=True)
    assert (heat(passed, (16, 16)) == heat(Finding(0.2, 0.3, (), ramp, 10.0), (16, 16))).all()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_for_the_papers_patch(path: Path) -> None:
    recipe = read_recipe(path)
    assert (recipe.network, recipe.input.patch, recipe.input.stride) == ("drae", 256, 256)
    assert (recipe.input.mean, recipe.input.std) == (0, 1)
    assert (recipe.measure, recipe.pooling, recipe.noise) == ("ssim", "worst_patch", 0.75)
