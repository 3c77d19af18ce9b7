"""tools/gpu-check, all of it but the GPU itself: the device is the CPU, the graphs, processes and verdicts are real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bundle import Bundle, open_bundle
from edge.config import Line
from edge.engines.session import installed
from edge.errors import DataError
from edge.records import Frame
from tests.inspection.test_engine_failure import gathers_out_of_bounds_where_a_pixel_is_white
from tests.small_line import JUDGE, write_bundle
from tools.gpu_parity import (
    Case,
    compare,
    fall_back,
    frames_of,
    judge_fallback,
    open_case,
    parity_table,
    time_patches,
    usable,
)

pytestmark = pytest.mark.usefixtures("own_cache")


def case(bundle: Bundle) -> Case:
    return open_case(bundle, "onnx", bundle.manifest.graph[0], "cpu")


@pytest.fixture
def smoother(small_line: Line) -> Bundle:
    return open_bundle(small_line.bundles / "smoother")


def frame(spot: int | None = None) -> Frame:
    pixels = np.full((64, 64), 51, np.uint8)
    if spot is not None:
        pixels[20:28, 30:38] = spot
    return Frame(pixels, 255)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, spot in (("good", None), ("spotted", 255)):
        cv2.imwrite(str(folder / f"{name}.png"), frame(spot).pixels)
    return folder


def check(repository: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "tools" / "gpu-check"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_box_without_a_gpu_is_told_in_a_sentence(repository: Path, smoother: Bundle, pictures: Path) -> None:
    if "" in usable(smoother, "gpu").values():
        pytest.skip("a GPU is here")
    done = check(repository, smoother.path, pictures)
    assert done.returncode == 3 and not done.stdout and "Traceback" not in done.stderr
    assert "no GPU that an engine can use here. onnx: " in done.stderr


def test_every_graph_is_compared_timed_opened_and_the_gpu_hidden(
    repository: Path, smoother: Bundle, pictures: Path
) -> None:
    done = check(repository, smoother.path, pictures, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    reference, *rows = answer["graphs"]
    assert answer["passes"] and reference["device"] == "cpu" and reference["difference"] is None
    assert {row["engine"] for row in rows} == {engine for engine in ("onnx", "openvino") if installed(engine)}
    for row in rows:
        assert row["difference"] < 0.001 and row["flips"] == 0 and set(row["ms_patch"]) == {"1", "60"}
        assert row["cold_s"] > 0 and row["warm_s"] > 0 and not row["why"]
    fallback = answer["fallback"]
    assert fallback["ok"] and fallback["frames"] == 2
    assert all(name.split("/")[1] == "cpu" for name in fallback["hidden"])


def test_another_network_differs_and_flips_verdicts(smoother: Bundle, tmp_path: Path) -> None:
    def keep() -> list[Any]:
        from onnx import helper

        return [helper.make_node("Identity", ["in"], ["out"])]

    write_bundle(tmp_path / "keeper", JUDGE.format(name="keeper", surface="dark"), keep, 32)
    reference, same, other = case(smoother), case(smoother), case(open_bundle(tmp_path / "keeper"))
    compare(reference, [same, other], [frame(), frame(255)])
    assert (same.row.difference, same.row.flips) == (0.0, 0)
    assert other.row.difference is not None and other.row.difference > 0.5
    assert other.row.flips == 1  # what is rebuilt exactly has no defect


def test_a_graph_that_fails_on_the_way_says_why_and_the_others_go_on(smoother: Bundle, tmp_path: Path) -> None:
    top = JUDGE.format(name="fragile", surface="dark")
    write_bundle(tmp_path / "fragile", top, gathers_out_of_bounds_where_a_pixel_is_white, 32)
    reference, fails, same = case(smoother), case(open_bundle(tmp_path / "fragile")), case(smoother)
    compare(reference, [fails, same], [frame(255), frame(), frame(255)])
    assert "failed while running" in fails.row.why and fails.row.difference is None
    assert same.row.flips == 0 and not same.row.why
    time_patches(smoother, [fails, same], runs=2, batches=(1, 3))
    assert not fails.row.ms_patch and set(same.row.ms_patch) == {1, 3}
    assert parity_table([reference.row, fails.row, same.row], 3).row_count == 3


def test_the_line_goes_on_where_the_gpu_is_hidden(smoother: Bundle, pictures: Path) -> None:
    fallback = fall_back(smoother, sorted(pictures.iterdir()), "cpu")
    assert fallback.ok and fallback.frames == 2 and fallback.flips == 0
    assert all(name.endswith("/cpu/fp32") for name in fallback.ran + fallback.hidden)


@pytest.mark.parametrize(
    "changed", [{"device": "gpu", "graphs": {"a": "onnx/gpu/fp32"}}, {"evaluation": 2}, {"reason": "engine_failed"}]
)
def test_a_fallback_that_is_none_is_told(changed: dict[str, object]) -> None:
    on_gpu = {"evaluation": 1, "reason": "ok", "device": "gpu", "graphs": {"a": "onnx/gpu/fp16"}}
    on_cpu = on_gpu | {"device": "cpu", "graphs": {"a": "onnx/cpu/fp32"}}
    good = judge_fallback([on_gpu, on_gpu], [on_cpu, on_cpu])
    assert good.ok and (good.ran, good.hidden) == (["onnx/gpu/fp16"], ["onnx/cpu/fp32"])
    assert not judge_fallback([on_gpu, on_gpu], [on_cpu, on_cpu | changed]).ok


def test_at_most_fifty_frames_of_the_surfaces_own_folder(tmp_path: Path) -> None:
    for number in range(70):
        path = tmp_path / "dark" / "test" / "good" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "other.png").touch()
    picked = frames_of(tmp_path, "dark")
    assert len(set(picked)) == 50 and {path.parent.name for path in picked} == {"good"}
    assert len(frames_of(tmp_path, "light")) == 50


def test_a_gate_is_no_judge(small_line: Line) -> None:
    with pytest.raises(DataError, match="gate"):
        case(open_bundle(small_line.bundles / "gate"))
