"""The fault suite at its smallest scale: real daemons, struck a few times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.faults_suite.outcome import Bounds, Scale, percentile

pytest.importorskip("onnx", reason="onnx, which writes the small graphs, is not here (extra `test`)")
pytest.importorskip("cryptography", reason="cryptography is not here (extra `certify`)")


def faults(repository: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, str(repository / "tools" / "faults"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_line_stands_what_takes_seconds_to_try(repository: Path) -> None:
    names = ["sequence", "disk", "stopping", "scores", "bombs"]
    code, out, said = faults(repository, "--smoke", "--json", "--only", *names)
    found: dict[str, Any] = json.loads(out)["faults"]
    assert list(found) == names
    assert not {name: outcome["missed"] for name, outcome in found.items() if outcome["missed"]}, said
    assert code == 0


def test_a_fault_that_nobody_knows_is_named_with_those_that_are(repository: Path) -> None:
    code, _, said = faults(repository, "--only", "lightning")
    assert code == 2 and "lightning" in said and "kill" in said


def test_a_bound_that_is_missed_is_told_once() -> None:
    bounds = Bounds()
    for held in (True, False, False):
        bounds.hold(held, "it was late")
    assert bounds.missed == ["it was late"]


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile([3.0, 1.0, 2.0], percent) for percent in (0, 50, 99)] == [1.0, 2.0, 3.0]
    assert percentile([], 99) == 0.0
    assert [scale.of(1, 2, 3) for scale in Scale] == [1, 2, 3]
