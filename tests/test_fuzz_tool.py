"""tools/fuzz: ten thousand inputs, and what it does where it finds something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

needs_atheris = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('atheris')",
    reason="atheris is not here (extra `test`; x86-64 Linux alone)",
)


def fuzz(repository: Path, *arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, str(repository / "tools" / "fuzz"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@needs_atheris
def test_ten_thousand_inputs_that_go_by_what_they_reach_find_nothing(repository: Path, tmp_path: Path) -> None:
    code, out, said = fuzz(repository, "--runs", 10_000, "--found", tmp_path)
    assert code == 0, said
    assert out.startswith("10000 inputs in ") and not list(tmp_path.iterdir())


@needs_atheris
def test_what_an_input_makes_fail_is_told_and_kept(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools import fuzz_run

    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'broken'}:{repository}", prepend=":")
    done = fuzz_run.fuzz(10_000, tmp_path / "found", lambda _: None, seed=1)
    assert "no FrameError" in done.wrong and done.runs < 10_000
    assert list((tmp_path / "found").glob("crash-*"))


BROKEN = """import google_crc32c

def value(_):
    raise KeyError("no FrameError")

google_crc32c.value = value
"""


def test_where_there_is_no_fuzzer_it_says_so(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['atheris'] = None\n")
    environment = {"PYTHONPATH": f"{tmp_path}:{repository}", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(repository / "tools" / "fuzz"), "--runs", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 17 and "Atheris is not here" in done.stderr
