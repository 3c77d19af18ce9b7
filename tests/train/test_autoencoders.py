"""Zouar's and Galacz's networks: shapes as in the tables, and the same answer from torch, ONNX, TFLite and INT8."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.engines.processor import int8_overflows
from edge.engines.session import open_session

torch = pytest.importorskip("torch", reason="the networks need torch: pip install '.[train]'")
pytest.importorskip("kornia", reason="their losses need kornia: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="export needs litert-torch: pip install '.[train]'")
pytest.importorskip("ai_edge_quantizer", reason="quantisation needs ai-edge-quantizer: pip install '.[train]'")

from torch import Tensor, nn  # noqa: E402  # after the skip

from edge.bundle import Scoring  # noqa: E402  # after the skip
from edge.inspection.density import rarity  # noqa: E402  # after the skip
from edge.offline.export import to_onnx, to_program, to_tflite  # noqa: E402  # after the skip
from edge.offline.int8 import make_int8  # noqa: E402  # after the skip
from tools.train.density_fit import fit_density, good_ones  # noqa: E402  # after the skip
from tools.train.equalise import channel_ranges, equalised  # noqa: E402  # after the skip
from tools.train.networks.cae import BergmannCAE, ChowCAE, OhYunCAE, PoolingCAE, fold  # noqa: E402  # after the skip
from tools.train.networks.cae_memory import MemAE, Memory, entropy  # noqa: E402  # after the skip
from tools.train.recipe import Recipe, read_recipe  # noqa: E402  # after the skip
from tools.train.tasks import TASKS  # noqa: E402  # after the skip

RECIPES = Path(__file__).parents[2] / "tools" / "train" / "recipes"
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "bergmann-cae": BergmannCAE,
    "oh-yun": OhYunCAE,
    "chow": ChowCAE,
    "memae": MemAE,
    "galacz": PoolingCAE,
}


def patches(count: int) -> Tensor:
    """Smooth textures in 0..1, as good parts are."""
    coarse = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(coarse, size=(128, 128), mode="bilinear")


def answers(network: nn.Module, batch: Tensor) -> list[Tensor]:
    with torch.no_grad():
        out = network.eval()(batch)
    return list(out) if isinstance(out, tuple) else [out]


def settled(name: str) -> nn.Module:
    """Untrained, but with batch norms that have seen a batch, so that folding them is put to the test."""
    torch.manual_seed(3)
    network = NETWORKS[name]().train()
    with torch.no_grad():
        for _ in range(3):
            network(patches(8))
    return network.eval()


def test_sizes_on_the_way_are_the_tables() -> None:
    """Output sizes of every convolution, deconvolution and pooling that tables 7, 9 and 10 list."""

    def sides(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        for module in network.modules():
            if isinstance(module, kinds):
                module.register_forward_hook(lambda _m, _i, out: seen.append((out.shape[-1], out.shape[1])))
        answers(network, patches(1))
        return seen

    layers = (nn.Conv2d, nn.ConvTranspose2d)
    oh_yun = [(64, 64), (32, 64), (16, 96), (8, 96), (4, 128), (2, 128), (1, 160), (1, 160), (1, 192)]
    oh_yun += [(2, 192), (4, 160), (8, 160), (16, 128), (32, 128), (64, 96), (128, 64), (128, 32), (128, 32), (128, 1)]
    assert sides(OhYunCAE(), layers) == oh_yun
    chow = sides(ChowCAE(), layers)
    assert chow[:12:2] == [(128, 16), (64, 32), (32, 64), (16, 128), (8, 256), (4, 512)]
    assert chow[12::3] == [(2, 512), (4, 256), (16, 128), (32, 64), (128, 1)]
    assert sides(ChowCAE(), (nn.Linear,))[:3] == [(100, 100), (50, 50), (100, 100)]
    assert sides(MemAE(), layers)[:4] == [(64, 64), (32, 64), (16, 96), (8, 96)]
    assert [side for side, _ in sides(MemAE(), layers)[4:]] == [16, 32, 64, 128]
    assert sides(PoolingCAE(), (nn.MaxPool2d,)) == [(64, 128), (32, 64), (16, 32)]


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_onnx_tflite_and_int8_agree(name: str) -> None:
    network, batch = settled(name), patches(6)
    wanted = answers(network, batch[:2])
    folded = fold(network)
    for out, want in zip(answers(folded, batch[:2]), wanted, strict=True):
        assert float((out - want).abs().max()) < 1e-4
    outputs, calibration = TASKS[name].outputs, batch.numpy()
    program = to_program(folded, batch[:2])
    onnx, tflite = to_onnx(program, outputs), to_tflite(program, batch.shape[1:])
    int8 = make_int8(onnx, tflite, calibration, lambda *_: None, allowed=9.0, formats=("onnx", "tflite")).files
    graphs = [
        ("onnx", onnx, 1e-4),
        ("litert", tflite, 1e-4),
        ("litert", int8["model.int8.tflite"], 0.1),
    ]
    if not int8_overflows():
        graphs.append(("onnx", int8["model.int8.onnx"], 0.1))
    for engine, graph, allowed in graphs:
        session = open_session("onnx" if engine == "onnx" else "litert", graph, 2, "cpu")
        for got, want in zip(session.run(calibration[:2]), wanted, strict=True):
            assert got.shape == tuple(want.shape)
            spread = max(float(want.max() - want.min()), 0.02)
            assert float(np.abs(got - want.numpy()).max()) <= allowed * spread, (engine, allowed)
        session.close()
    assert all(graph != b"" and len(graph) < 0.5 * len(onnx) for graph in int8.values())


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(4, 2, 1), (6, 2, 2), (2, 2, 0), (4, 4, 0), (6, 4, 1), (3, 1, 1)]
)
def test_a_deconvolution_to_one_channel_is_woven_of_a_convolution(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(5)
    plain = nn.Sequential(nn.ConvTranspose2d(5, 1, kernel, stride, padding), nn.LeakyReLU(0.2)).eval()
    woven, image = fold(plain), torch.rand(2, 5, 7, 9)
    assert not any(isinstance(layer, nn.ConvTranspose2d) for layer in woven.modules())
    (out,), (wanted,) = answers(woven, image), answers(plain, image)
    assert out.shape == wanted.shape and torch.allclose(out, wanted, atol=1e-6)


def test_equalised_channels_compute_the_same_with_ranges_nearer_to_each_other() -> None:
    torch.manual_seed(0)
    network, inputs = BergmannCAE().eval(), np.random.default_rng(0).random((4, 1, 128, 128), np.float32)
    layer = next(m for m in network.modules() if isinstance(m, nn.ConvTranspose2d))
    with torch.no_grad():
        layer.weight[:, 3] *= 30
    equal = equalised(network, inputs)

    def narrowest(one: nn.Module) -> float:
        layers = [m for m in one.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        return min(float(r.min() / r.max()) for r in channel_ranges(one, layers, torch.from_numpy(inputs))[:-1])

    with torch.no_grad():
        before, after = network(torch.from_numpy(inputs)), equal(torch.from_numpy(inputs))
    assert torch.allclose(before, after, atol=1e-5)
    assert narrowest(equal) > 1.5 * narrowest(network)


def test_the_memory_answers_with_what_it_holds_and_little_of_it() -> None:
    memory = Memory(20, 6)
    torch.nn.init.orthogonal_(memory.items)
    codes = torch.rand(2, 6, 4, 4)
    recalled, weights = memory(codes)
    assert recalled.shape == codes.shape and weights.shape == (2, 16, 20)
    assert torch.allclose(weights.sum(2), torch.ones(2, 16), atol=1e-5)
    assert 0 < float((weights > 0).float().mean()) < 0.8
    assert float(weights[weights > 0].detach().min()) > memory.limit
    by_hand = (weights @ memory.items).transpose(1, 2).reshape(2, 6, 4, 4)
    assert torch.allclose(recalled, by_hand)
    single = torch.zeros(1, 1, 20)
    single[..., 3] = 1
    assert float(entropy(single)) < float(entropy(torch.full((1, 1, 20), 0.05)))
    recalled.square().mean().backward()
    assert memory.items.grad is not None and float(memory.items.grad.abs().sum()) > 0


def recipe(name: str, **changed: object) -> Recipe:
    return msgspec.structs.replace(read_recipe(RECIPES / f"{name}.toml"), **changed)


@pytest.mark.parametrize("name", ["cae", "bergmann-ssim", "oh-yun", "chow", "memae", "galacz"])
def test_a_few_steps_lower_the_loss(name: str) -> None:
    given = recipe(name)
    task, batch = TASKS[given.network], (patches(4),)
    torch.manual_seed(2)
    model = task.build(given).train()
    optimiser = torch.optim.AdamW(model.parameters(), given.learning_rate)
    losses = []
    for _ in range(6):
        loss = task.loss(model, batch, given, 0.0, "")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_the_density_of_a_trained_bundle_lets_its_validation_pass(shared_data: Path) -> None:
    """Real images through an untrained network: limits, codes and the share of good images below both."""
    from tools.train.data import read_samples, split

    given = recipe("galacz", pass_good=0.9)
    network = fold(settled("galacz"))
    session = open_session("onnx", to_onnx(to_program(network, patches(2)), TASKS["galacz"].outputs), 2, "cpu")
    training, validation = split(read_samples([shared_data], "metal_nut"))
    good = good_ones(training)[:30]
    packed, thresholds = fit_density(session, given, Scoring(pooling="mean"), good, good_ones(validation)[:20])
    arrays = dict(np.load(io.BytesIO(packed)))
    assert arrays["codes"].shape == (len(good), 32 * 16 * 16) and arrays["codes"].dtype == np.float32
    assert thresholds.score == 1.0 and thresholds.map is not None and thresholds.map > 0
    own = rarity(arrays["codes"], arrays["codes"], float(arrays["bandwidth"]))
    assert arrays["error_limit"] > 0 and np.median(own) < arrays["rarity_limit"]
