"""`edge quantize` on small networks: weights on their grid, layers left in float, and the same graphs every time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.bundle import MANIFEST, Bundle, Scoring, Thresholds, Training, open_bundle
from edge.cli import main
from edge.engines.processor import int8_overflows
from edge.engines.session import open_session
from edge.errors import BundleError, DataError
from edge.vision.image import InputRule
from tests.small_blur import HEIGHT, WIDTH, draw, draw_plates, write_blur
from tests.small_gate import write_small_gate

torch = pytest.importorskip("torch", reason="what is quantised comes from torch: pip install '.[train]'")
pytest.importorskip("nncf", reason="OpenVINO's INT8 is NNCF's: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="TFLite files are litert-torch's: pip install '.[train]'")
pytest.importorskip("ai_edge_quantizer", reason="LiteRT's INT8 is ai-edge-quantizer's: pip install '.[train]'")

import onnx  # noqa: E402  # after the skip
from onnx import helper, numpy_helper  # noqa: E402  # after the skip
from torch import Tensor, nn  # noqa: E402  # after the skip

from edge.offline.calibrate import choose, find_candidates, read_recipe  # noqa: E402  # after the skip
from edge.offline.export import fp32_graphs, to_onnx, to_program, to_tflite  # noqa: E402  # after the skip
from edge.offline.float_layers import find_float_layers, run_all  # noqa: E402  # after the skip
from edge.offline.pack import write_borrowing, write_bundle  # noqa: E402  # after the skip
from edge.offline.quantize import ranges_of  # noqa: E402  # after the skip
from edge.offline.ranges import STEPS, least_error  # noqa: E402  # after the skip
from edge.offline.rounding import round_weights  # noqa: E402  # after the skip
from edge.offline.tflite_layers import layer_weights, with_weights  # noqa: E402  # after the skip

Floats = NDArray[np.float32]


def silent(step: str, done: int, total: int) -> None:
    pass


# Weights on the grid.


def one_layer(kind: str) -> tuple[bytes, Floats]:
    """A layer of kernels whose weights cancel on even ground, `(n, 4, 32, 48)` in; and its weights, the output's
    channel first."""
    rng = np.random.default_rng(3)
    group = 4 if kind == "depthwise" else 1
    weights = rng.standard_normal((4, 4 // group, 3, 3)).astype(np.float32)
    across = (0, 2, 3) if kind == "ConvTranspose" else (1, 2, 3)
    weights -= weights.mean(across, keepdims=True)
    operation = "ConvTranspose" if kind == "ConvTranspose" else "Conv"
    layer = helper.make_node(
        operation, ["in", "w.weight"], ["out"], "layer", pads=[1, 1, 1, 1], group=group, kernel_shape=[3, 3]
    )
    given_, answer = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 4, HEIGHT, WIDTH]) for name in ("in", "out")
    )
    initial = [numpy_helper.from_array(weights, "w.weight")]
    graph = helper.make_graph([layer], "layer", [given_], [answer], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    return bytes(model.SerializeToString()), weights


def by_output(weights: Floats, kind: str) -> Floats:
    """`(out, everything else)`."""
    first = weights.swapaxes(0, 1) if kind == "ConvTranspose" else weights
    return first.reshape(len(first), -1)


def to_the_nearest(graph: bytes, kind: str) -> bytes:
    model = onnx.load_from_string(graph)
    (tensor,) = model.graph.initializer
    weights = numpy_helper.to_array(tensor)
    across = (0, 2, 3) if kind == "ConvTranspose" else (1, 2, 3)
    step = np.abs(weights).max(across, keepdims=True) / 127
    tensor.CopyFrom(numpy_helper.from_array((np.rint(weights / step) * step).astype(np.float32), tensor.name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("kind", ["Conv", "depthwise", "ConvTranspose"])
def test_weights_lie_on_the_grid_and_the_layer_answers_nearer_to_fp32_than_by_rounding_each(kind: str) -> None:
    graph, weights = one_layer(kind)
    images = (5 + 0.1 * np.random.default_rng(4).standard_normal((8, 4, HEIGHT, WIDTH))).astype(np.float32)
    rounded = round_weights(graph, images, silent)
    before, after = by_output(weights, kind), by_output(layer_weights(onnx.load_from_string(rounded))["w"], kind)
    largest = np.abs(before).max(1, keepdims=True)
    steps = after / (largest / 127)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    np.testing.assert_allclose(np.abs(after).max(1, keepdims=True), largest, rtol=1e-6)
    assert np.abs(steps - before / (largest / 127)).max() > 0.01
    wanted, own, nearest = (
        run_all(data, [images])[0][0][:, :, 2:-2, 2:-2] for data in (graph, rounded, to_the_nearest(graph, kind))
    )
    assert np.square(own - wanted).mean() < 0.25 * np.square(nearest - wanted).mean()


def test_rounding_is_the_same_for_the_same_seed() -> None:
    graph, _ = one_layer("Conv")
    images = np.random.default_rng(4).random((4, 4, HEIGHT, WIDTH), np.float32)
    assert round_weights(graph, images, silent) == round_weights(graph, images, silent)


# Ranges.


def squared_error(values: Floats, low: float, high: float) -> float:
    step = (high - low) / STEPS
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(values / step) + zero, 0, STEPS) - zero) * step
    return float(np.square(rounded - values).mean())


def test_values_far_out_are_cut_off_and_even_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    even = rng.random(100_000, np.float32)
    assert least_error(even, (0.0, 1.0)) == (0.0, 1.0)
    spiked = np.append(even, np.float32(3))
    low, high = least_error(spiked, (0.0, 3.0))
    assert low == 0 and 0.9 < high < 3
    assert squared_error(spiked, low, high) < squared_error(spiked, 0.0, 3.0)


def test_a_tensor_that_is_always_the_same_keeps_its_range() -> None:
    assert least_error(np.zeros(10, np.float32), (0.0, 0.0)) == (0.0, 0.0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=50))
def test_a_range_is_never_wider_and_never_worse_than_the_whole(drawn: list[float]) -> None:
    values = np.array(drawn, np.float32)
    whole = (min(0.0, *drawn), max(0.0, *drawn))
    low, high = least_error(values, whole)
    assert whole[0] <= low <= high <= whole[1]
    if whole[0] < whole[1]:
        assert squared_error(values, low, high) <= squared_error(values, *whole) * (1 + 1e-9)


# Layers in float, and layers in TFLite files.


class Chain(nn.Module):
    """A convolution, a depthwise one, a second, and a deconvolution; strided once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.apart = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.second, self.up = nn.Conv2d(8, 8, 3, 1, 1), nn.ConvTranspose2d(8, 1, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.apart, self.second):
            x = torch.relu(layer(x))
        answer: Tensor = self.up(x)
        return answer


def chain() -> Chain:
    torch.manual_seed(7)
    return Chain().eval()


def pictures(count: int) -> Floats:
    return np.random.default_rng(7).random((count, 1, HEIGHT, WIDTH), np.float32)


def test_the_layer_that_int8_makes_hopeless_stays_in_float() -> None:
    """One channel between `apart` and `second` is a thousand times the others, and `second` takes it back."""
    network = chain()
    with torch.no_grad():
        network.apart.weight[0] *= 3000
        assert network.apart.bias is not None
        network.apart.bias[0] = 3000.0
        network.second.weight[:, 0] /= 3000
    images = pictures(8)
    fp32 = to_onnx(to_program(network, torch.from_numpy(images[:2])), ("map",))
    model = onnx.load_from_string(fp32)
    probes = [images[n : n + 1] for n in range(8)]
    expected = run_all(fp32, probes)
    found = find_float_layers(model, ranges_of(model, images), expected, probes, 0.05, 2, silent)
    assert found.kept and {*found.kept} <= {"apart", "second"}
    assert found.whole > 0.2 and found.left < 0.25 * found.whole
    assert [layer.alone for layer in found.layers] == sorted((row.alone for row in found.layers), reverse=True)
    assert {layer.name for layer in found.layers} == {"first", "apart", "second", "up"}


def test_nothing_stays_in_float_where_int8_is_within_what_is_allowed() -> None:
    images = pictures(8)
    fp32 = to_onnx(to_program(chain(), torch.from_numpy(images[:2])), ("map",))
    model = onnx.load_from_string(fp32)
    probes = [images[:1]]
    found = find_float_layers(model, ranges_of(model, images), run_all(fp32, probes), probes, 0.5, 3, silent)
    assert found.kept == [] and found.whole == found.left < 0.5


def test_every_layer_of_a_tflite_file_is_found_and_given_its_new_weights() -> None:
    network, images = chain(), pictures(2)
    program = to_program(network, torch.from_numpy(images))
    tflite, before = to_tflite(program, images.shape[1:]), onnx.load_from_string(to_onnx(program, ("map",)))
    after = onnx.ModelProto()
    after.CopyFrom(before)
    for tensor in after.graph.initializer:
        if tensor.name.endswith(".weight"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
    changed, scopes = with_weights(tflite, before, after)
    assert scopes.keys() == {"first", "apart", "second", "up"} == layer_weights(before).keys()
    session = open_session("litert", changed, 2, "cpu")
    np.testing.assert_allclose(
        session.run(images)[0], run_all(bytes(after.SerializeToString()), [images])[0][0], atol=1e-5
    )
    session.close()


# The command.


def write_chain(path: Path, kind: str = "map") -> Bundle:
    network = chain()
    patch, stride = (32, 16) if kind == "reconstruction" else (0, 0)
    rule = InputRule(width=WIDTH, height=HEIGHT, patch=patch, stride=stride)
    shape = (1, rule.patch or HEIGHT, rule.patch or WIDTH)
    fields: dict[str, object] = {
        "name": path.name,
        "kind": kind,
        "surfaces": ("plate",),
        "input": rule,
        "outputs": ("map",),
        "thresholds": Thresholds(score=0.5, map=0.5, how="by hand"),
        "scoring": Scoring(answer="score"),
        "training": Training(data="drawn", licence="none", images=0, date="-", command="-"),
    }
    program = to_program(network, torch.zeros(2, *shape))
    return write_bundle(path, fields, fp32_graphs(program, ("map",), shape, rule.at_once))


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plates")
    draw_plates(root)
    return root


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the chain, in FP32; tests take a copy."""
    return write_chain(tmp_path_factory.mktemp("bundles") / "chain").path


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "models" / "chain"))


def quantize(*arguments: object) -> Result:
    """`edge quantize` in this process, which has torch loaded already."""
    result = CliRunner().invoke(main, ["quantize", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def files_of(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize("kind", ["map", "reconstruction"])
def test_the_same_recipe_gives_the_same_bundle_bit_for_bit(plates: Path, tmp_path: Path, kind: str) -> None:
    """A reconstruction's gain too, which is measured on the good ones of the recipe's images."""
    first = write_chain(tmp_path / "a" / "chain", kind).path
    second = Path(shutil.copytree(first, tmp_path / "b" / "chain"))
    result = quantize(first, "--calibration", plates, "--count", 8, "--into", tmp_path / "drawn", "--json")
    assert result.exit_code == 0, result.output
    recipe = Path(json.loads(result.stdout)["recipe"])
    assert recipe == tmp_path / "drawn" / "chain" / "recipe.toml"
    kinds = [image.path.split("/")[2] for image in read_recipe(recipe).image]
    assert sorted(kinds) == ["good"] * 4 + ["spot"] * 4
    again = ("--recipe", recipe, "--into", tmp_path / "again")
    assert quantize(second, "--calibration", plates, *again).exit_code == 0
    ours, theirs = files_of(first), files_of(second)
    others = {"model.int8.onnx", "model.int8.xml", "model.int8.bin"}
    assert {name for name in ours if ".int8." in name} == {"model.int8.tflite", *(() if int8_overflows() else others)}
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert (tmp_path / "again/chain/recipe.toml").read_bytes() == recipe.read_bytes()


def test_graphs_made_anew_take_the_old_ones_place_and_what_was_measured_of_those_is_gone(
    bundle: Path, plates: Path, tmp_path: Path
) -> None:
    options = ("--calibration", plates, "--count", 8, "--into", tmp_path / "drawn")
    assert quantize(bundle, *options).exit_code == 0
    assert CliRunner().invoke(main, ["parity", str(bundle), str(plates), "--record"]).exit_code in (0, 1)
    assert open_bundle(bundle).manifest.parity
    result = quantize(bundle, *options, "--seed", 2)
    assert result.exit_code == 0 and "calibrated on 8 images" in result.stdout
    manifest = open_bundle(bundle).manifest
    assert manifest.parity == {} and len({graph.file for graph in manifest.graph}) == len(manifest.graph)
    assert CliRunner().invoke(main, ["verify", str(bundle)]).exit_code == 0


# Refusals.


def refused(result: Result, kind: type[Exception], words: str) -> None:
    code = {DataError: 16, BundleError: 11}[kind]  # type: ignore[index]  # the two that there are
    assert result.exit_code == code, result.output
    assert words in result.stderr, result.stderr


@pytest.fixture
def untouched(bundle: Path) -> Any:
    """Whatever happens, the bundle is what it was, and nothing lies beside it."""
    before = files_of(bundle)
    yield bundle
    assert files_of(bundle) == before
    assert [path.name for path in bundle.parent.iterdir()] == ["chain"]


@pytest.fixture(scope="module")
def recipe(written: Path, plates: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of four good images."""
    import hashlib

    paths = [f"plate/test/good/{number}.png" for number in range(4)]
    digests = [hashlib.sha256((plates / path).read_bytes()).hexdigest() for path in paths]
    own: dict[str, Any] = {"bundle": "chain", "data": "drawn", "surfaces": ["plate"], "drawn": "by hand", "seed": 1}
    own |= {"count": 4, "candidates": 12, "fp32": open_bundle(written).manifest.graph[0].sha256}
    return own | {"image": [{"path": p, "sha256": d} for p, d in zip(paths, digests, strict=True)]}


def other_path(path: str) -> Callable[[dict[str, Any]], None]:
    return lambda recipe: recipe["image"][1].update(path=path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda recipe: recipe["image"][1].update(sha256="0" * 64), "1.png is not the image that chain was"),
        (other_path("plate/test/good/77.png"), "plate/test/good/77.png is in none of"),
        (other_path("../x.png"), "../x.png leaves its folder"),
        (other_path("plate/../../x.png"), "leaves its folder"),
        (other_path("/etc/hostname"), "/etc/hostname leaves its folder"),
        (lambda recipe: recipe.update(image=[]), "names no image"),
        (lambda recipe: recipe.update(surfaces=[]), "no surface"),
        (lambda recipe: recipe.update(sed=3), "sed"),
    ],
)
def test_a_recipe_that_does_not_hold_is_refused_by_name(
    untouched: Path, plates: Path, tmp_path: Path, recipe: dict[str, Any], change: Callable[..., None], words: str
) -> None:
    changed = json.loads(json.dumps(recipe))
    change(changed)
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(changed))
    result = quantize(untouched, "--calibration", plates, "--recipe", path, "--into", tmp_path / "drawn")
    refused(result, DataError, words)
    assert not (tmp_path / "drawn").exists()


def test_too_few_images_are_refused(untouched: Path, tmp_path: Path) -> None:
    for number in range(7):
        draw(tmp_path / f"few/{number}.png", np.full((HEIGHT, WIDTH), 30 * number, np.uint8))
    result = quantize(untouched, "--calibration", tmp_path / "few", "--into", tmp_path / "drawn")
    refused(result, DataError, "7 images of plate; at least 8")


def test_an_image_that_cannot_be_read_is_named(untouched: Path, tmp_path: Path) -> None:
    for number in range(9):
        draw(tmp_path / f"some/{number}.png", np.full((HEIGHT, WIDTH), 20 * number, np.uint8))
    (tmp_path / "some/3.png").write_bytes(b"no picture")
    result = quantize(untouched, "--calibration", tmp_path / "some", "--into", tmp_path / "drawn")
    refused(result, DataError, "3.png")


def test_a_bundle_that_borrows_its_network_is_refused(plates: Path, tmp_path: Path) -> None:
    gate = write_small_gate(tmp_path / "gate")
    assert gate.manifest.arrays is not None
    fields: dict[str, object] = {
        "name": "near",
        "kind": "nearest",
        "surfaces": ("plate",),
        "thresholds": Thresholds(score=1.0, map=1.0, how="by hand"),
        "training": Training(data="drawn", licence="none", images=0, date="-", command="-"),
    }
    near = write_borrowing(tmp_path / "near", fields, gate, gate.read(gate.manifest.arrays))
    result = quantize(near.path, "--calibration", plates, "--into", tmp_path / "drawn")
    refused(result, BundleError, "looks through the network of gate")
    assert open_bundle(near.path).sha256 == near.sha256


def test_a_bundle_without_fp32_is_refused(untouched: Path, plates: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(untouched, tmp_path / "other"))
    text = (other / MANIFEST).read_text().replace('precision = "fp32"', 'precision = "fp16"')
    (other / MANIFEST).write_text(text)
    refused(quantize(other, "--calibration", plates), BundleError, "no FP32 ONNX graph")


def test_the_folder_that_one_stands_in_is_not_replaced(
    untouched: Path, plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(untouched)
    refused(quantize(".", "--calibration", plates, "--into", tmp_path / "drawn"), BundleError, "go one up")


# Which images.


def test_half_of_the_images_are_defective_and_each_surface_has_as_many(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for surface, good, bad in (("plate", 20, 20), ("bolt", 30, 2), ("nut", 12, 0)):
        for number in range(good):
            pixels = rng.integers(0, 99, (HEIGHT, WIDTH)).astype(np.uint8)
            draw(tmp_path / f"{surface}/train/good/{number}.png", pixels)
        for number in range(bad):
            pixels = rng.integers(99, 255, (HEIGHT, WIDTH)).astype(np.uint8)
            draw(tmp_path / f"{surface}/test/spot/{number}.png", pixels)
    own = write_blur(tmp_path / "blur", None)
    session = open_session("onnx", own.read(own.manifest.graph[0]), 2, "cpu")
    candidates = find_candidates([tmp_path], ("plate", "bolt", "nut"))
    assert len(candidates) == 84

    def drawn(seed: int) -> list[Path]:
        return [s.path for s in choose(session, own.manifest.input, candidates, 30, seed, silent)]

    chosen = choose(session, own.manifest.input, candidates, 30, 1, silent)
    counts = {
        surface: tuple(sum(s.surface == surface and s.defective is bad for s in chosen) for bad in (False, True))
        for surface in ("plate", "bolt", "nut")
    }
    assert counts == {"plate": (5, 5), "bolt": (8, 2), "nut": (10, 0)}
    assert len({s.path for s in chosen}) == len(chosen)
    assert drawn(1) == drawn(1) != drawn(2)
    session.close()
