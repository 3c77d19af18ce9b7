"""SSIM in numpy and OpenCV against the two references."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.vision.similarity import ssim_map

Floats = NDArray[np.float32]
RIM = 5


def pairs() -> list[tuple[Floats, Floats]]:
    """Noise, a flat bright picture with a faint difference (where float32 has least to spare), one beyond 0..1."""
    rng = np.random.default_rng(3)
    texture = rng.random((96, 80), dtype=np.float32)
    flat = np.full((96, 80), 0.95, np.float32) + rng.normal(0, 0.004, (96, 80)).astype(np.float32)
    return [
        (texture, np.clip(texture + rng.normal(0, 0.2, (96, 80)), 0, 1).astype(np.float32)),
        (flat, flat + rng.normal(0, 0.004, (96, 80)).astype(np.float32)),
        (texture, (texture * 1.4 - 0.2).astype(np.float32)),
    ]


def test_alike_is_one_and_the_shape_stays() -> None:
    image, other = pairs()[0]
    same, apart = ssim_map(image, image), ssim_map(image, other)
    assert same.shape == image.shape and same.dtype == np.float32
    assert np.abs(same - 1).max() < 1e-5
    assert apart.min() >= -1 and apart.max() <= 1 and apart.mean() < 0.95


def test_a_place_that_differs_is_the_lowest() -> None:
    image = pairs()[0][0]
    other = image.copy()
    other[40:48, 20:28] = 0.5
    y, x = divmod(int(ssim_map(image, other).argmin()), image.shape[1])
    assert 36 <= y < 52 and 16 <= x < 32


@pytest.mark.parametrize("number", range(3))
def test_as_scikit_image_away_from_the_edge(number: int) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="the reference: pip install '.[train]'")
    image, other = pairs()[number]
    _, wanted = metrics.structural_similarity(
        image.astype(np.float64),
        other.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    inside = np.s_[RIM:-RIM, RIM:-RIM]
    assert np.abs(ssim_map(image, other) - wanted)[inside].max() < 1e-4


@pytest.mark.parametrize("number", range(3))
def test_as_kornia_everywhere(number: int) -> None:
    torch = pytest.importorskip("torch", reason="the reference: pip install '.[train]'")
    kornia = pytest.importorskip("kornia.metrics", reason="the reference: pip install '.[train]'")
    image, other = pairs()[number]
    a, b = (torch.from_numpy(v.astype(np.float64))[None, None] for v in (image, other))
    wanted = kornia.ssim(a, b, 11)[0, 0].numpy()
    assert np.abs(ssim_map(image, other) - wanted).max() < 1e-4
