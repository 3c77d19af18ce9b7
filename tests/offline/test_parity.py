"""`edge parity` on small bundles: what it counts, what it keeps, and which graph it lets pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.bundle import MANIFEST, Bundle, Thresholds, Training, open_bundle
from edge.cli import main
from edge.errors import DataError
from edge.offline.answers import FAILED, NOT_OK, OK, UNSEEN, Answer, Answers, keep, kept
from edge.offline.parity import GUARD, Limits, Row, compare, flipped, guard_band, iou, match, passes, shift
from edge.offline.parity_run import Parity, without, wrong_graphs
from edge.offline.samples import Sample
from edge.offline.verify import verify_bundle
from edge.records import Box
from tests.small_blur import HEIGHT, INT8, WIDTH, blur, draw, draw_plates, write_blur
from tests.small_gate import write_small_gate

onnx = pytest.importorskip("onnx", reason="onnx, which writes the small graphs, is not here (extra `test`)")
pytest.importorskip("onnxruntime", reason="the reference runs on ONNX Runtime (extra `onnx`)")
pytest.importorskip("sklearn", reason="scikit-learn (extra `evaluate`) is not here")

from edge.offline.amend import drop_graphs  # noqa: E402  # after the skip
from edge.offline.pack import write_borrowing, write_bundle  # noqa: E402  # after the skip

# What is counted.


# The small graphs that stand for INT8 here hold none: they are right on every processor.
pytestmark = pytest.mark.usefixtures("vnni")


def said(*pairs: tuple[str, float], threshold: float = 0.5, graph: str = "model.onnx") -> Answers:
    answers = tuple(Answer(verdict, score, threshold) for verdict, score in pairs)
    return Answers("onnx", graph, "fp32", answers, (1.0,) * len(answers))


def row_of(reference: Answers, other: Answers) -> Row:
    """Beside the reference, on frames that nobody has labelled."""
    bundle = Bundle(Path("nowhere"), None, "")  # type: ignore[arg-type]  # without masks no manifest is read
    samples = [Sample(Path(f"{number}.png"), "plate", "", None) for number in range(len(reference.answers))]
    return compare(bundle, samples, reference, [other])[1]


SCALE = ((OK, 0.0), (NOT_OK, 1.0))  # so that the range of scores is 1, and half the band GUARD


def test_a_flip_is_a_frame_with_another_verdict() -> None:
    before, after = said((OK, 0.1), (NOT_OK, 0.9), (NOT_OK, 0.7)), said((OK, 0.2), (OK, 0.4), (NOT_OK, 0.6))
    assert flipped(before, after) == [1]
    assert flipped(before, before) == []


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        (NOT_OK, OK, True),
        (NOT_OK, FAILED, False),
        (OK, NOT_OK, False),
        (UNSEEN, "plate", True),
        ("plate", "bolt", True),
        ("plate", UNSEEN, False),
        (UNSEEN, FAILED, False),
        (FAILED, OK, True),
        (FAILED, NOT_OK, False),
    ],
)
def test_a_part_goes_on_where_it_is_ok_or_seen_as_another_surface(before: str, after: str, goes_on: bool) -> None:
    assert passes(Answer(before, 0.5, 0.5), Answer(after, 0.5, 0.5)) is goes_on


def test_the_guard_band_is_a_share_of_a_judges_range_of_scores() -> None:
    assert guard_band(said((OK, 0.5), (NOT_OK, 4.5), (FAILED, float("nan")))) == pytest.approx(4 * GUARD)
    assert guard_band(said((FAILED, float("nan")))) == 0


def test_how_far_an_unseen_surface_lies_beyond_the_gates_threshold_does_not_widen_its_band() -> None:
    near, far = (said(("plate", 0.5), (UNSEEN, beyond), threshold=1.0) for beyond in (2.0, 500.0))
    assert guard_band(near) == guard_band(far) == pytest.approx(1.5 * GUARD)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("rejected", [True, False])
def test_a_flip_speaks_against_a_graph_outside_the_guard_band_alone(inside: bool, rejected: bool) -> None:
    away = GUARD * (0.9 if inside else 1.1) * (1 if rejected else -1)
    verdicts = (NOT_OK, OK) if rejected else (OK, NOT_OK)
    row = row_of(said(*SCALE, (verdicts[0], 0.5 + away)), said(*SCALE, (verdicts[1], 0.5)))
    assert (row.flips, row.to_ok) == (1, int(rejected))
    assert (row.flips_outside, row.outside) == (int(not inside), int(rejected and not inside))
    assert bool(row.wrong(Limits())) is not inside


def test_a_frame_that_one_of_the_two_fails_on_is_no_coin_wherever_its_score_lies() -> None:
    near, none = (OK, 0.5 - GUARD / 2), (FAILED, float("nan"))
    failed, unsure = row_of(said(*SCALE, near), said(*SCALE, none)), row_of(said(*SCALE, none), said(*SCALE, near))
    assert (failed.flips_outside, failed.outside) == (1, 0) and failed.wrong(Limits())
    assert (unsure.flips_outside, unsure.outside) == (1, 1) and unsure.wrong(Limits())


def test_scores_lie_apart_by_a_share_of_the_references_range() -> None:
    row = row_of(said((OK, 1.0), (OK, 3.0), (OK, 5.0), threshold=9), said((OK, 1.0), (OK, 3.4), (OK, 6.0), threshold=9))
    assert row.apart == pytest.approx(0.1) and row.apart_most == pytest.approx(0.25)
    assert row.iou is row.auroc is row.aupro is None


RIGHT: dict[str, Any] = {
    **dict.fromkeys(("flips", "flips_outside", "to_ok", "outside"), 0),
    **dict.fromkeys(("iou", "shift", "auroc", "pixel_auroc", "aupro"), None),
    **dict.fromkeys(("auroc_lost", "pixel_auroc_lost", "aupro_lost"), None),
    "engine": "onnx",
    "graph": INT8,
    "precision": "int8",
    "frames": 1000,
    "apart": 0.0,
    "apart_most": 0.0,
}


@pytest.mark.parametrize(
    ("field", "allowed", "too_much", "words"),
    [
        ("outside", 0, 1, "1 frames pass that FP32 rejects"),
        ("flips_outside", 5, 6, "6 of 1000 verdicts flip"),
        ("auroc_lost", 0.005, 0.0051, "image AUROC less 0.0051"),
        ("aupro_lost", 0.02, 0.021, "AUPRO less 0.0210"),
    ],
)
def test_each_limit_is_told_in_its_own_words(field: str, allowed: float, too_much: float, words: str) -> None:
    assert Row(**{**RIGHT, field: allowed}).wrong(Limits()) == []
    assert Row(**{**RIGHT, field: -too_much}).wrong(Limits()) == []
    (told,) = Row(**{**RIGHT, field: too_much}).wrong(Limits())
    assert words in told


def test_flips_inside_the_band_and_lost_pixels_alone_are_allowed() -> None:
    assert Row(**{**RIGHT, "flips": 900, "to_ok": 900, "pixel_auroc_lost": 0.5}).wrong(Limits()) == []


sides = st.integers(1, 500)
boxes = st.tuples(st.integers(0, 2000), st.integers(0, 2000), sides, sides)


@given(boxes, boxes)
def test_overlap_and_shift_are_the_same_from_either_side(a: Box, b: Box) -> None:
    assert iou(a, b) == iou(b, a) and shift(a, b) == shift(b, a)
    assert 0 <= iou(a, b) <= 1 and shift(a, b) >= 0
    assert (iou(a, b) == 1) == (a == b)


@given(boxes, st.integers(-500, 500), st.integers(-500, 500))
def test_a_box_that_moved_is_as_far_off_as_it_moved(box: Box, right: int, down: int) -> None:
    moved = (box[0] + right, box[1] + down, *box[2:])
    assert shift(box, moved) == pytest.approx(np.hypot(right, down))
    assert (iou(box, moved) > 0) == (abs(right) < box[2] and abs(down) < box[3])


@given(st.lists(boxes, min_size=1, max_size=5), st.lists(boxes, max_size=5))
def test_boxes_are_matched_each_with_its_best(before: list[Box], after: list[Box]) -> None:
    assert match(before, before) == (1, 0)
    assert match(before, [*after, *before]) == (1, 0)
    overlap, moved = match(before, after)
    assert 0 <= overlap <= 1 and moved >= 0
    assert match(before, after[::-1])[0] == pytest.approx(overlap)


def found_of(*rows: Row) -> Parity:
    wrong = tuple(f"{row.engine} {row.graph}: {what}" for row in rows[1:] for what in row.wrong(Limits()))
    own: dict[str, Any] = dict.fromkeys(("bundle", "date", "host", "quickest", "subject"), "")
    own |= {"data": (), "frames": 1000, "labelled": False, "limits": Limits(), "lost": (), "faster": None}
    return Parity(**own, rows=rows, wrong=wrong)


def test_the_reference_is_never_dropped_whatever_another_engine_makes_of_it(tmp_path: Path) -> None:
    bundle = write_blur(tmp_path / "blur", blur(0.601))
    first = Row(**{**RIGHT, "graph": "model.onnx"})
    other, program = (Row(**{**RIGHT, "engine": e, "graph": g, "outside": 1}) for e, g in OTHERS.items())
    int8 = Row(**{**RIGHT, "flips_outside": 900})
    found = found_of(first, other, program, int8)
    dropped = wrong_graphs(found)
    assert dropped == {INT8: "900 of 1000 verdicts flip outside the guard band"}
    left = without(found, drop_graphs(bundle, dropped))
    assert left.rows == (first, other, program) and not left.passed
    assert [sentence.split(":")[0] for sentence in left.wrong] == ["openvino model.onnx", "torch net.pt2"]


OTHERS = {"openvino": "model.onnx", "torch": "net.pt2"}


# What is kept.


@pytest.mark.parametrize("maps", [None, np.random.default_rng(1).random((3, 4, 6), np.float32)])
def test_answers_that_were_kept_are_read_again_as_they_were(tmp_path: Path, maps: NDArray[np.float32] | None) -> None:
    answers = (
        Answer(NOT_OK, 1 / 3, 0.1, ((1, 2, 3, 4), (5, 6, 7, 8))),
        Answer(FAILED, float("nan"), float("nan")),
        Answer(UNSEEN, float("inf"), 1.0),
    )
    before = Answers("onnx", INT8, "int8", answers, (0.1, 0.0, 1e-9), maps)
    keep(tmp_path / "deeper" / "a.npz", before)
    after = kept(tmp_path / "deeper" / "a.npz")
    assert repr(msgspec.structs.replace(after, maps=None)) == repr(msgspec.structs.replace(before, maps=None))
    assert (after.maps is None) is (maps is None)
    np.testing.assert_array_equal(after.maps, maps)
    assert [path.name for path in (tmp_path / "deeper").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("left", [0, 100, -1])
def test_kept_answers_that_were_cut_short_are_named(tmp_path: Path, left: int) -> None:
    path = tmp_path / "a.npz"
    keep(path, said(*SCALE))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=r"a\.npz"):
        kept(path)


# A bundle of one convolution, and frames with bright spots.


def not_a_number() -> bytes:
    """The same, but a frame with a bright spot gives no number: the logarithm of what is below zero."""
    model = onnx.load_from_string(blur(-0.6, 0.1))
    model.graph.node[0].output[0] = "inner"
    model.graph.node.append(onnx.helper.make_node("Log", ["inner"], ["map"]))
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plates")
    draw_plates(root)
    return root


def parity(*arguments: object) -> Result:
    """`edge parity` in this process, which has the libraries loaded already."""
    result = CliRunner().invoke(main, ["parity", *map(str, arguments)], catch_exceptions=True)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def told(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(parity(*arguments, "--json").stdout)
    return found


# The command.


def test_a_graph_that_was_broken_is_named_and_does_not_ship(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", blur(3 * 0.6))
    shop = tmp_path / "shop"
    shop.mkdir()
    result = parity(tmp_path / "blur", plates, "--into", shop)
    out = result.stdout.replace("\n", " ")
    assert result.exit_code == 1
    assert f"onnx {INT8}: 6 of 12 verdicts flip outside the guard band" in out and "NOT passed" in out
    assert not list(shop.iterdir())
    recorded = open_bundle(tmp_path / "blur").manifest.parity
    assert recorded["passed"] is False and recorded["flips_outside_guard"] == 6 and recorded["to_ok"] == 0


def test_a_graph_that_lets_bad_parts_pass_is_named(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", blur(0.6 / 3))
    found = told(tmp_path / "blur", plates)
    assert found["passed"] is False
    assert any(sentence == f"onnx {INT8}: 6 frames pass that FP32 rejects" for sentence in found["wrong"])


def test_drop_takes_the_broken_graph_out_and_what_is_left_passes(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", blur(3 * 0.6))
    shop = tmp_path / "shop"
    shop.mkdir()
    result = parity(tmp_path / "blur", plates, "--drop", "--into", shop)
    assert result.exit_code == 0 and f"dropped: {INT8}" in result.stderr
    left = open_bundle(tmp_path / "blur")
    assert [graph.file for graph in left.manifest.graph] == ["model.onnx"]
    assert not (tmp_path / "blur" / INT8).exists() and not (shop / "blur" / INT8).exists()
    assert left.manifest.parity["passed"] is True and INT8 in str(left.manifest.parity["dropped"])
    assert all(row.ok for row in verify_bundle(left))
    assert parity(tmp_path / "blur", plates).exit_code == 0


def test_a_good_one_is_recorded_and_put_whole_into_the_folder(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", blur(0.601))
    shop = tmp_path / "shop"
    shop.mkdir()
    result = parity(tmp_path / "blur", plates, "--into", shop)
    assert result.exit_code == 0, result.output
    files = [{path.name: path.read_bytes() for path in (root / "blur").iterdir()} for root in (tmp_path, shop)]
    assert files[0] == files[1] and {MANIFEST, "golden.npz", "model.onnx", INT8} == files[1].keys()
    recorded = open_bundle(shop / "blur").manifest.parity
    assert recorded["passed"] is True and recorded["frames"] == 12 and recorded["flips"] == 0
    assert 0 < float(recorded["score_apart"]) < 0.01 and recorded["auroc_lost"] == recorded["aupro_lost"] == 0
    assert all(row.ok for row in verify_bundle(open_bundle(shop / "blur")))
    assert [path.name for path in shop.iterdir()] == ["blur"]


def test_nothing_is_written_unless_it_is_asked_for(plates: Path, tmp_path: Path) -> None:
    before = write_blur(tmp_path / "blur", blur(0.601))
    assert parity(tmp_path / "blur", plates).exit_code == 0
    assert open_bundle(tmp_path / "blur").sha256 == before.sha256
    parity(tmp_path / "blur", plates, "--record")
    assert open_bundle(tmp_path / "blur").manifest.parity["command"] == "edge parity BUNDLE DATA"


def test_a_bundle_that_is_the_current_folder_keeps_its_name(
    plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_blur(tmp_path / "blur", None)
    (tmp_path / "shop" / "other").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "blur")
    assert parity(".", plates, "--into", tmp_path / "shop").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "shop").iterdir()) == ["blur", "other"]


def test_each_graph_is_held_against_labels_and_masks(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", blur(0.601))
    found = told(tmp_path / "blur", plates)
    assert found["labelled"] is True and found["rows"][0]["precision"] == "fp32"
    assert {"onnx"} <= {row["engine"] for row in found["rows"]}
    for row in found["rows"]:
        assert row["auroc"] == 1 and row["aupro"] > 0.99 and row["iou"] == 1 and row["shift"] == 0
        assert row["ms"] > 0 and row["faster"] > 0


def test_a_folder_of_images_that_nobody_labelled_is_compared_too(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", blur(3 * 0.6))
    found = told(tmp_path / "blur", plates / "plate/test/good")
    assert found["labelled"] is False and found["frames"] == 6
    assert all(row["auroc"] is None and row["aupro"] is None for row in found["rows"])
    assert any("6 of 6 verdicts flip" in sentence for sentence in found["wrong"])


def test_a_surface_given_in_place_of_the_folder_above_is_told_so(plates: Path, tmp_path: Path) -> None:
    """Else its masks would be frames."""
    write_blur(tmp_path / "blur", None)
    result = parity(tmp_path / "blur", plates / "plate")
    assert result.exit_code == DataError.exit_code and f"give the folder above it, {plates}" in result.stderr


def test_images_of_other_surfaces_are_no_frames(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", None)
    shutil.copytree(plates / "plate", tmp_path / "data" / "bolt")
    result = parity(tmp_path / "blur", tmp_path / "data")
    assert result.exit_code == DataError.exit_code and "no image of plate" in result.stderr


def test_a_graph_that_fails_on_frames_is_refused_and_timed_on_the_others(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", not_a_number())
    found = told(tmp_path / "blur", plates)
    row = next(row for row in found["rows"] if row["graph"] == INT8)
    assert not found["passed"] and row["flips"] >= 6 and any(INT8 in sentence for sentence in found["wrong"])
    assert row["ms"] > 0 and found["quickest"].endswith("model.onnx")


def test_a_reference_that_answers_to_no_frame_is_no_reference(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", None, fp32=not_a_number())
    result = parity(tmp_path / "blur", plates / "plate/test/spot")
    assert result.exit_code == DataError.exit_code and "model.onnx" in result.stderr


def test_a_graph_that_cannot_be_opened_is_lost_and_told(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", blur(0.601))
    (tmp_path / "blur" / INT8).write_bytes(b"altered")
    result = parity(tmp_path / "blur", plates)
    assert result.exit_code == 1 and f"onnx {INT8}:" in result.stdout and "altered" in result.stdout


# What was run is not run again.


def test_kept_answers_are_not_run_again(plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_blur(tmp_path / "blur", blur(0.601))
    first = told(tmp_path / "blur", plates, "--keep", tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == len(first["rows"])
    with monkeypatch.context() as patch:
        patch.setattr("edge.offline.parity_run.run_graph", None)
        again = told(tmp_path / "blur", plates, "--keep", tmp_path / "kept")
    timed = {"ms", "faster"}
    assert [{k: v for k, v in row.items() if k not in timed} for row in again["rows"]] == [
        {k: v for k, v in row.items() if k not in timed} for row in first["rows"]
    ]


@pytest.mark.parametrize("changed", ["graph", "threshold", "gain", "frame"])
def test_answers_of_other_files_or_frames_are_run_again(tmp_path: Path, changed: str) -> None:
    draw_plates(tmp_path / "data")
    bundle, where = tmp_path / "blur", tmp_path / "kept"
    write_blur(bundle, blur(0.601))
    before = len(told(bundle, tmp_path / "data", "--keep", where)["rows"])
    text = (bundle / MANIFEST).read_text()
    if changed == "graph":
        write_blur(bundle, blur(0.602))
    elif changed == "threshold":
        (bundle / MANIFEST).write_text(text.replace("score = 0.5", "score = 0.51"))
    elif changed == "gain":
        (bundle / MANIFEST).write_text(text.replace("gain = 1.0", "gain = 1.1"))
    else:
        draw(tmp_path / "data/plate/test/good/0.png", np.full((HEIGHT, WIDTH), 77, np.uint8))
    told(bundle, tmp_path / "data", "--keep", where)
    assert len(list(where.iterdir())) == 2 * before


def test_a_place_that_cannot_keep_answers_is_named(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", None)
    (tmp_path / "file").write_text("")
    result = parity(tmp_path / "blur", plates, "--keep", tmp_path / "file" / "kept")
    assert result.exit_code == DataError.exit_code and str(tmp_path / "file") in result.stderr


# The sheet.


@pytest.mark.parametrize("pixels", ["grey", "colour", "16 bits"])
def test_the_sheet_shows_the_frames_that_differ_most(tmp_path: Path, pixels: str) -> None:
    draw_plates(tmp_path / "data")
    for path in (tmp_path / "data/plate/test").rglob("*.png"):
        grey: NDArray[Any] = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)  # type: ignore[assignment]  # it was drawn here
        if pixels == "16 bits":
            grey = grey.astype(np.uint16) * 257
        elif pixels == "colour":
            grey = np.dstack([grey, grey, grey - 1])
        draw(path, grey)
    write_blur(tmp_path / "blur", blur(3 * 0.6))
    sheet = tmp_path / "deeper" / "sheet.png"
    found = told(tmp_path / "blur", tmp_path / "data", "--sheet", sheet)
    read = cv2.imread(str(sheet))
    assert read is not None and read.ndim == 3
    assert read.shape[1] == read.shape[0] * (1 + len(found["rows"])) * 224 // (6 * 264)
    assert (read == (60, 60, 230)).all(2).any()


def test_a_sheet_that_cannot_be_written_is_named(plates: Path, tmp_path: Path) -> None:
    write_blur(tmp_path / "blur", None)
    result = parity(tmp_path / "blur", plates, "--sheet", tmp_path / "sheet.txt")
    assert result.exit_code == DataError.exit_code and "sheet.txt" in result.stderr


# A gate, and a bundle that borrows its network.


def greys(root: Path, surface: str, level: int, count: int = 4) -> None:
    rng = np.random.default_rng(level)
    for number in range(count):
        draw(root / f"{surface}/test/good/{number}.png", rng.integers(level - 3, level + 4, (64, 64)).astype(np.uint8))


def test_a_gates_graphs_are_compared_by_the_surfaces_that_they_see(tmp_path: Path) -> None:
    greys(tmp_path / "data", "dark", 51)
    greys(tmp_path / "data", "light", 204)
    gate = write_small_gate(tmp_path / "gate")
    found = told(gate.path, tmp_path / "data")
    assert found["passed"] and found["frames"] == 8 and found["labelled"]
    reference = found["rows"][0]
    assert reference["auroc"] is reference["iou"] is None and reference["flips"] == 0


def test_a_gates_graph_that_takes_another_surface_for_its_own_does_not_pass(tmp_path: Path) -> None:
    greys(tmp_path / "data", "dark", 51)
    greys(tmp_path / "data", "light", 204)
    gate = write_small_gate(tmp_path / "gate")
    darker = onnx.load_from_string(gate.read(gate.manifest.graph[0]))
    for node in darker.graph.node:
        node.input[:] = ["quarter" if name == "in" else name for name in node.input]
    quarter = onnx.helper.make_node("Constant", [], ["by"], value_float=0.25)
    darker.graph.node.insert(0, onnx.helper.make_node("Mul", ["in", "by"], ["quarter"]))
    darker.graph.node.insert(0, quarter)
    assert gate.manifest.arrays is not None
    fields = {
        f: value
        for f in ("name", "kind", "surfaces", "input", "outputs", "thresholds", "training")
        if (value := getattr(gate.manifest, f)) is not None
    }
    files = {"model.onnx": gate.read(gate.manifest.graph[0]), "arrays.npz": gate.read(gate.manifest.arrays)}
    write_bundle(gate.path, fields, {**files, INT8: bytes(darker.SerializeToString())})
    result = parity(gate.path, tmp_path / "data")
    assert result.exit_code == 1 and f"onnx {INT8}: 4 frames pass that FP32 rejects" in result.stdout


def test_a_bundle_without_a_verdict_of_its_own_is_told_what_to_ask(plates: Path, tmp_path: Path) -> None:
    gate = write_small_gate(tmp_path / "gate")
    fields: dict[str, object] = {
        "name": "kinds",
        "kind": "kinds",
        "surfaces": ("plate",),
        "judge": "blur",
        "thresholds": Thresholds(how="by hand"),
        "training": Training(data="drawn", licence="none", images=0, date="-", command="-"),
    }
    assert gate.manifest.arrays is not None
    write_borrowing(tmp_path / "kinds", fields, gate, gate.read(gate.manifest.arrays))
    result = parity(tmp_path / "kinds", plates)
    assert result.exit_code == 11 and "ask for its judge's parity" in result.stderr


def test_int8_that_this_processor_cannot_run_is_named_and_nothing_is_recorded_or_put_anywhere(
    plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("edge.offline.parity_run", "edge.engines.session"):
        monkeypatch.setattr(f"{module}.int8_overflows", lambda: True)
    write_blur(tmp_path / "blur", blur(0.6))
    shop = tmp_path / "shop"
    shop.mkdir()
    result = parity(tmp_path / "blur", plates, "--into", shop, "--json")
    assert result.exit_code == 12 and f"{INT8}: not run" in result.stderr
    assert json.loads(result.stdout)["unchecked"] == [INT8]
    assert not list(shop.iterdir()) and not open_bundle(tmp_path / "blur").manifest.parity
