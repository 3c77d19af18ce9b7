"""tools/bench-rivals: the maths of its answers, its arguments, and a small graph in real pairs of processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Bundle, open_bundle
from edge.config import Line
from edge.engines.session import installed
from edge.errors import BundleError, EngineError
from tools.rivals_graph import benchmark_options, loop_of, order, pick_graph, run_child, together
from tools.rivals_ratio import Ratio, fewest_pairs, ratio_of, trimmed, verdict

pytestmark = pytest.mark.usefixtures("own_cache")

needs_both = pytest.mark.skipif(not (installed("onnx") and installed("openvino")), reason="needs both engines")
milliseconds = st.floats(0.01, 1e4)


@pytest.fixture
def smoother(small_line: Line) -> Bundle:
    return open_bundle(small_line.bundles / "smoother")


def rivals(repository: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "tools" / "bench-rivals"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_six_pairs_are_the_fewest_and_ten_lose_one_at_each_end() -> None:
    assert fewest_pairs() == 6
    assert (trimmed(5), trimmed(6), trimmed(9), trimmed(10), trimmed(30)) == (None, 0, 1, 1, 9)


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


def test_every_other_pair_runs_in_reverse() -> None:
    assert list(order(["ours", "plain"], 3)) == ["ours", "plain", "plain", "ours", "ours", "plain"]


def test_benchmark_app_is_told_the_same_batch_threads_and_precision(smoother: Bundle) -> None:
    loop = loop_of(smoother, smoother.manifest.graph[0], "openvino", 2, 3.0, 50)
    told = " ".join(benchmark_options(loop, "out"))
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


def test_an_altered_graph_is_not_timed(repository: Path, smoother: Bundle) -> None:
    (smoother.path / "model.onnx").write_bytes(b"other")
    done = rivals(repository, "graph", smoother.path)
    assert done.returncode == 11 and "was altered" in done.stderr and not done.stdout


def test_a_graph_that_the_bundle_lacks_is_named(smoother: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no ONNX graph other\.onnx; --graph takes one of: model\.onnx"):
        pick_graph(smoother, "other.onnx")


def test_int8_that_overflows_here_is_not_timed(no_vnni: None, exported_models: Path) -> None:
    with pytest.raises(EngineError, match="without VNNI"):
        pick_graph(open_bundle(exported_models / "segdec-commutator"), "model.int8.onnx")


@needs_both
def test_what_a_side_says_when_it_fails_is_passed_on(smoother: Bundle) -> None:
    loop = loop_of(smoother, smoother.manifest.graph[0], "onnx", 1, 0.1, 50)
    (smoother.path / "model.onnx").write_bytes(b"other")
    with pytest.raises(EngineError, match="was altered"):
        run_child(loop)


@pytest.mark.parametrize("option", [("--pairs", "0"), ("--seconds", "0"), ("--percentile", "101")])
def test_a_count_that_is_none_is_wrong_usage(repository: Path, smoother: Bundle, option: tuple[str, str]) -> None:
    done = rivals(repository, "graph", smoother.path, *option)
    assert done.returncode == 2 and option[0] in done.stderr
