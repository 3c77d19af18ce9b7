"""The unit as systemd's own tools judge it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lines import called

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")

HIGHEST_EXPOSURE = 20  # tenths, of 100


@pytest.fixture
def unit(repository: Path, tmp_path: Path) -> Path:
    """The unit with a program that is there on every machine; where edge is installed does not concern systemd."""
    text = (repository / "systemd" / "edge@.service").read_text()
    copy = tmp_path / "edge@.service"
    copy.write_text(text.replace("/opt/edge/bin/edge", "/bin/true"))
    return copy


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def complaints(unit: Path) -> list[str]:
    """What verify says of our unit; it also loads the machine's own, which are none of our business."""
    done = analyze("verify", "--man=no", unit)
    return [line for line in (done.stdout + done.stderr).splitlines() if "edge@" in line]


def test_verify_has_nothing_to_say(unit: Path) -> None:
    assert not complaints(unit)


def test_verify_would_see_a_wrong_key(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSec="))
    assert "WatchDogSec" in complaints(unit)[0]


def test_exposure(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_the_unit_starts_a_command_that_edge_has(repository: Path) -> None:
    text = (repository / "systemd" / "edge@.service").read_text()
    program, command, option, config = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)[0].split()
    assert (program, config) == ("/opt/edge/bin/edge", "/etc/edge/%i.toml")
    assert option in called(command, "--help")[1]
