"""Where the packages that make graphs are absent, as on the line PC, their commands say so in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import MissingExtra
from tests.small_blur import write_blur

pytest.importorskip("onnx", reason="onnx, which writes the small graph, is not here (extra `test`)")
pytest.importorskip("onnxruntime", reason="the bundle is made by ONNX Runtime (extra `onnx`)")

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from edge.cli import main; main()"


@pytest.mark.parametrize("command", ["export", "quantize", "parity"])
def test_a_command_that_needs_torch_names_it_and_the_extra(tmp_path: Path, command: str) -> None:
    bundle = str(write_blur(tmp_path / "blur", None).path)
    arguments = {
        "export": [f"{bundle}/model.onnx", "--manifest", f"{bundle}/manifest.toml", "-o", str(tmp_path / "out")],
        "quantize": [bundle, "--calibration", str(tmp_path)],
        "parity": [bundle, str(tmp_path), "--program", f"{bundle}/model.onnx"],
    }[command]
    line = [sys.executable, "-c", WITHOUT_TORCH, command, *arguments]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == MissingExtra.exit_code, ended.stderr
    assert "needs the package torch" in ended.stderr and ".[train]" in ended.stderr
    assert "Traceback" not in ended.stderr and [path.name for path in tmp_path.iterdir()] == ["blur"]
