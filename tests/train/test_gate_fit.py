"""The gate's fit on made clusters: what was taught comes in, what was not stays out, and the line reads it alike."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import DataError
from tools.train.gate_fit import UNSEEN, Embeddings, Fitted, figures, fit, read_embeddings

SURFACES = ("cloth", "steel", "tile")
FEATURES = 40
EMBEDDINGS = Embeddings(("woven", "shine"), {"cloth": (1.0, 0.0), "steel": (0.0, 1.0)})


def frames(rng: np.random.Generator, centre: int, count: int) -> NDArray[np.float32]:
    """Around a corner of the feature space, wider along the first ten axes, on scales that differ a hundredfold."""
    spread = np.where(np.arange(FEATURES) < 10, 1.0, 0.2)
    middle = np.zeros(FEATURES)
    middle[10 + centre] = 8.0
    scale = np.logspace(-1, 1, FEATURES)
    return ((middle + rng.standard_normal((count, FEATURES)) * spread) * scale).astype(np.float32)


def taught(rng: np.random.Generator, count: int = 60) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    features = np.concatenate([frames(rng, index, count) for index in range(len(SURFACES))])
    return features, np.repeat(np.array(SURFACES), count)


def good(surface: NDArray[np.str_]) -> NDArray[np.bool_]:
    return np.zeros(len(surface), bool)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    features, surface = taught(np.random.default_rng(1))
    return fit(features, surface, np.arange(len(surface)) % 5, good(surface), SURFACES, EMBEDDINGS)


def test_fresh_frames_of_taught_surfaces_are_called_by_name(fitted: Fitted) -> None:
    features, surface = taught(np.random.default_rng(2))
    assert np.mean(fitted.called(features) == surface) > 0.97


def test_a_surface_never_taught_is_unseen(fitted: Fitted) -> None:
    strangers = frames(np.random.default_rng(3), 7, 60)
    assert (fitted.called(strangers) == UNSEEN).all()


def test_between_two_surfaces_is_neither(fitted: Fitted) -> None:
    rng = np.random.default_rng(4)
    assert (fitted.called((frames(rng, 0, 20) + frames(rng, 1, 20)) / np.float32(2)) == UNSEEN).all()


def test_stray_images_do_not_open_the_gate() -> None:
    """A few of a surface's images far away, each further than the last, do not set its threshold."""
    features, surface = taught(np.random.default_rng(5))
    fold = np.arange(len(surface)) % 5
    calm = fit(features, surface, fold, good(surface), SURFACES)
    features[:4] = frames(np.random.default_rng(6), 7, 4) * np.array([[1], [2], [4], [8]], np.float32)
    strayed = fit(features, surface, fold, good(surface), SURFACES)
    assert strayed.thresholds[0] < 1.5 * calm.thresholds[0]
    assert (strayed.called(frames(np.random.default_rng(7), 8, 60)) == UNSEEN).all()


def test_arrays_give_the_line_the_same_distances(fitted: Fitted, tmp_path: Path) -> None:
    """By the formula of the gate in edge, from what a file gives back."""
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **fitted.arrays())
    frame = frames(np.random.default_rng(8), 1, 1)[0]
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as arrays:
        assert tuple(arrays["surfaces"]) == SURFACES
        code = arrays["projection"] @ (frame - arrays["mean"])
        whitened = np.einsum("sij,sj->si", arrays["whiteners"], code - arrays["centres"])
        assert all(arrays[name].dtype == np.float32 for name in arrays.files if name not in ("surfaces", "attributes"))
    np.testing.assert_allclose(np.linalg.norm(whitened, axis=1), fitted.distances(frame[None])[0], rtol=1e-3)


def test_few_defective_images_have_as_much_say_as_the_many_good_ones() -> None:
    features, surface = taught(np.random.default_rng(10), 100)
    rng = np.random.default_rng(11)
    broken = rng.choice(100, 5, replace=False)  # too few for a quantile of all images to notice
    features[broken] += rng.standard_normal((5, FEATURES)).astype(np.float32) * np.logspace(0, 2, FEATURES, dtype="f4")
    defective = np.isin(np.arange(len(surface)), broken)
    fold = np.arange(len(surface)) % 5
    blind = fit(features, surface, fold, good(surface), SURFACES)
    told = fit(features, surface, fold, defective, SURFACES)
    assert told.thresholds[0] > 1.2 * blind.thresholds[0]
    np.testing.assert_array_equal(told.thresholds[1:], blind.thresholds[1:])


def test_attributes_are_read_off_the_surfaces_that_have_them(fitted: Fitted) -> None:
    read = fitted.project(frames(np.random.default_rng(12), 1, 20)) @ fitted.readout.T + fitted.readout_offset
    np.testing.assert_allclose(read.mean(axis=0), [0, 1], atol=0.1)
    assert {"attributes", "readout", "readout_offset"} <= fitted.arrays().keys()
    features, surface = taught(np.random.default_rng(13))
    bare = fit(features, surface, np.arange(len(surface)) % 5, good(surface), SURFACES)
    assert "attributes" not in bare.arrays() and "readout" not in bare.arrays()


def test_embeddings_are_read_for_the_surfaces_named_alone(tmp_path: Path) -> None:
    path = tmp_path / "attributes.toml"
    path.write_text('attributes = ["woven", "shine"]\n[surfaces]\ncloth = [1, 0]\nrope = [1, 0.2]\n')
    found = read_embeddings(path, SURFACES)
    assert found is not None and found.surfaces == {"cloth": (1.0, 0.0)}
    assert read_embeddings(path, ("glass",)) is None
    path.write_text('attributes = ["woven", "shine"]\n[surfaces]\ncloth = [1]\n')
    with pytest.raises(msgspec.ValidationError, match="cloth"):
        read_embeddings(path, SURFACES)


def test_a_surface_with_a_single_fold_is_refused() -> None:
    features, surface = taught(np.random.default_rng(9))
    fold = np.where(surface == "steel", 0, np.arange(len(surface)) % 5)
    with pytest.raises(DataError, match="steel"):
        fit(features, surface, fold, good(surface), SURFACES)


def test_figures_count_taught_and_other_surfaces_apart() -> None:
    surface = np.array(["cloth", "cloth", "steel", "rust"])
    called = np.array(["cloth", UNSEEN, "cloth", UNSEEN])
    answer = figures(surface, called, np.array([False, True, False, True]), SURFACES)
    assert (answer["seen"], answer["unseen"], answer["seen_defective"]) == (0.3333, 1.0, 0.0)
    assert answer["harmonic_mean"] == pytest.approx(0.5, abs=1e-3)
    assert answer["confusion"] == {"cloth": {"cloth": 1, UNSEEN: 1}, "rust": {UNSEEN: 1}, "steel": {"cloth": 1}}
