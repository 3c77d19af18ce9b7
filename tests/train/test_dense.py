"""What patches of Bergmann's CAE can share: the graphs that run once, and how verdicts are compared."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch: pip install '.[train]'")
pytest.importorskip("kornia", reason="their losses need kornia: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="export needs litert-torch: pip install '.[train]'")
pytest.importorskip("ai_edge_quantizer", reason="quantisation needs ai-edge-quantizer: pip install '.[train]'")

from edge.vision.patches import padded_length, starts  # noqa: E402  # after the skip
from tools.train.dense import OnceDecoded, OnceEncoded, Scored, compare  # noqa: E402  # after the skip
from tools.train.networks.cae import BergmannCAE  # noqa: E402  # after the skip


@pytest.fixture(scope="module")
def network() -> BergmannCAE:
    torch.manual_seed(4)
    return BergmannCAE().eval()


def test_what_runs_once_is_the_network_itself_where_there_is_one_patch(network: BergmannCAE) -> None:
    patch = torch.rand(1, 1, 128, 128)
    with torch.no_grad():
        wanted, encoded, decoded = (m(patch) for m in (network, OnceEncoded(network, 64), OnceDecoded(network, 64, 1)))
    assert torch.allclose(encoded, wanted, atol=1e-5) and torch.allclose(decoded, wanted, atol=1e-5)


@pytest.mark.parametrize("stride", [32, 64])
def test_an_image_that_runs_once_has_all_its_patches_and_its_own_size(network: BergmannCAE, stride: int) -> None:
    side, count = padded_length(128, 128, stride), len(starts(128, stride))
    image = torch.rand(1, 1, side, side)
    with torch.no_grad():
        assert OnceEncoded(network, stride)(image).shape == (count * count, 1, 128, 128)
        assert OnceDecoded(network, stride, count)(image).shape == image.shape


def test_flips_are_counted_by_the_bundles_threshold_and_by_the_ways_own() -> None:
    """A way whose scores are all a half higher: by the bundle's threshold 0.5 flips, by its own nothing does."""
    found = {
        ("Zouar", 30, "fp32"): Scored(kept=[0.2, 0.4, 0.6, 0.8], good=[0.5, 0.5]),
        ("coarser", 64, "fp32"): Scored(kept=[0.3, 0.6, 0.9, 1.2], good=[0.75, 0.75]),
    }
    rows = compare(found, [False, False, True, True], 0.5, 0.98)  # type: ignore[arg-type]  # a literal of literals
    paper, coarser = rows.values()
    assert (paper.flips, paper.own_flips, coarser.flips, coarser.own_flips) == (0, 0, 1, 0)
    assert coarser.auroc == 1 and coarser.correlation == pytest.approx(1)
