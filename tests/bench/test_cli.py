"""edge-bench on small bundles and on an exported one: what it prints, what it says, how it ends."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.bench.cli import main
from edge.bench.statistics import percentile
from edge.bundle import open_bundle
from edge.cli import main as edge_main
from edge.engines.session import ENGINES, installed, readable
from tests import small_gate
from tests.small_line import write_small_line

BUNDLE = "segdec-commutator"


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small line's config and bundles, see tests/small_line.py."""
    pytest.importorskip("onnx", reason="onnx, which writes the small graphs, is not here (extra `test`)")
    if not installed("onnx"):
        pytest.skip("ONNX Runtime is not here (extra `onnx`)")
    return write_small_line(tmp_path_factory.mktemp("line")).parent


@pytest.fixture(scope="module")
def exported(exported_models: Path) -> Path:
    if not (exported_models / BUNDLE / "manifest.toml").is_file():
        pytest.skip(f"no {BUNDLE} in {exported_models}")
    if not any(installed(engine) for engine in ENGINES):
        pytest.skip("no engine is installed")
    return exported_models / BUNDLE


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)], catch_exceptions=False)


def test_a_line_whose_judge_looks_through_the_gates_network_is_benched(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(12):
        picture = np.random.default_rng(seed).integers(160, 200, (64, 64), np.uint8)
        cv2.imwrite(str(folder / f"{seed}.png"), picture)
    path = small_gate.write_line(tmp_path / "line")
    taught = CliRunner().invoke(edge_main, ["teach", "light", str(folder), "--config", str(path)])
    assert taught.exit_code == 0, taught.output
    done = bench(path, "--images", folder, "--runs", 20, "--json")
    assert done.exit_code in (0, 3), done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert {"gate", "run", "frame"} <= set(row["stages"])


def test_pass_needs_enough_samples_and_a_bound_below_the_target(small: Path) -> None:
    done = bench(small / "smoother", "--target-ms", 10_000, "--runs", 662, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    (row,) = report["rows"]
    assert report["answer"] == "PASS"
    assert row["chosen"]
    assert row["patches"] == 4
    assert list(row["stages"]) == ["prepare", "run", "score", "stitch", "boxes", "frame", "patch"]
    for stage in row["stages"].values():
        assert stage["samples"] >= 662
        assert stage["p50_ms"] <= stage["p90_ms"] <= stage["p95_ms"] <= stage["p99_ms"] <= stage["p99_upper_ms"]
    assert row["stages"]["patch"]["p50_ms"] == pytest.approx(row["stages"]["run"]["p50_ms"] / 4)


def test_few_samples_are_insufficient(small: Path) -> None:
    done = bench(small / "smoother", "--target-ms", 10_000, "--runs", 16)
    assert done.exit_code == 3
    assert "INSUFFICIENT" in done.stdout
    assert "662 may" in done.stdout.replace("\n", " ")


def test_a_target_far_out_of_reach_fails_early(small: Path) -> None:
    done = bench(small / "smoother", "--target-ms", 1e-6, "--runs", 16)
    assert done.exit_code == 1
    assert "FAIL" in done.stdout


def test_without_a_target_there_is_no_answer(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    done = bench(small / "smoother", "--runs", 16, "--out", out, "--json")
    assert done.exit_code == 0
    assert json.loads(out.read_text()) == json.loads(done.stdout)
    assert json.loads(done.stdout)["answer"] is None


def test_seconds_bound_the_run(small: Path) -> None:
    report = json.loads(bench(small / "smoother", "--seconds", 0.2, "--json").stdout)
    assert report["rows"][0]["frames"] >= 8


def test_a_line_is_timed_by_gate_and_judges(small: Path, tmp_path: Path) -> None:
    """Three dark frames, which the gate admits, in place of golden ones."""
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((90, 70), 50 + number, np.uint8))
    done = bench(small / "line.toml", "--images", tmp_path, "--runs", 16, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    (row,) = report["rows"]
    assert report["kind"] == "line"
    assert report["images"] == 3
    assert list(row["stages"]) == ["gate", "judge dark", "run", "frame"]
    assert {(ran["bundle"], ran["engine"]) for ran in row["graphs"]} == {("gate", "onnx"), ("smoother", "onnx")}
    stages = {name: stage["p50_ms"] for name, stage in row["stages"].items()}
    assert stages["run"] < stages["frame"]
    assert stages["gate"] + stages["judge dark"] <= 2 * stages["frame"]


def test_a_part_takes_what_its_frames_take_together(small: Path, tmp_path: Path) -> None:
    line = small / "parts.toml"
    line.write_text((small / "line.toml").read_text() + "\n[parts]\nframes = 3\nwithin_ms = 1000\n")
    cv2.imwrite(str(tmp_path / "dark.png"), np.full((90, 70), 50, np.uint8))
    done = bench(line, "--images", tmp_path, "--runs", 16, "--json")
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["stages"]["part"]["samples"] == row["frames"] // 3
    frames = row["frame_ms"]
    parts = [sum(frames[first : first + 3]) for first in range(0, len(frames) - 2, 3)]
    assert row["stages"]["part"]["p50_ms"] == pytest.approx(percentile(parts, 0.5), abs=1e-4)


def test_a_line_on_every_engine_says_which_cannot(small: Path) -> None:
    """The small line has ONNX graphs alone; the golden frame of its judge is light, which it has no judge for."""
    done = bench(small / "line.toml", "--engine", "all", "--runs", 8, "--json")
    assert done.exit_code == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == ["auto", *(engine for engine in ENGINES if installed(engine))]
    assert [name for name, row in rows.items() if row["chosen"]] == ["auto"]
    assert rows["onnx"]["frames"] >= 8
    assert "litert" not in rows or rows["litert"]["why"]


def test_every_graph_takes_its_turn(exported: Path) -> None:
    done = bench(exported, "--engine", "all", "--runs", 8, "--target-ms", 1e6, "--json")
    assert done.exit_code == 3, done.stderr
    report = json.loads(done.stdout)
    ran = {(row["graphs"][0]["engine"], row["graphs"][0]["precision"]) for row in report["rows"] if row["stages"]}
    graphs = {engine: readable(engine, open_bundle(exported).manifest.graph) for engine in ENGINES if installed(engine)}
    assert ran == {(e, str(g.precision)) for e, own in graphs.items() for g in own if g.precision != "fp16"}
    assert [row["chosen"] for row in report["rows"]].count(True) == 1
    assert {row["name"].split("/")[1] for row in report["rows"]} <= {"cpu", "gpu"}
    star = next(row["name"] for row in report["rows"] if row["chosen"])
    assert {ratio["row"] for ratio in report["ratios"]} <= {star}


def test_threads_precisions_and_batches_stand_side_by_side(small: Path) -> None:
    options = ("--threads", 1, "--threads", 2, "--precision", "fp32", "--batch", 4, "--runs", 48, "--json")
    done = bench(small / "smoother", "--engine", "onnx", *options)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    names = [row["name"] for row in report["rows"]]
    assert names == [
        "onnx/cpu/fp32, 1 threads graph alone, batch 4",
        "onnx/cpu/fp32, 2 threads graph alone, batch 4",
        "onnx/cpu/fp32, 1 threads",
        "onnx/cpu/fp32, 2 threads",
    ]
    (star,) = (row for row in report["rows"] if row["chosen"])
    assert star["name"] == "onnx/cpu/fp32, 1 threads"
    assert {ratio["other"] for ratio in report["ratios"]} == {*names} - {star["name"]}
    assert all(ratio["low"] <= ratio["ratio"] <= ratio["high"] for ratio in report["ratios"])
    batch = report["rows"][0]["stages"]
    assert batch["frame"]["p50_ms"] == pytest.approx(batch["run"]["p50_ms"] / 4, rel=0.01)


def test_a_bare_graph_is_timed_on_every_engine_that_reads_it_with_each_batch(small: Path) -> None:
    done = bench(small / "smoother" / "model.onnx", "--batch", 1, "--batch", 3, "--runs", 16, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    engines = [engine for engine in ("onnx", "openvino") if installed(engine)]
    names = [row["name"] for row in report["rows"]]
    assert names == [f"{engine}/cpu batch {batch}" for engine in engines for batch in (1, 3)]
    assert report["kind"] == "graph" and all(row["level"] == "graph" for row in report["rows"])
    assert report["ceiling"]["fp32_gflops"] > 1 and report["machine"]["memory_mb"] > 10
    assert bench(small / "smoother" / "model.onnx", "--target-ms", 1e-6, "--runs", 16).exit_code == 1


def test_what_is_no_graph_and_what_a_line_has_not_is_said(small: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    done = bench(tmp_path / "text.onnx", "--runs", 8)
    assert done.exit_code == 12 and "text.onnx" in done.stderr
    assert bench(small / "line.toml", "--precision", "int8").exit_code == 16
    assert bench(small / "smoother", "--engine", "onnx", "--precision", "int8").exit_code == 12


def test_a_first_look_is_quick(small: Path) -> None:
    began = time.monotonic()
    done = bench(small / "smoother", "--quick", "--json")
    assert done.exit_code == 0 and time.monotonic() - began < 15
    assert json.loads(done.stdout)["rows"][0]["frames"] >= 8


def test_the_table_names_the_manifests_target(exported: Path) -> None:
    done = bench(exported, "--runs", 8)
    assert done.exit_code in (1, 3)
    assert BUNDLE in done.stdout
    assert any(line.split()[:2] == ["frame", "8"] and " 15 " in f"{line} " for line in done.stdout.splitlines())


def test_bad_input_ends_with_its_own_code(small: Path, tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text("line = 3")
    assert bench(tmp_path).exit_code == 11
    assert bench(tmp_path / "line.toml").exit_code == 10
    assert bench(tmp_path / "nowhere").exit_code == 2
    assert bench(small / "smoother", "--images", tmp_path).exit_code == 16
    assert bench(small / "smoother", "--engine", "litert").exit_code in (12, 17)
    told = bench(small / "smoother", "--runs", 8, "--out", tmp_path)
    assert told.exit_code == 2


def test_an_altered_graph_is_no_figure(small: Path, tmp_path: Path) -> None:
    for path in (small / "smoother").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "model.onnx").open("ab") as graph:
        graph.write(b"\0")
    done = bench(tmp_path, "--runs", 8)
    assert done.exit_code == 11
    assert "model.onnx" in done.stderr
