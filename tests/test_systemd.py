"""The units as systemd's own tools judge them."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.lines import called

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")

HIGHEST_EXPOSURE = 15  # tenths, of 100
HIGHEST_WITH_A_GPU = 20
DROP_INS = ("gpu.conf", "openvino-gpu.conf")


@pytest.fixture
def unit(repository: Path, tmp_path: Path) -> Path:
    """The unit with a program that is there on every machine; where edge is installed does not concern systemd."""
    return copied(repository / "systemd" / "edge@.service", tmp_path)


def copied(unit: Path, folder: Path) -> Path:
    text = unit.read_text()
    copy = folder / unit.name
    copy.write_text(re.sub(r"/opt/edge/bin/edge\S*", "/bin/true", text))
    return copy


def drop_in(unit: Path, given: Path) -> None:
    folder = unit.with_name(f"{unit.name}.d")
    folder.mkdir()
    shutil.copy(given, folder)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def complaints(unit: Path) -> list[str]:
    """What verify says of our unit; it also loads the machine's own, which are none of our business."""
    done = analyze("verify", "--man=no", unit)
    return [line for line in (done.stdout + done.stderr).splitlines() if "edge" in line]


def exposed(unit: Path, highest: int) -> str:
    """What is exposed, where that is more than the highest allowed; nothing where all is well."""
    done = analyze("security", "--offline=true", f"--threshold={highest}", "--no-pager", unit)
    return "" if done.returncode == 0 else done.stdout[-400:] + done.stderr


def test_verify_has_nothing_to_say(unit: Path) -> None:
    assert not complaints(unit)


def test_verify_would_see_a_wrong_key(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSec="))
    assert "WatchDogSec" in complaints(unit)[0]


def test_exposure(unit: Path) -> None:
    assert not exposed(unit, HIGHEST_EXPOSURE)


@pytest.mark.parametrize("name", DROP_INS)
def test_exposure_with_a_gpu(name: str, unit: Path, repository: Path) -> None:
    drop_in(unit, repository / "systemd" / name)
    assert not complaints(unit)
    assert exposed(unit, 12), "the drop-in was not read"
    assert not exposed(unit, HIGHEST_WITH_A_GPU)


@pytest.mark.parametrize("name", DROP_INS)
def test_every_line_of_a_drop_in_says_why(name: str, repository: Path) -> None:
    lines = (repository / "systemd" / name).read_text().splitlines()
    set_alone = [line for before, line in pairwise(lines) if "=" in line and before == ""]
    assert not set_alone and "[Service]" in lines


def test_the_unit_starts_a_command_that_edge_has(repository: Path) -> None:
    text = (repository / "systemd" / "edge@.service").read_text()
    program, command, option, config = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)[0].split()
    assert (program, config) == ("/opt/edge/bin/edge", "/etc/edge/%i.toml")
    assert option in called(command, "--help")[1]


@pytest.mark.parametrize("name", ["edge-selfbench@.service", "edge-selfbench@.timer"])
def test_verify_has_nothing_to_say_of_the_self_check(name: str, repository: Path, tmp_path: Path) -> None:
    copied(repository / "systemd" / "edge-selfbench@.service", tmp_path)
    assert not complaints(copied(repository / "systemd" / name, tmp_path))


def test_the_self_check_is_exposed_less_than_the_line_and_gives_way_to_it(repository: Path, tmp_path: Path) -> None:
    unit = copied(repository / "systemd" / "edge-selfbench@.service", tmp_path)
    assert not exposed(unit, HIGHEST_EXPOSURE - 5)
    lines = unit.read_text().splitlines()
    assert {"Slice=system-edge.slice", "CPUWeight=1"} <= set(lines), "beside the line itself, and light"
    assert {"Nice=19", "CPUSchedulingPolicy=idle", "IOSchedulingClass=idle", "PrivateNetwork=yes"} <= set(lines)


def test_the_self_check_starts_a_command_that_edge_bench_has(repository: Path) -> None:
    from edge.bench.cli import main

    text = (repository / "systemd" / "edge-selfbench@.service").read_text()
    program, command, config, option, into = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)[0].split()
    assert (program, config) == ("/opt/edge/bin/edge-bench", "/etc/edge/%i.toml")
    assert into.startswith("/var/lib/edge/%i/") and "StateDirectory=edge/%i" in text
    assert any(option in parameter.opts for parameter in main.commands[command].params)


def test_both_services_are_hardened_alike(repository: Path) -> None:
    """What the self check does without is said there; nothing else differs."""
    texts = [(repository / "systemd" / f"{name}@.service").read_text() for name in ("edge", "edge-selfbench")]
    assert "LoadCredential=%i.key" in texts[0] and "LoadCredential" not in texts[1], "a check needs no key"
    line, check = (set(text.partition("NoNewPrivileges")[2].partition("[Install]")[0].splitlines()) for text in texts)
    keys = {setting.partition("=")[0] for setting in line ^ check if setting[:1] not in ("", "#")}
    assert keys <= {"RestrictAddressFamilies", "IPAddressAllow", "PrivateNetwork"}


def test_a_full_disk_is_tried_again_and_a_wrong_config_is_not(repository: Path) -> None:
    from edge.errors import BundleError, ConfigError, JournalError, MissingExtra

    text = (repository / "systemd" / "edge@.service").read_text()
    (codes,) = re.findall(r"^RestartPreventExitStatus=(.+)$", text, re.MULTILINE)
    assert {2, ConfigError.exit_code, BundleError.exit_code} <= set(map(int, codes.split()))
    assert JournalError.exit_code not in map(int, codes.split())
    assert "17" in codes.split() and MissingExtra.exit_code == 17
