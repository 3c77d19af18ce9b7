"""`edge-bench certify` and `check-certificate` on real runs of small bundles and lines."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.bench.cli import main
from edge.bundle import open_bundle
from edge.config import Line
from tests.lines import edit, write_line

pytest.importorskip("cryptography", reason="cryptography is not here (extra `certify`)")
pytestmark = pytest.mark.usefixtures("own_cache")

FAST = 10_000


@pytest.fixture(scope="module")
def place(small_line: Line, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of its own, a line.toml beside them, and `dark` frames, which the line judges."""
    folder = tmp_path_factory.mktemp("certified")
    shutil.copytree(small_line.bundles, folder, dirs_exist_ok=True)
    write_line(folder, ".")
    (folder / "dark").mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / "dark" / f"{number}.png"), np.full((90, 70), 50 + number, np.uint8))
    return folder


def certify(place: Path, subject: str, *options: object, folder: Path | None = None) -> Result:
    """folder: of the subject, where it is not the place's own."""
    given = [(folder or place) / subject, "--out", place / f"{subject}.json", "--key", place / "bench.key", *options]
    return CliRunner().invoke(main, ["certify", *map(str, given)], catch_exceptions=False)


def check(place: Path, subject: str, *options: object) -> Result:
    given = ["--public-key", place / "bench.key.pub", *options]
    file = str(place / f"{subject}.json")
    return CliRunner().invoke(main, ["check-certificate", file, *map(str, given)], catch_exceptions=False)


def stopped_by(done: Result) -> list[str]:
    told = json.loads(done.stdout)
    stopped = [row["line"] for row in told["defences"] if row["holds"] is False]
    assert told["valid"] == (not stopped) == (done.exit_code == 0)
    return stopped


@pytest.fixture(scope="module")
def passed(place: Path) -> dict[str, Any]:
    done = certify(place, "smoother", "--target-ms", FAST, "--runs", 662, "--json")
    assert done.exit_code == 0, done.stderr
    written: dict[str, Any] = json.loads((place / "smoother.json").read_text())
    assert json.loads(done.stdout) == written
    return written


def test_a_certificate_says_what_was_measured_of_which_files(place: Path, passed: dict[str, Any]) -> None:
    bundle = open_bundle(place / "smoother")
    (graph,) = bundle.manifest.graph
    (named,) = passed["bundles"]
    assert (named["name"], named["sha256"]) == ("smoother", bundle.sha256)
    assert [ran["files"] for ran in named["graphs"]] == [{graph.file: graph.sha256}]
    assert (passed["kind"], passed["scenario"], passed["answer"]) == ("reconstruction", "single stream", "PASS")
    (target,) = passed["targets"]
    assert target["samples"] >= target["samples_needed"] == 662
    assert target["estimate_ms"] <= target["upper_ms"] <= target["target_ms"] == FAST
    assert (target["percentile"], target["confidence"], target["answer"]) == (0.99, 0.99, "PASS")


def test_it_is_valid_here_and_for_these_files(place: Path, passed: dict[str, Any]) -> None:
    assert not stopped_by(check(place, "smoother", "--subject", place / "smoother", "--json"))
    told = check(place, "smoother")
    assert told.exit_code == 0 and "PASS" in told.stdout


def test_each_line_of_defence_says_what_it_stopped(place: Path, passed: dict[str, Any]) -> None:
    brittle = check(place, "smoother", "--subject", place / "brittle", "--json")
    assert stopped_by(brittle) == ["bundles"]
    assert stopped_by(check(place, "smoother", "--subject", place / "line.toml", "--json")) == ["settings", "bundles"]
    whole = (place / "smoother.json").read_text()
    edit(place / "smoother.json", '"threads": 2', '"threads": 1')
    assert stopped_by(check(place, "smoother", "--json")) == ["signature"]
    assert "altered" in check(place, "smoother").stdout
    (place / "smoother.json").write_text(whole)


def test_a_lines_certificate_covers_all_its_bundles_and_settings(place: Path) -> None:
    done = certify(place, "line.toml", "--target-ms", FAST, "--runs", 662, "--images", place / "dark")
    assert done.exit_code == 0, done.stderr
    written = json.loads((place / "line.toml.json").read_text())
    assert [bundle["name"] for bundle in written["bundles"]] == ["gate", "smoother"]
    assert all(bundle["graphs"] for bundle in written["bundles"])
    assert written["timed"]["judge dark"] >= 662 and written["frames"] == f"3 of {place / 'dark'}"
    for subject in ("line.toml", "gate", "smoother"):
        assert not stopped_by(check(place, "line.toml", "--subject", place / subject, "--json"))
    other = certify(place, "line.toml", "--target-ms", FAST, "--runs", 8, "--images", place / "dark", "--threads", 2)
    assert other.exit_code == 3
    assert stopped_by(check(place, "line.toml", "--subject", place / "line.toml", "--json")) == ["settings", "verdict"]


def test_a_line_whose_judge_never_ran_is_not_certified(place: Path, tmp_path: Path) -> None:
    """The judge's golden frame is light, which the small line has no judge for."""
    out = tmp_path / "out.json"
    done = certify(place, "line.toml", "--target-ms", FAST, "--runs", 8, "--out", out)
    assert done.exit_code == 16 and "dark" in done.stderr and "--images" in done.stderr
    assert not out.exists()


def test_a_fail_is_certified_too(place: Path) -> None:
    done = certify(place, "brittle", "--target-ms", 1e-6, "--runs", 16)
    assert done.exit_code == 1 and "FAIL" in done.stdout
    assert stopped_by(check(place, "brittle", "--json")) == ["verdict"]


def test_a_target_that_no_sample_can_confirm_says_how_many_it_needs(place: Path) -> None:
    done = certify(place, "brittle", "--target-ms", FAST, "--percentile", 99.9, "--runs", 16)
    assert done.exit_code == 3
    assert "6636 samples are needed" in done.stderr
    assert "16 samples cannot say whether frame p99.9 meets 10000 ms, 6636 may" in done.stdout
    assert stopped_by(check(place, "brittle", "--json")) == ["verdict"]


def test_without_a_target_nothing_is_certified(place: Path, tmp_path: Path) -> None:
    done = certify(place, "brittle", "--out", tmp_path / "out.json")
    assert done.exit_code == 2 and "--target-ms" in done.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(("target", "code"), [("frame_ms = 10000.0", 3), ("frame_ms = nan", 11), ("frame_ms = 0", 11)])
def test_the_manifests_target_is_taken(place: Path, tmp_path: Path, target: str, code: int) -> None:
    shutil.copytree(place / "smoother", tmp_path / "smoother")
    manifest = tmp_path / "smoother" / "manifest.toml"
    manifest.write_text(f"{manifest.read_text()}[targets]\n{target}\n")
    done = certify(place, "smoother", "--out", tmp_path / "c", "--runs", 8, folder=tmp_path)
    assert done.exit_code == code, done.stderr
    assert (tmp_path / "c").exists() == (code == 3)


def test_bad_input_ends_with_its_own_code(place: Path, tmp_path: Path, passed: dict[str, Any]) -> None:
    assert certify(place, "brittle", "--target-ms", 5, "--key", place / "brittle" / "manifest.toml").exit_code == 16
    assert certify(place, "brittle", "--target-ms", 5, "--runs", 8, "--out", tmp_path / "no" / "c").exit_code == 16
    assert certify(place, "brittle", "--target-ms", "inf").exit_code == 2
    assert check(place, "smoother", "--public-key", place / "dark" / "0.png").exit_code == 16
    (tmp_path / "nothing.json").write_text("{}")
    assert check(tmp_path, "nothing", "--public-key", place / "bench.key.pub").exit_code == 16
    assert check(tmp_path, "nowhere").exit_code == 2


def test_without_the_package_both_commands_name_its_extra(
    place: Path, passed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for done in (certify(place, "brittle", "--target-ms", 5), check(place, "smoother")):
        assert done.exit_code == 17 and "certify" in done.stderr
