"""tools/bench-part on a small line: real daemons, real parts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import Line

pytestmark = pytest.mark.usefixtures("own_cache")


def bench(repository: Path, line: Line, pictures: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "tools" / "bench-part"), str(line.bundles / "smoother"), str(pictures)]
    command += ["--gate", str(line.bundles / "gate"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def picture(folder: Path, grey: int, side: int = 256) -> Path:
    cv2.imwrite(str(folder / "part.png"), np.full((side, side), grey, np.uint8))
    return folder


def test_sixty_patches_are_timed_as_one_part(repository: Path, small_line: Line, tmp_path: Path) -> None:
    done = bench(repository, small_line, picture(tmp_path, 51), "--parts", "2", "--json")
    assert done.returncode == 3, done.stderr
    figures = json.loads(done.stdout)
    assert figures["parts"] == 2 and figures["answer"] == "INSUFFICIENT"
    assert figures["part_p99_ms"] >= figures["part_p50_ms"] > figures["judge_p50_ms"] > 0


def test_a_surface_that_the_gate_refuses_is_no_measurement(repository: Path, small_line: Line, tmp_path: Path) -> None:
    done = bench(repository, small_line, picture(tmp_path, 128), "--parts", "1")
    assert done.returncode == 16 and "unseen_surface" in done.stderr and not done.stdout


def test_a_picture_smaller_than_a_patch_is_refused(repository: Path, small_line: Line, tmp_path: Path) -> None:
    done = bench(repository, small_line, picture(tmp_path, 51, 255))
    assert done.returncode == 16 and "255 x 255" in done.stderr
