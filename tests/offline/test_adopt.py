"""An exported network becomes a bundle: it scores as the untouched file does on the same pixels, or it is refused and
nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import Bundle, open_bundle
from edge.engines.session import Engine, installed, open_graph
from edge.errors import BundleError, DataError, EdgeError, EngineError
from edge.inspection.model import Model
from edge.inspection.score_map import ScoreMapJudge
from edge.offline.adopt import Adopted, adopt
from edge.offline.adopt_wanted import Wanted
from edge.records import Finding, Frame
from tests.lines import called, edit

onnx = pytest.importorskip("onnx", reason="onnx, which writes the small graphs, is not here (extra `test`)")
if not installed("onnx"):
    pytest.skip("ONNX Runtime is not here (extra `onnx`)", allow_module_level=True)

Floats = NDArray[np.float32]
SIDE = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FLOAT, UINT8, HALF, BOOL = 1, 2, 10, 9  # of TensorProto
PLAIN = Wanted("dark", mean=(0.0,), std=(1.0,), threshold=0.5, map_threshold=0.5)
needs_openvino = pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not here (extra `openvino`)")


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), outputs.split(), name=f"{kind}_{outputs}", **attributes)


def constant(name: str, *values: float, shape: tuple[int, ...] = ()) -> Any:
    array = np.array(values, np.float32).reshape(shape)
    return onnx.numpy_helper.from_array(array, name)


def network(
    nodes: list[Any],
    outputs: dict[str, int],
    constants: list[Any] | None = None,
    sides: tuple[int | str, ...] = ("n", 3, SIDE, SIDE),
    kind: int = FLOAT,
) -> Any:
    """A graph from `in` to the outputs, of these types."""
    given = onnx.helper.make_tensor_value_info("in", kind, sides)
    answers = [onnx.helper.make_tensor_value_info(name, each, None) for name, each in outputs.items()]
    graph = onnx.helper.make_graph(nodes, "small", [given], answers, constants or [])
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return model


def finder(prefix: str = "in", out: str = "map") -> list[Any]:
    """A convolution with a bias, so that nothing done to the pixels cancels out: `(n, 3, h, w)` -> `(n, 1, h, w)`."""
    return [node("Conv", f"{prefix} weights bias", out, kernel_shape=[3, 3], pads=[1, 1, 1, 1])]


def learnt() -> list[Any]:
    weights = np.random.default_rng(5).standard_normal((1, 3, 3, 3))
    return [constant("weights", *weights.ravel(), shape=(1, 3, 3, 3)), constant("bias", 0.7, shape=(1,))]


def normalised() -> list[Any]:
    """anomalib 1.x and 2.x: the graph itself subtracts and divides."""
    return [node("Sub", "in mean", "less"), node("Div", "less std", "x")]


def statistics() -> list[Any]:
    return [constant("mean", *MEAN, shape=(1, 3, 1, 1)), constant("std", *STD, shape=(1, 3, 1, 1))]


def clip(given: str, out: str) -> list[Any]:
    return [node("Clip", f"{given} zero one", out)]


def anomalib_2(sensitivity: float = 0.5, limits: bool = True) -> Any:
    """pred_score, pred_label, anomaly_map, pred_mask in this order, as its InferenceBatch has them."""
    nodes = [
        *normalised(),
        *finder("x", "raw"),
        node("Mul", "raw tenth", "small"),
        node("Add", "small half", "centred"),
        *clip("centred", "anomaly_map"),
        node("GlobalMaxPool", "anomaly_map", "peak"),
        node("Flatten", "peak", "flat"),
        node("Mul", "flat most", "unclipped"),
        *clip("unclipped", "pred_score"),
        node("Greater", "pred_score asked", "pred_label"),
        node("Greater", "anomaly_map asked", "pred_mask"),
    ]
    scalars = {"tenth": 0.1, "half": 0.5, "most": 0.9, "zero": 0.0, "one": 1.0, "asked": 1 - sensitivity}
    constants = learnt() + statistics() + [constant(name, value) for name, value in scalars.items()]
    outputs = {"pred_score": FLOAT, "pred_label": BOOL, "anomaly_map": FLOAT, "pred_mask": BOOL}
    return network(nodes, outputs if limits else {"pred_score": FLOAT, "anomaly_map": FLOAT}, constants)


def anomalib_1() -> Any:
    """The map is the first output, called `output`; the frame's own score has whatever name the exporter gave it."""
    own = [node("GlobalAveragePool", "output", "pooled"), node("Reshape", "pooled flat", "1187")]
    flat = onnx.numpy_helper.from_array(np.array([-1], np.int64), "flat")
    nodes = [*normalised(), *finder("x", "output"), *own]
    return network(nodes, {"output": FLOAT, "1187": FLOAT}, [*learnt(), *statistics(), flat])


def export_of(folder: Path, model: Any, metadata: dict[str, object] | None) -> Path:
    """Laid out as anomalib does."""
    place = folder / "weights" / "onnx"
    place.mkdir(parents=True)
    onnx.save(model, place / "model.onnx")
    if metadata is not None:
        (place / "metadata.json").write_text(json.dumps(metadata))
    return folder


def transform(*steps: dict[str, object]) -> dict[str, object]:
    """albumentations' to_dict, as anomalib 0.x wrote it."""
    resize = {"__class_fullname__": "Resize", "always_apply": False, "p": 1, "height": SIDE, "width": SIDE}
    last = {"__class_fullname__": "ToTensorV2", "always_apply": True, "p": 1.0, "transpose_mask": False}
    return {
        "__version__": "1.3.1",
        "transform": {"__class_fullname__": "Compose", "p": 1.0, "transforms": [resize, *steps, last]},
    }


NORMALIZE = {"__class_fullname__": "Normalize", "mean": list(MEAN), "std": list(STD), "max_pixel_value": 255.0}
RAW = {"task": "segmentation", "image_threshold": 0.25, "pixel_threshold": 0.75, "min": -4.0, "max": 9.0}


def save(folder: Path, model: Any, name: str = "model.onnx") -> Path:
    onnx.save(model, folder / name)
    return folder / name


def say_nothing(*_: object) -> None:
    pass


def imported(source: Path, wanted: Wanted, out: Path) -> Adopted:
    return adopt(source, wanted, out, say_nothing)


def picture(seed: int = 3, side: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def judged(bundle: Bundle, pixels: NDArray[np.uint8], engine: Engine = "onnx") -> Finding:
    graph = bundle.manifest.graph[0]
    with closing(open_graph(engine, bundle, graph, 1, "cpu")) as session:
        return ScoreMapJudge(Model(bundle, graph, session)).inspect(Frame(pixels, 255))


def zero_to_one(pixels: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(pixels.astype(np.float32).transpose(2, 0, 1)[None] / 255)


def untouched(model: Any, batch: NDArray[np.generic]) -> dict[str, Floats]:
    """What ONNX Runtime makes of the file as it was exported."""
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString())
    names = [out.name for out in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: batch}), strict=True))


def test_normalisation_for_each_channel_goes_into_the_graph_once(tmp_path: Path) -> None:
    model = network(finder(), {"map": FLOAT}, learnt())
    wanted = Wanted("dark", mean=MEAN, std=STD, threshold=3.0, map_threshold=2.0, data="ours", licence="MIT")
    done = imported(save(tmp_path, model), wanted, tmp_path / "out")
    pixels = picture()
    mean, std = (np.array(each, np.float32).reshape(1, 3, 1, 1) for each in (MEAN, STD))
    theirs = untouched(model, (zero_to_one(pixels) - mean) / std)["map"][0, 0]
    found = judged(done.bundle, pixels)
    np.testing.assert_allclose(found.score_map, theirs, atol=1e-5)
    assert found.score == pytest.approx(theirs.max(), abs=1e-5) and found.threshold == 3.0
    manifest = done.bundle.manifest
    assert (manifest.input.mean, manifest.input.std) == (0, 1) and "in front of the graph" in manifest.training.note
    assert (manifest.training.data, manifest.training.licence) == ("ours", "MIT")
    assert done.rows and all(row.ok for row in done.rows)


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_one_mean_and_std_are_the_manifests_and_leave_the_graph_alone(white: float, tmp_path: Path) -> None:
    model = network(finder(), {"map": FLOAT}, learnt())
    wanted = Wanted("dark", mean=(0.5 * white,), std=(0.25 * white,), white=white, threshold=0, map_threshold=0)
    bundle = imported(save(tmp_path, model), wanted, tmp_path / "out").bundle
    assert (bundle.manifest.input.mean, bundle.manifest.input.std) == (0.5, 0.25)
    assert len(onnx.load(bundle.path / "model.onnx").graph.node) == 1
    pixels = picture()
    theirs = untouched(model, (zero_to_one(pixels) - np.float32(0.5)) / np.float32(0.25))["map"][0, 0]
    np.testing.assert_allclose(judged(bundle, pixels).score_map, theirs, atol=1e-5)


def test_pixel_values_of_uint8_with_channels_last_are_given_exactly(tmp_path: Path) -> None:
    nodes = [node("Cast", "in", "wide", to=FLOAT), node("Transpose", "wide", "x", perm=[0, 3, 1, 2]), *finder("x")]
    model = network(nodes, {"map": FLOAT}, learnt(), ("n", SIDE, SIDE, 3), UINT8)
    wanted = Wanted("dark", threshold=0, map_threshold=0)
    pixels = picture()
    found = judged(imported(save(tmp_path, model), wanted, tmp_path / "out").bundle, pixels)
    np.testing.assert_allclose(found.score_map, untouched(model, pixels[None])["map"][0, 0], rtol=1e-6)


def test_a_network_in_half_precision_is_given_it_and_read_back(tmp_path: Path) -> None:
    nodes = [node("Cast", "in", "wide", to=FLOAT), *finder("wide", "found"), node("Cast", "found", "map", to=HALF)]
    model = network(nodes, {"map": HALF}, learnt(), kind=HALF)
    pixels = picture()
    found = judged(imported(save(tmp_path, model), PLAIN, tmp_path / "out").bundle, pixels)
    theirs = untouched(model, zero_to_one(pixels).astype(np.float16))["map"][0, 0]
    np.testing.assert_allclose(found.score_map, theirs.astype(np.float32), rtol=2e-3)


def test_logits_become_probabilities(tmp_path: Path) -> None:
    model = network(finder(), {"map": FLOAT}, learnt())
    wanted = Wanted("dark", mean=(0.0,), std=(1.0,), threshold=0.5, map_threshold=0.5, answer="logit")
    pixels = picture()
    found = judged(imported(save(tmp_path, model), wanted, tmp_path / "out").bundle, pixels)
    theirs = untouched(model, zero_to_one(pixels))["map"][0, 0]
    np.testing.assert_allclose(found.score_map, 1 / (1 + np.exp(-theirs)), atol=1e-6)


def test_free_sides_are_fixed_and_a_free_batch_stays_free(tmp_path: Path) -> None:
    model = network(finder(), {"map": FLOAT}, learnt(), ("n", 3, "h", "w"))
    source = save(tmp_path, model)
    with pytest.raises(BundleError, match=r"free; give --width and --height"):
        imported(source, PLAIN, tmp_path / "out")
    wanted = Wanted("dark", 48, 40, mean=(0.0,), std=(1.0,), threshold=0, map_threshold=0)
    bundle = imported(source, wanted, tmp_path / "out").bundle
    assert bundle.manifest.graph[0].input is not None
    assert bundle.manifest.graph[0].input.shape == (0, 3, 40, 48)
    assert bundle.manifest.graph[0].output[0].shape == (0, 1, 40, 48)
    pixels = cv2.resize(picture(side=100), (48, 40), interpolation=cv2.INTER_AREA)
    theirs = untouched(model, zero_to_one(pixels))["map"][0, 0]
    np.testing.assert_allclose(judged(bundle, picture(side=100)).score_map, theirs, atol=1e-5)


def test_thresholds_may_be_set_on_good_images(tmp_path: Path) -> None:
    model = network(finder(), {"map": FLOAT}, learnt())
    good = tmp_path / "good"
    good.mkdir()
    for seed in range(12):
        cv2.imwrite(str(good / f"{seed}.png"), picture(seed))
    wanted = Wanted("dark", mean=(0.0,), std=(1.0,), good=(good,), pass_good=1.0)
    bundle = imported(save(tmp_path, model), wanted, tmp_path / "out").bundle
    peaks = [untouched(model, zero_to_one(picture(seed)[..., ::-1]))["map"].max() for seed in range(12)]
    assert bundle.manifest.thresholds.score == pytest.approx(max(peaks), abs=1e-5)
    assert bundle.manifest.thresholds.map == pytest.approx(max(peaks), abs=1e-5)
    assert bundle.manifest.training.images == 12 and "100% of 12 good images" in bundle.manifest.thresholds.how
    few = Wanted("dark", mean=(0.0,), std=(1.0,), good=(good / "1.png",))
    with pytest.raises(DataError, match="1 different good images; 10 at least"):
        imported(save(tmp_path, model), few, tmp_path / "few")
    assert not (tmp_path / "few").exists()


def test_anomalib_0_is_normalised_by_its_metadata_and_keeps_its_raw_thresholds(tmp_path: Path) -> None:
    model = network(finder(out="output"), {"output": FLOAT}, learnt())
    source = export_of(tmp_path / "export", model, {**RAW, "transform": transform(NORMALIZE)})
    bundle = imported(source, Wanted("dark"), tmp_path / "out").bundle
    pixels = picture()
    mean, std = (np.array(each, np.float32).reshape(1, 3, 1, 1) for each in (MEAN, STD))
    theirs = untouched(model, (zero_to_one(pixels) - mean) / std)["output"][0, 0]
    np.testing.assert_allclose(judged(bundle, pixels).score_map, theirs, atol=1e-5)
    limits = bundle.manifest.thresholds
    assert limits.score == pytest.approx(0.25) and limits.map == pytest.approx(0.75)
    assert (limits.score or 1) < 0.25 and (limits.map or 1) < 0.75, (
        "anomalib rejects what is at the threshold, edge what is above it"
    )


def test_the_middle_that_anomalib_0_kept_is_cut_out_and_its_map_put_back(tmp_path: Path) -> None:
    crop = {"__class_fullname__": "CenterCrop", "height": 24, "width": 24, "p": 1.0}
    model = network(finder(out="output"), {"output": FLOAT}, learnt(), (1, 3, 24, 24))
    source = export_of(tmp_path / "export", model, {**RAW, "transform": transform(crop, NORMALIZE)})
    bundle = imported(source, Wanted("dark"), tmp_path / "out").bundle
    pixels = picture()
    mean, std = (np.array(each, np.float32).reshape(1, 3, 1, 1) for each in (MEAN, STD))
    middle = ((zero_to_one(pixels) - mean) / std)[:, :, 4:28, 4:28]
    found = judged(bundle, pixels).score_map
    assert found.shape == (SIDE, SIDE)
    np.testing.assert_allclose(found[4:28, 4:28], untouched(model, middle)["output"][0, 0], atol=1e-5)
    assert found[:4].max() == found[:, 28:].max() == 0 and "middle 24 x 24" in bundle.manifest.training.note


def test_anomalib_1_normalises_by_itself_and_scores_by_its_own_score(tmp_path: Path) -> None:
    model = anomalib_1()
    bundle = imported(export_of(tmp_path / "export", model, RAW), Wanted("dark"), tmp_path / "out").bundle
    pixels = picture()
    theirs = untouched(model, zero_to_one(pixels))
    found = judged(bundle, pixels)
    assert bundle.manifest.outputs == ("map", "score") and theirs["1187"].shape == (1,)
    np.testing.assert_allclose(found.score_map, theirs["output"][0, 0], atol=1e-5)
    assert found.score == pytest.approx(float(theirs["1187"][0]), abs=1e-5)
    assert found.score != pytest.approx(theirs["output"].max(), abs=0.1)


def test_a_picture_that_the_graph_itself_cuts_is_asked_about(tmp_path: Path) -> None:
    bounds = [("from", 4, 4), ("to", 28, 28), ("axes", 2, 3)]
    constants = [onnx.numpy_helper.from_array(np.array(values, np.int64), name) for name, *values in bounds]
    nodes = [*normalised(), node("Slice", "x from to axes", "middle"), *finder("middle", "output")]
    model = network(nodes, {"output": FLOAT}, learnt() + statistics() + constants)
    source = export_of(tmp_path / "export", model, RAW)
    with pytest.raises(BundleError, match=r"cuts the middle out.*--centre"):
        imported(source, Wanted("dark"), tmp_path / "out")
    bundle = imported(source, Wanted("dark", centre=(24, 24)), tmp_path / "out").bundle
    pixels = picture()
    found = judged(bundle, pixels).score_map
    theirs = untouched(model, zero_to_one(pixels))["output"][0, 0]
    assert found.shape == (SIDE, SIDE) and theirs.shape == (24, 24)
    np.testing.assert_allclose(found[4:28, 4:28], theirs, atol=1e-5)


@pytest.mark.parametrize("sensitivity", [0.5, 0.7])
def test_anomalib_2_loses_its_labels_and_keeps_the_threshold_they_were_made_by(
    sensitivity: float, tmp_path: Path
) -> None:
    model = anomalib_2(sensitivity)
    bundle = imported(export_of(tmp_path / "export", model, None), Wanted("dark"), tmp_path / "out").bundle
    pixels = picture()
    theirs, found = untouched(model, zero_to_one(pixels)), judged(bundle, pixels)
    np.testing.assert_allclose(found.score_map, theirs["anomaly_map"][0, 0], atol=1e-6)
    assert found.score == pytest.approx(theirs["pred_score"].item(), abs=1e-6) and found.score < found.score_map.max()
    assert bundle.manifest.thresholds.score == bundle.manifest.thresholds.map == pytest.approx(1 - sensitivity)
    assert (found.score > found.threshold) == theirs["pred_label"].item()
    kept = onnx.load(bundle.path / "model.onnx").graph
    assert "Greater" not in {each.op_type for each in kept.node} and len(kept.output) == 2
    assert (bundle.manifest.input.mean, bundle.manifest.input.std) == (0, 1)


def test_anomalib_2_without_labels_has_its_threshold_where_the_normalisation_puts_it(tmp_path: Path) -> None:
    bundle = imported(export_of(tmp_path / "x", anomalib_2(limits=False), None), Wanted("dark"), tmp_path / "o").bundle
    assert bundle.manifest.thresholds.score == bundle.manifest.thresholds.map == 0.5
    assert "normalisation" in bundle.manifest.thresholds.how


@needs_openvino
@pytest.mark.parametrize("half", [False, True])
def test_openvinos_own_files_give_the_same(half: bool, tmp_path: Path) -> None:
    import openvino as ov

    plain = Wanted("dark", mean=MEAN, std=STD, threshold=0.4, map_threshold=0.4)
    for name, model, wanted in (
        ("two", anomalib_2(0.6), Wanted("dark")),
        ("plain", network(finder(), {"map": FLOAT}, learnt()), plain),
    ):
        folder = tmp_path / name / "weights" / "openvino"
        folder.mkdir(parents=True)
        converted = ov.Core().read_model(model.SerializeToString())
        ov.save_model(converted, folder / "model.xml", compress_to_fp16=half)
        by_openvino = imported(tmp_path / name, wanted, tmp_path / f"{name}-openvino").bundle
        by_onnx = imported(save(tmp_path, model, f"{name}.onnx"), wanted, tmp_path / f"{name}-onnx").bundle
        assert by_openvino.manifest.graph[0].format == "openvino"
        assert by_openvino.manifest.graph[0].precision == "fp32"
        first, second = judged(by_openvino, picture(), "openvino"), judged(by_onnx, picture())
        np.testing.assert_allclose(first.score_map, second.score_map, atol=2e-2 if half else 1e-5)
        assert first.threshold == pytest.approx(second.threshold, abs=1e-3) == pytest.approx(0.4, abs=1e-3)


@needs_openvino
def test_an_operator_that_only_openvino_knows_makes_an_openvino_bundle(tmp_path: Path) -> None:
    nodes = [*finder(out="found"), node("Swish", "found", "map", domain="org.openvinotoolkit")]
    model = network(nodes, {"map": FLOAT}, learnt())
    model.opset_import.append(onnx.helper.make_opsetid("org.openvinotoolkit", 1))
    done = imported(save(tmp_path, model), PLAIN, tmp_path / "out")
    assert [graph.format for graph in done.bundle.manifest.graph] == ["openvino"]
    assert any("only OpenVINO" in note and "Swish" in note for note in done.notes)


def foreign(domain: str) -> Any:
    model = network([*finder(out="found"), node("Gabor", "found", "map", domain=domain)], {"map": FLOAT}, learnt())
    model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    return model


def apart(folder: Path) -> Path:
    """onnx itself refuses to write a path with dots; a file from elsewhere may have one."""
    model = network(finder(), {"map": FLOAT}, learnt())
    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, "../weights.bin")
        tensor.ClearField("raw_data")
    (folder / "apart.onnx").write_bytes(model.SerializeToString())
    return folder / "apart.onnx"


def two_inputs() -> Any:
    model = network([*finder(out="found"), node("Add", "found more", "map")], {"map": FLOAT}, learnt())
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", FLOAT, [1]))
    return model


def cut_short(folder: Path) -> Path:
    path = save(folder, network(finder(), {"map": FLOAT}, learnt()))
    path.write_bytes(path.read_bytes()[:-40])
    return path


def written(name: str, data: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def of(model: Callable[[], Any]) -> Callable[[Path], Path]:
    return lambda folder: save(folder, model())


def link_out(folder: Path) -> Path:
    export = export_of(folder / "export", network(finder(), {"map": FLOAT}, learnt()), None)
    (export / "weights" / "onnx" / "model.onnx").rename(folder / "elsewhere.onnx")
    (export / "weights" / "onnx" / "model.onnx").symlink_to(folder / "elsewhere.onnx")
    return export


def checkpoint_alone(folder: Path) -> Path:
    (folder / "export" / "weights" / "torch").mkdir(parents=True)
    (folder / "export" / "weights" / "torch" / "model.pt").write_bytes(b"PK")
    return folder / "export"


def two_networks(folder: Path) -> Path:
    save(folder, network(finder(), {"map": FLOAT}, learnt()), "other.onnx")
    return save(folder, network(finder(), {"map": FLOAT}, learnt())).parent


def broken_metadata(folder: Path) -> Path:
    (export_of(folder / "export", anomalib_1(), {}) / "weights" / "onnx" / "metadata.json").write_text('{"task": ')
    return folder / "export"


def with_metadata(**changed: object) -> Callable[[Path], Path]:
    told = {key: value for key, value in {**RAW, **changed}.items() if value is not None}
    return lambda folder: export_of(folder / "export", anomalib_1(), told)


def several_maps() -> Any:
    return network([*finder(), node("Neg", "map", "other")], {"map": FLOAT, "other": FLOAT}, learnt())


def no_map() -> Any:
    return network([*finder(), node("GlobalMaxPool", "map", "peak")], {"peak": FLOAT}, learnt())


def flat_input() -> Any:
    return network([node("Relu", "in", "map")], {"map": FLOAT}, sides=("n", 300))


def of_sides(*sides: int | str) -> Callable[[], Any]:
    return lambda: network([node("Relu", "in", "map")], {"map": FLOAT}, sides=sides)


BAD: dict[str, tuple[Callable[[Path], Path], Wanted, type[EdgeError], str]] = {
    "an unknown operator": (of(lambda: foreign("acme")), PLAIN, EngineError, r"Gabor_map \(acme\.Gabor\)"),
    "one of no domain": (of(lambda: foreign("")), PLAIN, EngineError, r"Gabor_map \(ai\.onnx\.Gabor\)"),
    "external data": (apart, PLAIN, BundleError, r"apart\.onnx keeps the weights of weights \(\.\./weights\.bin\)"),
    "cut short": (cut_short, PLAIN, BundleError, r"model\.onnx is no ONNX file, or was cut short"),
    "empty": (written("model.onnx", b""), PLAIN, BundleError, r"model\.onnx is empty"),
    "a pickle by another name": (written("m.onnx", b"\x80\x04N."), PLAIN, BundleError, r"m\.onnx is no ONNX file"),
    "a checkpoint": (written("model.ckpt", b"PK"), PLAIN, BundleError, r"model\.ckpt is a pickle"),
    "a torch export alone": (checkpoint_alone, PLAIN, BundleError, r"model\.pt is a pickle"),
    "an image": (written("part.png", b"x"), PLAIN, BundleError, r"part\.png: a network to import is"),
    "no weights beside": (written("model.xml", b"<net/>"), PLAIN, BundleError, r"model\.xml has no model\.bin beside"),
    "an empty folder": (lambda folder: folder, PLAIN, BundleError, "holds no .onnx and no .xml"),
    "a path that leaves the folder": (link_out, PLAIN, BundleError, r"model\.onnx leads out of .*elsewhere\.onnx"),
    "two networks in a folder": (two_networks, PLAIN, BundleError, r"several networks \(model\.onnx, other\.onnx\)"),
    "metadata cut short": (broken_metadata, PLAIN, BundleError, r"metadata\.json is no JSON"),
    "several inputs": (of(two_inputs), PLAIN, BundleError, r"2 inputs \(in, more\)"),
    "several maps": (of(several_maps), PLAIN, BundleError, r"--map-output.*other float32 \(1, 1, 32, 32\)"),
    "no map": (of(no_map), PLAIN, BundleError, r"no output is a map.*peak float32 \(1, 1, 1, 1\)"),
    "an input that is no picture": (of(flat_input), PLAIN, BundleError, r"2 sides \(0, 300\)"),
    "a batch of eight": (of(of_sides(8, 1, SIDE, SIDE)), PLAIN, BundleError, "8 pictures at a time"),
    "four channels": (of(of_sides("n", 4, SIDE, SIDE)), PLAIN, BundleError, "takes 4 channels"),
    "another width": (
        of(of_sides("n", 1, SIDE, SIDE)),
        Wanted("dark", 64, mean=(0.0,), std=(1.0,), threshold=0, map_threshold=0),
        BundleError,
        "takes a width of 32, not 64",
    ),
    "three means for grey": (
        of(of_sides("n", 1, SIDE, SIDE)),
        Wanted("dark", mean=MEAN, std=STD),
        BundleError,
        "mean has 3 values; the network takes 1 channels",
    ),
    "unsaid normalisation": (
        of(several_maps),
        Wanted("dark"),
        BundleError,
        "does not say how .*--mean and --std",
    ),
    "normalised twice": (with_metadata(), PLAIN, BundleError, "export of anomalib 1.x.*leave --mean and --std out"),
    "no threshold": (
        of(of_sides("n", 1, SIDE, SIDE)),
        Wanted("dark", mean=(0.0,), std=(1.0,)),
        BundleError,
        "has no threshold.*--good",
    ),
    "metadata without a key": (
        with_metadata(pixel_threshold=None),
        Wanted("dark"),
        BundleError,
        r"metadata\.json lacks a usable pixel_threshold.*--map-threshold",
    ),
    "metadata of a task alone": (
        lambda folder: export_of(folder / "export", anomalib_1(), {"task": "classification"}),
        PLAIN,
        BundleError,
        "export of anomalib 1.x",
    ),
    "a middle that nothing cuts out": (
        with_metadata(),
        Wanted("dark", centre=(24, 24)),
        BundleError,
        "nothing in it cuts the picture",
    ),
    "metadata of a distribution": (
        with_metadata(image_mean=0.1),
        Wanted("dark"),
        BundleError,
        "lacks a usable image_threshold",
    ),
    "a threshold that is none": (with_metadata(image_threshold="0.5"), Wanted("dark"), BundleError, "no finite number"),
    "a transform that edge has not": (
        with_metadata(transform=transform({"__class_fullname__": "CLAHE", "p": 1.0})),
        Wanted("dark"),
        BundleError,
        r"metadata\.json: the transform CLAHE",
    ),
    "a transform that is none": (
        with_metadata(transform=[]),
        Wanted("dark"),
        BundleError,
        r"metadata\.json: transform",
    ),
    "a threshold that nothing passes": (
        lambda folder: export_of(folder / "export", anomalib_2(), None),
        Wanted("dark", threshold=1.0),
        BundleError,
        "answers lie in 0..1",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_imported_is_named_and_nothing_is_left(kind: str, tmp_path: Path) -> None:
    make, wanted, error, said = BAD[kind]
    place = tmp_path / "bundles"
    place.mkdir()
    (tmp_path / "in").mkdir()
    with pytest.raises(error, match=said):
        imported(make(tmp_path / "in"), wanted, place / "out")
    assert not list(place.iterdir())


@needs_openvino
@pytest.mark.parametrize("cut", ["model.xml", "model.bin"])
def test_openvinos_files_that_are_cut_short_are_named(cut: str, tmp_path: Path) -> None:
    import openvino as ov

    model = network(finder(), {"map": FLOAT}, learnt())
    ov.save_model(ov.Core().read_model(model.SerializeToString()), tmp_path / "model.xml", compress_to_fp16=False)
    (tmp_path / cut).write_bytes((tmp_path / cut).read_bytes()[:-60])
    with pytest.raises(BundleError, match=r"model\.xml cannot be read by OpenVINO; is it, or the \.bin"):
        imported(tmp_path, PLAIN, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    source = save(tmp_path, network(finder(), {"map": FLOAT}, learnt()))
    (tmp_path / "photos").mkdir()
    with pytest.raises(BundleError, match="photos is there and is no bundle"):
        imported(source, PLAIN, tmp_path / "photos")
    with pytest.raises(BundleError, match="a bundle's name"):
        imported(source, PLAIN, tmp_path / "no name")


def test_an_older_bundle_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    source = save(tmp_path, network(finder(), {"map": FLOAT}, learnt()))
    old = imported(source, PLAIN, tmp_path / "out").bundle
    with pytest.raises(BundleError, match="no threshold"):
        imported(source, Wanted("dark", mean=(0.0,), std=(1.0,)), tmp_path / "out")
    assert open_bundle(tmp_path / "out").sha256 == old.sha256


def test_a_second_output_that_is_no_score_is_refused(tmp_path: Path) -> None:
    bundle = imported(export_of(tmp_path / "x", anomalib_2(), None), Wanted("dark"), tmp_path / "out").bundle
    edit(bundle.path / "manifest.toml", '    "score",\n', '    "latent",\n')
    graph = bundle.manifest.graph[0]
    with closing(open_graph("onnx", bundle, graph, 1, "cpu")) as session, pytest.raises(BundleError, match="`score`"):
        ScoreMapJudge(Model(open_bundle(bundle.path), graph, session))


def test_the_command_prints_the_checks_and_says_what_it_did(tmp_path: Path) -> None:
    export_of(tmp_path / "export", anomalib_2(), None)
    command = ("import", tmp_path / "export", "--surface", "dark", "-o", tmp_path / "out", "--json")
    code, out, err = called(*command)
    assert code == 0, err
    assert {row["graph"] for row in json.loads(out)} == {"model.onnx"}
    assert "outputs cut off: pred_label, pred_mask" in err and "above 0.5 is NotOK" in err
    assert open_bundle(tmp_path / "out").manifest.training.command.startswith("edge import ")
    code, _, err = called(*command, "--mean", "0.5,0.5")
    assert code == 2 and "1 or 3 numbers" in err
    code, _, err = called(*command, "--mean", "0.5", "--std", "0.2")
    assert code == 11 and "export of anomalib 2.x" in err
