"""Packages and permissions: real folders of installed packages, real modes, real child processes."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest

from edge.bundle import open_bundle
from edge.config import Line, read_line
from edge.doctor import engines, permissions
from edge.engines.session import ENGINES, installed
from tests.lines import write_line


def site(folder: Path, **versions: str) -> str:
    for name, version in versions.items():
        (folder / f"{name}-{version}.dist-info").mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(text)
    return str(folder)


def test_two_onnx_runtimes_are_a_problem_and_how_to_mend_it_is_told(tmp_path: Path) -> None:
    found = engines.packages([site(tmp_path, onnxruntime="1.23.0", onnxruntime_gpu="1.22.0")])
    (row,) = engines.conflicts(found)
    assert row.state == "problem" and "onnxruntime beside onnxruntime-gpu" in row.found
    assert row.advice.startswith("pip uninstall -y onnxruntime onnxruntime-gpu, then") and ".[gpu]" in row.advice


def test_one_onnx_runtime_is_fine_and_two_opencvs_are_a_warning(tmp_path: Path) -> None:
    found = engines.packages(
        [site(tmp_path, onnxruntime="1.23.0", opencv_python="4.11", opencv_python_headless="4.11")]
    )
    assert [row.state for row in engines.conflicts(found)] == ["warning"]
    assert [row.state for row in engines.conflicts({"onnxruntime-gpu": "1"})] == ["ok"]


def test_the_frozen_tflite_is_noted(tmp_path: Path) -> None:
    found = engines.packages([site(tmp_path, tflite_runtime="2.14.0")])
    rows = {row.check: row for row in engines.engines(found, {"litert": ["CPU"]}, "auto")}
    assert rows["tflite-runtime"].state == "note" and "frozen" in rows["tflite-runtime"].found
    assert rows["litert"].state == "ok" and "tflite-runtime 2.14.0" in rows["litert"].found


def test_each_installed_engine_tells_what_it_runs_on() -> None:
    answers = engines.ask_engines()
    assert set(answers) == {engine for engine in ENGINES if installed(engine)}
    for answer in answers.values():
        assert isinstance(answer, list) and any("CPU" in name for name in answer)
    rows = engines.engines(engines.packages(), answers, "auto")
    assert {row.check for row in rows if row.state == "ok"} == set(answers)


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not here (extra `openvino`)")
@pytest.mark.parametrize(
    ("text", "why"),
    [("raise ImportError('built for another numpy')", "another numpy"), ("import os; os.abort()", "ended with -6")],
)
def test_an_engine_that_cannot_be_loaded_is_told_with_its_reason(
    text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    answers = engines.ask_engines()
    for wanted, state in (("auto", "warning"), ("openvino", "problem")):
        (row,) = [row for row in engines.engines(engines.packages(), answers, wanted) if row.check == "openvino"]
        assert row.state == state and why in row.found


def test_a_box_without_an_engine_has_a_problem() -> None:
    rows = engines.engines({}, {}, "onnx")
    assert {row.check for row in rows if row.state == "problem"} == {"engines", "onnx"}


def test_bundles_that_others_may_write_and_files_that_are_gone_are_told(small_line: Line, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_line.bundles / "smoother", tmp_path / "smoother"))
    for path in (folder, *folder.iterdir()):
        path.chmod(path.stat().st_mode & ~0o022)
    bundle = open_bundle(folder)
    assert permissions.bundle_files([bundle]).state == "ok"
    (folder / "model.onnx").chmod(0o664)
    row = permissions.bundle_files([bundle])
    assert row.state == "warning" and row.found == f"others may write {folder / 'model.onnx'}"
    (folder / "golden.npz").unlink()
    row = permissions.bundle_files([bundle])
    assert row.state == "problem" and "golden.npz" in row.found


def test_a_line_that_others_may_change_is_told(small_line: Line, tmp_path: Path) -> None:
    path = write_line(tmp_path, small_line.bundles)
    path.chmod(0o644)
    assert permissions.line_file(path).state == "ok"
    path.chmod(0o646)
    assert permissions.line_file(path).state == "problem"


def test_folders_that_can_be_made_are_writable_and_a_file_is_no_folder(small_line: Line, tmp_path: Path) -> None:
    config = read_line(write_line(tmp_path, small_line.bundles)).config
    assert [row.state for row in permissions.sockets(config)] == ["ok", "ok"]
    assert permissions.may_write(tmp_path / "not" / "yet")
    (tmp_path / "file").write_bytes(b"")
    assert not permissions.may_write(tmp_path / "file" / "below")
    (row,) = permissions.cache(tmp_path / "file" / "cache")
    assert row.state == "warning" and "CACHE_DIRECTORY" in row.advice


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert not permissions.may_write(tmp_path / "cache")


def test_a_cache_that_others_may_write_is_a_warning_and_its_space_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert [(row.check, row.state) for row in permissions.cache(tmp_path)] == [("cache", "ok"), ("disk", "ok")]
    tmp_path.chmod(0o770)
    assert permissions.cache(tmp_path)[0].state == "warning"


def test_too_few_open_files_are_a_warning() -> None:
    assert permissions.limits(256, 65536).state == "warning"
    row = permissions.limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert row.state == "ok" and "any number of open files; may lock any memory" in row.found
