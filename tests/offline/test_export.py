"""Small real networks: exported, quantised, packed, and the same on every engine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import Thresholds, Training
from edge.engines.processor import int8_overflows
from edge.engines.session import ENGINES, installed, open_session
from edge.errors import BundleError
from edge.offline.verify import verify_bundle
from edge.vision.image import InputRule

torch = pytest.importorskip("torch", reason="export needs torch: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="export needs litert-torch: pip install '.[train]'")
pytest.importorskip("ai_edge_quantizer", reason="quantisation needs ai-edge-quantizer: pip install '.[train]'")

import onnx  # noqa: E402  # after the skip
from torch import Tensor, nn  # noqa: E402  # after the skip

from edge.offline.amend import set_measured  # noqa: E402  # after the skip
from edge.offline.export import fp32_graphs, to_onnx, to_program, to_tflite  # noqa: E402  # after the skip
from edge.offline.int8 import make_int8  # noqa: E402  # after the skip
from edge.offline.pack import golden_frame, write_bundle  # noqa: E402  # after the skip
from edge.offline.quantize import quantize_openvino, quantize_tflite, tflite_ranges  # noqa: E402  # after the skip
from edge.offline.tflite_layers import with_weights  # noqa: E402  # after the skip

Floats = NDArray[np.float32]
SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".onnx"), "litert": (".tflite",)}


class TwoHeads(nn.Module):
    """Batch norm, pooling and two outputs, as SegDec has; the second's name would sort first."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        )
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        defects = self.head(self.body(x))
        return defects.amax((2, 3)), defects


class Rebuild(nn.Module):
    """Strided down and up again with leaky activations, as the autoencoder has."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(8, 1, 4, 2, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.net(x)
        return answer


def silent(step: str, done: int, total: int) -> None:
    pass


NETWORKS = {"two_heads": (TwoHeads, ("score", "map")), "rebuild": (Rebuild, ("reconstruction",))}


@pytest.fixture(scope="module", params=list(NETWORKS))
def made(request: pytest.FixtureRequest) -> tuple[nn.Module, tuple[str, ...], Floats, dict[str, bytes]]:
    """A network, its outputs' names, images, and the four graphs."""
    torch.manual_seed(7)
    kind, outputs = NETWORKS[request.param]
    network = kind().eval()
    images = np.random.default_rng(7).standard_normal((16, 1, 32, 48)).astype(np.float32)
    graphs = fp32_graphs(to_program(network, torch.from_numpy(images[:2])), outputs, images.shape[1:])
    graphs |= make_int8(graphs["model.onnx"], graphs["model.tflite"], images, silent).files
    return network, outputs, images, graphs


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("precision", "allowed"), [("", 1e-4), (".fp16", 0.01), (".int8", 0.05)])
def test_every_engine_answers_as_torch_does(
    made: tuple[nn.Module, tuple[str, ...], Floats, dict[str, bytes]], engine: str, precision: str, allowed: float
) -> None:
    network, outputs, images, graphs = made
    known = next(e for e in ENGINES if e == engine)
    if not installed(known):
        pytest.skip(f"{engine} is not installed")
    with torch.no_grad():
        answer = network(torch.from_numpy(images[:3]))
    expected = [a.numpy() for a in (answer if isinstance(answer, tuple) else (answer,))]
    name = next(n for end in SUFFIXES[known] if (n := f"model{precision}{end}") in graphs or end == SUFFIXES[known][-1])
    if name not in graphs:
        assert precision == ".fp16" or int8_overflows()
        pytest.skip(f"there is no {name}: LiteRT runs on CPUs alone, or this processor has no VNNI")
    weights = graphs[name.replace(".xml", ".bin")] if name.endswith(".xml") else b""
    session = open_session(known, graphs[name], 2, "cpu", weights)
    got = session.run(images[:3])
    assert len(got) == len(outputs)
    for out, wanted in zip(got, expected, strict=True):
        assert out.shape == wanted.shape
        assert out.dtype == np.float32
        assert np.abs(out - wanted).max() <= allowed * max(np.ptp(expected[-1]), 1e-3)
    session.close()


def test_a_tflite_graph_for_three_images_answers_as_the_one_for_one(
    made: tuple[nn.Module, tuple[str, ...], Floats, dict[str, bytes]],
) -> None:
    """Seven of them, and sixteen to calibrate with: the last three are filled up, of which nothing is to be seen."""
    network, _, images, graphs = made
    three = to_tflite(to_program(network, torch.from_numpy(images[:2])), images.shape[1:], 3)
    int8 = make_int8(graphs["model.onnx"], three, images, silent, formats=("tflite",)).files["model.int8.tflite"]
    for graph, single in ((three, "model.tflite"), (int8, "model.int8.tflite")):
        together, alone = (open_session("litert", data, 2, "cpu") for data in (graph, graphs[single]))
        for out, wanted in zip(together.run(images[:7]), alone.run(images[:7]), strict=True):
            assert out.shape == wanted.shape
            assert np.abs(out - wanted).max() <= 0.02 * np.ptp(wanted)
        for session in (together, alone):
            session.close()


def test_a_convolution_whose_output_stays_float_gives_an_image_the_same_bits_whatever_its_neighbours() -> None:
    """Its input is scaled anew at each run, by each image for itself."""
    torch.manual_seed(7)
    network, images = Rebuild().eval(), np.random.default_rng(7).standard_normal((9, 1, 32, 48)).astype(np.float32)
    program = to_program(network, torch.from_numpy(images[:2]))
    graph, model = to_tflite(program, images.shape[1:], 3), onnx.load_from_string(to_onnx(program, ("reconstruction",)))
    _, scopes = with_weights(graph, model, model)
    ranges = tflite_ranges(graph, images)
    kept = quantize_tflite(graph, ranges, (scopes["net.2"],))
    assert kept != quantize_tflite(graph, ranges)
    session = open_session("litert", kept, 2, "cpu")
    (answer,) = session.run(images)
    order = np.random.default_rng(1).permutation(9)
    np.testing.assert_array_equal(session.run(images[order])[0], answer[order])
    np.testing.assert_array_equal(session.run(images[4:5])[0][0], answer[4])
    with torch.no_grad():
        wanted = network(torch.from_numpy(images)).numpy()
    assert np.abs(answer - wanted).max() <= 0.05 * np.ptp(wanted)
    session.close()


def test_nncf_gives_layers_back_to_float_that_int8_hurts_more_than_is_allowed() -> None:
    """It ranks them on a part of the probes."""
    torch.manual_seed(7)
    images = np.random.default_rng(7).standard_normal((16, 1, 32, 48)).astype(np.float32)
    graph = to_onnx(to_program(TwoHeads().eval(), torch.from_numpy(images[:2])), ("score", "map"))
    probes = [images[n : n + 1] for n in range(len(images))]
    *_, strict = quantize_openvino(graph, images, probes, allowed=1e-6)
    *_, lenient = quantize_openvino(graph, images, probes, allowed=9.0)
    assert len(strict) == 3 and lenient == []


def test_int8_weights_are_there(made: tuple[nn.Module, tuple[str, ...], Floats, dict[str, bytes]]) -> None:
    _, _, _, graphs = made
    if int8_overflows():
        pytest.skip("without VNNI this processor makes INT8 for LiteRT alone")
    onnx = pytest.importorskip("onnx", reason="reads the graph: pip install '.[train]'")
    model = onnx.load_from_string(graphs["model.int8.onnx"])
    assert {n.op_type for n in model.graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    assert any(t.data_type == onnx.TensorProto.INT8 for t in model.graph.initializer)


def fields(outputs: tuple[str, ...], name: str) -> dict[str, object]:
    return {
        "name": name,
        "kind": "segdec" if len(outputs) == 2 else "map",
        "surfaces": ("nothing",),
        "input": InputRule(width=48, height=32),
        "outputs": outputs,
        "thresholds": Thresholds(score=0.5, map=0.5, how="by hand"),
        "training": Training(data="noise", licence="none", images=0, date="2000-01-01", command="none"),
    }


def test_a_packed_bundle_verifies_and_can_be_written_again(
    made: tuple[nn.Module, tuple[str, ...], Floats, dict[str, bytes]], tmp_path: Path
) -> None:
    _, outputs, _, graphs = made
    path = tmp_path / "tiny"
    first = write_bundle(path, fields(outputs, "tiny"), graphs)
    assert all(row.ok for row in verify_bundle(first))
    assert first.manifest.targets.frame_ms is None
    second = write_bundle(path, fields(outputs, "tiny"), graphs)
    assert second.sha256 == first.sha256
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]
    measured = set_measured(path, {"frame_ms_p99": 1.5})
    assert measured.manifest.measured == {"frame_ms_p99": 1.5}
    assert msgspec.structs.replace(measured.manifest, measured={}) == first.manifest


def test_a_wrong_field_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="kind"):
        write_bundle(tmp_path / "tiny", {**fields(("score",), "tiny"), "kind": "oracle"}, {"model.onnx": b""})
    assert not list(tmp_path.iterdir())


def test_the_golden_frame_is_the_same_every_time() -> None:
    rule = InputRule(width=48, height=32, channels=3)
    frame = golden_frame(rule, 1)
    assert frame.shape == (32, 48, 3)
    assert frame.dtype == np.uint8
    assert (frame == golden_frame(rule, 1)).all()
    assert (frame != golden_frame(rule, 2)).any()
