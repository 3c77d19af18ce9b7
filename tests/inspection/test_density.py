"""The density of latent codes: as scikit-learn has it, and both thresholds reject."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import Bundle, Scoring, Thresholds, Training
from edge.engines.session import Floats, open_session
from edge.errors import BundleError, ScoreError
from edge.inspection.density import Density, log_density, rarity, read_density
from edge.inspection.model import Model
from edge.inspection.reconstruction import ReconstructionJudge, residual_map
from edge.offline.pack import write_bundle
from edge.records import Frame
from edge.vision.image import InputRule

SIDE = 16


def good_codes(count: int = 30, width: int = 12) -> Floats:
    return np.random.default_rng(5).normal(1.0, 0.3, (count, width)).astype(np.float32)


@pytest.mark.parametrize(("width", "bandwidth"), [(2, 0.2), (12, 0.5), (512, 0.1)])
def test_the_density_is_scikit_learns(width: int, bandwidth: float) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors", reason="the reference: extra `evaluate`")
    good = good_codes(40, width)
    codes = np.concatenate([good[:3] + 0.05, np.full((1, width), 3.0, np.float32)])
    wanted = neighbors.KernelDensity(kernel="gaussian", bandwidth=bandwidth).fit(good).score_samples(codes)
    got = log_density(codes, good, bandwidth)
    assert got.shape == (4,) and got.dtype == np.float32
    assert np.allclose(got, wanted, rtol=1e-5, atol=1e-3)


def test_rarity_orders_codes_as_density_does_the_other_way_round() -> None:
    good = good_codes()
    codes = np.random.default_rng(6).normal(1.0, 1.0, (50, 12)).astype(np.float32)
    assert (np.argsort(rarity(codes, good, 0.4)) == np.argsort(-log_density(codes, good, 0.4))).all()
    assert (rarity(codes, good, 0.4) >= 0).all()
    one = good[:1]
    assert rarity(one + 2, one, 0.4)[0] == pytest.approx(4 * 12, rel=1e-5)


def test_either_limit_rejects_and_what_is_no_number_stays_none() -> None:
    worst = float(rarity(good_codes(), good_codes(), 0.3).max())
    density = Density(good_codes(), 0.3, error_limit=0.5, rarity_limit=worst)
    usual, unusual = good_codes()[:1], np.full((1, 12), 9.0, np.float32)
    assert density.score(0.4, usual) <= 1
    assert density.score(0.6, usual) == pytest.approx(1.2)
    assert density.score(0.4, unusual) > 1
    assert density.score(0.4, np.concatenate([usual, unusual])) > 1
    assert np.isnan(density.score(np.nan, usual)) and np.isnan(density.score(0.1, usual * np.nan))
    with pytest.raises(ScoreError, match="12"):
        density.score(0.4, np.zeros((1, 7), np.float32))


def level_graph() -> bytes:
    """A network that rebuilds its input as its mean, which four times over is its latent code."""
    pytest.importorskip("onnx", reason="onnx, which writes the small graph, is not here (extra `test`)")
    from onnx import TensorProto, helper, numpy_helper

    constants = {"none": np.zeros(1, np.float32), "four": np.ones((1, 4, 1, 1), np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["in"], ["level"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Mul", ["in", "none"], ["flat"]),
        helper.make_node("Add", ["flat", "level"], ["reconstruction"]),
        helper.make_node("Mul", ["level", "four"], ["latent"]),
    ]
    given = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    answers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("reconstruction", "latent")]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "level", [given], answers, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return bytes(made.SerializeToString())


GOOD: dict[str, NDArray[np.generic] | float] = {
    "codes": np.full((5, 4), 0.2, np.float32),
    "bandwidth": 0.05,
    "error_limit": 0.01,
    "rarity_limit": 0.02,
}


def bundle_with(path: Path, graph: bytes, **arrays: NDArray[np.generic] | float) -> Bundle:
    fields: dict[str, object] = {
        "name": "latent",
        "kind": "reconstruction",
        "surfaces": ("grey",),
        "input": InputRule(width=SIDE, height=SIDE, patch=SIDE, stride=SIDE),
        "outputs": ("reconstruction", "latent"),
        "thresholds": Thresholds(score=1.0, map=0.01, how="by hand"),
        "scoring": Scoring(pooling="mean"),
        "training": Training(data="none", licence="none", images=0, date="2000-01-01", command="none"),
    }
    files = {"model.onnx": graph}
    if arrays:
        made = io.BytesIO()
        np.savez(made, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})
        files["arrays.npz"] = made.getvalue()
    return write_bundle(path / "latent", fields, files)


def test_the_judge_rejects_by_the_error_or_by_the_density(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path, level_graph(), **GOOD)
    graph = bundle.manifest.graph[0]
    judge = ReconstructionJudge(Model(bundle, graph, open_session("onnx", bundle.read(graph), 1, "cpu")))
    usual, brighter = (np.full((SIDE, SIDE), level, np.uint8) for level in (51, 153))
    spotted = usual.copy()
    spotted[4:8, 4:8] = 255
    assert judge.inspect(Frame(usual, 255)).score <= 1
    assert not judge.inspect(Frame(usual, 255)).defects
    flat = judge.inspect(Frame(brighter, 255))  # rebuilt without an error, and yet never seen
    assert flat.score_map.max() < 1e-6 and flat.score > 1 and flat.defects
    spot = judge.inspect(Frame(spotted, 255))
    x, y, w, h = spot.defects[0].bbox
    assert spot.score > 1 and (x, y, w, h) == (4, 4, 4, 4)
    both = judge.score_all([Frame(usual, 255), Frame(spotted, 255)])
    assert [score > 1 for score, _ in both] == [False, True]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"codes": None}, "lacks codes"),
        ({"codes": np.full((5, 4), np.nan, np.float32)}, "codes"),
        ({"bandwidth": 0.0}, "positive"),
        ({"rarity_limit": np.ones(3)}, "positive"),
        (dict.fromkeys(GOOD), r"\[arrays\]"),
    ],
)
def test_unfit_arrays_are_refused_when_the_judge_is_opened(
    tmp_path: Path, changed: dict[str, NDArray[np.generic] | float | None], word: str
) -> None:
    arrays = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    with pytest.raises(BundleError, match=word):
        read_density(bundle_with(tmp_path, level_graph(), **arrays))


def test_the_measure_is_the_manifests() -> None:
    image = np.random.default_rng(1).random((SIDE, SIDE), dtype=np.float32)
    assert residual_map(image, image + 0.1, Scoring()) == pytest.approx(0.01, rel=1e-3)
    unlike = residual_map(image, image[::-1].copy(), Scoring(measure="ssim"))
    assert unlike.shape == image.shape and unlike.min() >= 0 and unlike.mean() > 0.3


def test_a_second_answer_that_is_no_latent_code_is_refused(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path, level_graph(), **GOOD)
    manifest = msgspec.structs.replace(bundle.manifest, outputs=("reconstruction", "spare"))
    with pytest.raises(BundleError, match="latent"):
        read_density(msgspec.structs.replace(bundle, manifest=manifest))
