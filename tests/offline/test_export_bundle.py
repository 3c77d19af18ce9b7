"""`edge export`: from a torch.export program or an ONNX file to a bundle, and what is refused on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from edge.bundle import Bundle, open_bundle
from edge.cli import main
from edge.engines.session import open_graph
from edge.errors import BundleError, DataError, EdgeError, EngineError
from edge.inspection.model import Model
from edge.offline.answers import looker
from edge.records import Frame
from tests.small_blur import HEIGHT, WIDTH

torch = pytest.importorskip("torch", reason="export needs torch: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="export needs litert-torch: pip install '.[train]'")
pytest.importorskip("onnxslim", reason="export needs onnxslim: pip install '.[train]'")

import onnx  # noqa: E402  # after the skip
from onnx import helper  # noqa: E402  # after the skip
from torch import Tensor, nn  # noqa: E402  # after the skip

from edge.golden import golden_batch  # noqa: E402  # after the skip
from edge.offline.export import quiet, save_program, to_onnx, to_program  # noqa: E402  # after the skip
from edge.offline.pack import golden_frame  # noqa: E402  # after the skip

Floats = NDArray[np.float32]
UINT8 = onnx.TensorProto.UINT8


SCALED = {"mean": 0.4, "std": 0.2}


class Plain(nn.Module):
    """A convolution, a batch norm and a second convolution: `(n, 1, 32, 48)` -> a map; padding is the first's."""

    def __init__(self, padding: int = 0) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=padding), nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.last(torch.relu(self.norm(self.first(x))))
        return answer


class Rebuild(nn.Module):
    """Twice strided down, and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 4, 2, 1), nn.ConvTranspose2d(4, 1, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.up(torch.relu(self.down(x)))
        return answer


class Twice(nn.Module):
    """Its first layer is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layer(torch.relu(self.layer(x)))
        return answer


class Bessel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = torch.special.bessel_j0(x)
        return answer


def made(network: nn.Module) -> nn.Module:
    """The same weights every time, and a batch norm that does something."""
    torch.manual_seed(7)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            assert module.running_mean is not None
            module.running_mean.uniform_(-0.5, 0.5)
    network.eval()
    return network


def example(batch: int = 2, side: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    pixels: Tensor = torch.from_numpy(np.random.default_rng(1).random((batch, 1, *side), np.float32))
    return pixels


def write_pt2(path: Path, network: nn.Module, given: Tensor | None = None) -> Path:
    save_program(to_program(made(network), example() if given is None else given), path)
    return path


def write_onnx(path: Path, network: nn.Module, given: Tensor | None = None) -> Path:
    program = to_program(made(network), example() if given is None else given)
    path.write_bytes(to_onnx(program, [f"out{n}" for n in range(len(program.graph_signature.user_outputs))]))
    return path


FIELDS: dict[str, Any] = {
    "name": "plain",
    "kind": "map",
    "surfaces": ["plate"],
    "outputs": ["map"],
    "input": {"width": WIDTH, "height": HEIGHT},
    "thresholds": {"score": 0.5, "map": 0.5, "how": "by hand"},
    "scoring": {"answer": "score"},
    "training": {"data": "drawn", "licence": "none", "images": 0, "date": "-", "command": "-"},
}


def write_manifest(folder: Path, **changed: object) -> Path:
    """changed: its keys; of `input` those besides width and height."""
    path = folder / "fields.toml"
    rule = FIELDS["input"] | changed.pop("input", {})
    path.write_text(tomli_w.dumps({**FIELDS, **changed, "input": rule}))
    return path


def export(model: Path, manifest: Path, out: Path, *options: object) -> Result:
    """`edge export` in this process, which has torch loaded already."""
    arguments = [model, "--manifest", manifest, "-o", out, *options]
    result = CliRunner().invoke(main, ["export", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def exported(model: Path, manifest: Path, out: Path, *options: object) -> Bundle:
    result = export(model, manifest, out, *options)
    assert result.exit_code == 0, result.output
    return open_bundle(out)


WRITERS = {"pt2": write_pt2, "onnx": write_onnx}


@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_bundle_comes_out_that_verifies_and_answers_as_torch_does(tmp_path: Path, kind: str) -> None:
    model = WRITERS[kind](tmp_path / f"net.{kind}", Plain())
    result = export(model, write_manifest(tmp_path), tmp_path / "models" / "plain", "--json")
    assert result.exit_code == 0, result.output
    bundle = open_bundle(tmp_path / "models" / "plain")
    apart = json.loads(result.stdout)["apart"]
    files = {"model.onnx", "model.fp16.onnx", "model.fp16.xml"} | ({"model.tflite"} if kind == "pt2" else set())
    assert {graph.file for graph in bundle.manifest.graph} == files
    assert apart.keys() == files - {"model.fp16.onnx", "model.fp16.xml"} and max(apart.values()) < 1e-4
    assert CliRunner().invoke(main, ["verify", str(bundle.path)]).exit_code == 0
    frame = golden_batch(golden_frame(bundle.manifest.input, 5), bundle.manifest.input)
    with torch.no_grad():
        wanted = made(Plain())(torch.from_numpy(frame)).numpy()
    for graph in bundle.manifest.graph:
        engine = {"onnx": "onnx", "openvino": "openvino", "tflite": "litert"}[graph.format]
        with closing(open_graph(engine, bundle, graph, 2, "cpu")) as session:  # type: ignore[arg-type]  # its own name
            allowed = 1e-4 if graph.precision == "fp32" else 0.01
            np.testing.assert_allclose(session.run(frame)[0], wanted, atol=allowed * np.ptp(wanted))
    assert {path.name for path in tmp_path.iterdir()} == {"models", "fields.toml", model.name}
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["plain"]


def test_the_same_network_gives_the_same_bundle(tmp_path: Path) -> None:
    model, manifest = write_pt2(tmp_path / "net.pt2", Plain()), write_manifest(tmp_path)
    first, second = (exported(model, manifest, tmp_path / name / "plain") for name in "ab")
    assert first.sha256 == second.sha256


def test_only_the_formats_that_are_wanted_are_written(tmp_path: Path) -> None:
    model, manifest = write_pt2(tmp_path / "net.pt2", Plain()), write_manifest(tmp_path)
    bundle = exported(model, manifest, tmp_path / "plain", "--format", "tflite")
    assert {graph.file for graph in bundle.manifest.graph} == {"model.onnx", "model.tflite"}


def test_what_a_manifest_says_of_an_older_bundle_is_passed_over(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "net.onnx", Plain())
    first = exported(model, write_manifest(tmp_path), tmp_path / "plain", "--format", "openvino")
    again = exported(model, first.path / "manifest.toml", tmp_path / "again", "--format", "openvino")
    assert again.manifest == first.manifest


def test_the_manifest_of_a_bundle_whose_scale_was_folded_serves_again(tmp_path: Path) -> None:
    model, manifest = write_pt2(tmp_path / "net.pt2", Plain()), write_manifest(tmp_path, input=SCALED)
    first = exported(model, manifest, tmp_path / "plain", "--format", "openvino")
    again = exported(model, first.path / "manifest.toml", tmp_path / "again", "--format", "openvino")
    assert first.manifest.folded == (0.4, 0.2) and again.manifest == first.manifest


# Scale and shift.


def score_of(bundle: Bundle, frame: Frame) -> float:
    graph = next(g for g in bundle.manifest.graph if g.file == "model.onnx")
    with closing(open_graph("onnx", bundle, graph, 2, "cpu")) as session:
        return looker(Model(bundle, graph, session))(frame)[0].score


def torch_map(network: nn.Module, bundle: Bundle, mean: float, std: float) -> Floats:
    """As the network was trained: (x - mean) / std."""
    rule = msgspec.structs.replace(bundle.manifest.input, mean=mean, std=std)
    with torch.no_grad():
        return np.asarray(made(network)(torch.from_numpy(golden_batch(PIXELS, rule))).numpy())


PIXELS = np.random.default_rng(9).integers(0, 255, (HEIGHT, WIDTH)).astype(np.uint8)
FRAME = Frame(PIXELS, 255)


@pytest.mark.parametrize("kind", list(WRITERS))
@pytest.mark.parametrize(
    ("padding", "mean", "std", "folds"),
    [(0, 0.4, 0.2, True), (1, 0.0, 0.2, True), (1, 0.4, 0.2, False), (0, 0.0, 1.0, False)],
)
def test_a_scale_is_folded_where_that_changes_no_score(
    tmp_path: Path, kind: str, padding: int, mean: float, std: float, folds: bool
) -> None:
    model = WRITERS[kind](tmp_path / f"net.{kind}", Plain(padding))
    manifest = write_manifest(tmp_path, input={"mean": mean, "std": std})
    bundle = exported(model, manifest, tmp_path / "plain", "--format", "tflite")
    assert (bundle.manifest.input.mean, bundle.manifest.input.std) == ((0.0, 1.0) if folds else (mean, std))
    wanted = torch_map(Plain(padding), bundle, mean, std)
    assert score_of(bundle, FRAME) == pytest.approx(float(wanted.max()), abs=1e-4 * float(np.ptp(wanted)))


@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_reconstruction_is_held_against_the_image_on_the_scale_that_it_was_trained_on(
    tmp_path: Path, kind: str
) -> None:
    model = WRITERS[kind](tmp_path / f"net.{kind}", Rebuild(), example(side=(32, 32)))
    manifest = write_manifest(
        tmp_path,
        kind="reconstruction",
        outputs=["reconstruction"],
        scoring={"pooling": "mean"},
        input={"std": 0.25, "patch": 32, "stride": 16},
    )
    bundle = exported(model, manifest, tmp_path / "rebuild", "--format", "openvino")
    rule = msgspec.structs.replace(bundle.manifest.input, mean=0.0, std=0.25, patch=0, stride=0, width=32)
    striped = np.hstack([PIXELS[:, :16]] * 3)  # both patches are the same
    image = golden_batch(striped[:, :32], rule)
    with torch.no_grad():
        rebuilt = made(Rebuild())(torch.from_numpy(image)).numpy()
    assert score_of(bundle, Frame(striped, 255)) == pytest.approx(float(np.square(image - rebuilt).mean()), rel=0.02)


@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_first_layer_that_is_used_again_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    model = WRITERS[kind](tmp_path / f"net.{kind}", Twice())
    manifest = write_manifest(tmp_path, input={"std": 0.25})
    bundle = exported(model, manifest, tmp_path / "twice", "--format", "openvino")
    wanted = torch_map(Twice(), bundle, 0.0, 0.25)
    assert score_of(bundle, FRAME) == pytest.approx(float(wanted.max()), abs=1e-4)


def test_a_padding_that_the_file_leaves_to_the_engine_is_a_padding(tmp_path: Path) -> None:
    model = onnx.load_from_string(write_onnx(tmp_path / "net.onnx", Plain(1)).read_bytes())
    (first, *_) = (node for node in model.graph.node if node.op_type == "Conv")
    kept = [attribute for attribute in first.attribute if attribute.name not in ("pads", "auto_pad")]
    del first.attribute[:]
    first.attribute.extend([*kept, helper.make_attribute("auto_pad", "SAME_UPPER")])
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    manifest = write_manifest(tmp_path, input={"mean": 0.4, "std": 0.2})
    bundle = exported(tmp_path / "net.onnx", manifest, tmp_path / "plain", "--format", "openvino")
    wanted = torch_map(Plain(1), bundle, 0.4, 0.2)
    assert score_of(bundle, FRAME) == pytest.approx(float(wanted.max()), abs=1e-4 * float(np.ptp(wanted)))


def test_a_program_for_one_picture_serves_patches_too(tmp_path: Path) -> None:
    """Its batch is fixed to 1, and a frame is several patches."""
    model = write_pt2(tmp_path / "net.pt2", Rebuild(), example(1, (32, 32)))
    manifest = write_manifest(
        tmp_path, kind="reconstruction", outputs=["reconstruction"], scoring={}, input={"patch": 32, "stride": 16}
    )
    bundle = exported(model, manifest, tmp_path / "rebuild", "--format", "openvino")
    assert score_of(bundle, FRAME) > 0


# What is refused.


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def pickled(path: Path) -> Path:
    torch.save(made(Plain()), path)
    return path


def elsewhere(folder: Path) -> Path:
    model = onnx.load_from_string(write_onnx(folder / "net.onnx", Plain()).read_bytes())
    onnx.save_model(model, folder / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return folder / "net.onnx"


def of_one_operator(path: Path, operation: str, domain: str = "", kind: int = onnx.TensorProto.FLOAT) -> Path:
    shape: list[str | int | None] = ["n", 1, HEIGHT, WIDTH]
    ports = [helper.make_tensor_value_info(name, kind, shape) for name in ("in", "map")]
    nodes = [helper.make_node(operation, ["in"], ["map"], domain=domain)]
    graph = helper.make_graph(nodes, "one", ports[:1], ports[1:])
    sets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=sets)
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def text(path: Path) -> Path:
    path.write_text("no network")
    return path


MODELS: list[tuple[str, Callable[[Path], Path], type[EdgeError], tuple[str, ...]]] = [
    ("a pickle", lambda f: pickled(f / "net.pt"), DataError, ("net.pt is a pickle", "torch.export.save")),
    ("a pickle in disguise", lambda f: pickled(f / "net.pt2"), DataError, ("net.pt2 is a pickle",)),
    ("half a program", lambda f: cut(write_pt2(f / "net.pt2", Plain())), DataError, ("net.pt2 is not a torch.export",)),
    (
        "half an ONNX file",
        lambda f: cut(write_onnx(f / "net.onnx", Plain())),
        DataError,
        ("net.onnx is no whole ONNX",),
    ),
    ("text as a program", lambda f: text(f / "net.pt2"), DataError, ("net.pt2 is not a torch.export",)),
    ("text as ONNX", lambda f: text(f / "net.onnx"), DataError, ("net.onnx is no whole ONNX",)),
    ("external data", elsewhere, DataError, ("net.onnx keeps weights in another file",)),
    ("an operator", lambda f: write_pt2(f / "net.pt2", Bessel()), DataError, ("bessel_j0",)),
    ("an operator in ONNX", lambda f: of_one_operator(f / "net.onnx", "Acme", "com.acme"), DataError, ("Acme",)),
    ("bytes", lambda f: of_one_operator(f / "net.onnx", "Identity", kind=UINT8), EngineError, ("uint8",)),
    (
        *("other pictures", lambda f: write_pt2(f / "net.pt2", Plain(), example(2, (40, 48))), BundleError),
        ("(n, 1, 40, 48)", "(n, 1, 32, 48)"),
    ),
    (
        *("other pictures in ONNX", lambda f: write_onnx(f / "net.onnx", Plain(), example(2, (40, 48))), BundleError),
        ("(n, 1, 40, 48)", "(n, 1, 32, 48)"),
    ),
    ("four at once in ONNX", lambda f: four(f / "net.onnx"), BundleError, ("(4, 1, 32, 48)", "n free or 1")),
    ("four at once", lambda f: four(f / "net.pt2"), BundleError, ("(4, 1, 32, 48)", "n free or 1")),
]


def four(path: Path) -> Path:
    with quiet():
        program = torch.export.export(made(Plain()), (example(4),))
    if path.suffix == ".pt2":
        save_program(program, path)
    else:
        path.write_bytes(to_onnx(program, ["map"]))
    return path


def refused(result: Result, kind: type[EdgeError], *words: str) -> None:
    assert result.exit_code == kind.exit_code, result.output
    (sentence,) = (line for line in result.stderr.splitlines() if line.startswith("edge: "))
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(("what", "make", "kind", "words"), MODELS, ids=[row[0] for row in MODELS])
def test_a_model_that_cannot_serve_is_named_and_nothing_is_left_behind(
    tmp_path: Path, what: str, make: Callable[[Path], Path], kind: type[EdgeError], words: tuple[str, ...]
) -> None:
    (tmp_path / "models").mkdir()
    result = export(make(tmp_path), write_manifest(tmp_path), tmp_path / "models" / "plain")
    refused(result, kind, *words)
    assert not list((tmp_path / "models").iterdir()), what


@pytest.mark.parametrize("kind", list(WRITERS))
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"outputs": ["map", "score"]}, ("map, score",)),
        ({"threshold": 0.5}, ("fields.toml", "threshold")),
        ({"input": {"widht": 3}}, ("fields.toml", "widht")),
        ({"kind": "oracle"}, ("fields.toml", "oracle")),
        ({"input": {"channels": 3}}, ("(n, 1, 32, 48)", "(n, 3, 32, 48)")),
    ],
)
def test_a_manifest_that_does_not_fit_is_named_and_nothing_is_left_behind(
    tmp_path: Path, kind: str, changed: dict[str, Any], words: tuple[str, ...]
) -> None:
    (tmp_path / "models").mkdir()
    model = WRITERS[kind](tmp_path / f"net.{kind}", Plain())
    refused(export(model, write_manifest(tmp_path, **changed), tmp_path / "models" / "plain"), BundleError, *words)
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize("what", ["folder", "text"])
def test_arrays_that_are_none_are_named(tmp_path: Path, what: str) -> None:
    arrays = tmp_path / "arrays"
    arrays.mkdir() if what == "folder" else arrays.write_text("no arrays")
    model = write_onnx(tmp_path / "net.onnx", Plain())
    result = export(model, write_manifest(tmp_path), tmp_path / "models" / "plain", "--arrays", arrays)
    refused(result, DataError, str(arrays))
    assert not (tmp_path / "models").exists()


def test_an_older_bundle_stays_where_the_new_one_is_refused(tmp_path: Path) -> None:
    model, manifest = write_onnx(tmp_path / "net.onnx", Plain()), write_manifest(tmp_path)
    before = exported(model, manifest, tmp_path / "models" / "plain")
    shutil.copy(model, tmp_path / "half.onnx")
    refused(export(cut(tmp_path / "half.onnx"), manifest, before.path), DataError, "half.onnx")
    assert open_bundle(before.path).sha256 == before.sha256
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["plain"]


def test_a_program_whose_scale_was_folded_is_still_compared_on_its_own_scale(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="edge parity needs scikit-learn (extra `evaluate`)")
    from tests.small_blur import draw_plates

    draw_plates(tmp_path / "data")
    model = write_pt2(tmp_path / "net.pt2", Plain())
    manifest = write_manifest(tmp_path, input={"mean": 0.4, "std": 0.2})
    bundle = exported(model, manifest, tmp_path / "plain", "--format", "tflite")
    arguments = ["parity", str(bundle.path), str(tmp_path / "data"), "--program", str(model), "--json"]
    found = json.loads(CliRunner().invoke(main, arguments).stdout)
    (row,) = (row for row in found["rows"] if row["engine"] == "torch")
    assert row["flips"] == 0 and row["apart_most"] < 1e-3
