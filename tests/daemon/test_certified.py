"""The real daemon of a line that demands a certificate: up with a good one, down with any other, and why."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from edge.bench.cli import main as bench
from edge.certificate import Certificate, read_certificate, sign, to_json
from edge.config import Line
from edge.signing import box_key
from tests.lines import called, daemon_on, edit, write_line

pytest.importorskip("cryptography", reason="cryptography is not here (extra `certify`)")
pytestmark = pytest.mark.usefixtures("own_cache")

DEMAND = 'require_certificate = true\ncertificate = "signed/line.json"\ncertificate_key = "signed/bench.key.pub"\n'
JUDGE = '[judges]\ndark = { bundle = "smoother" }\n'


@pytest.fixture(scope="module")
def signed(small_line: Line, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box's key, and a real certificate of the small line."""
    folder = tmp_path_factory.mktemp("signed")
    path = write_line(folder, small_line.bundles)
    (folder / "dark").mkdir()
    cv2.imwrite(str(folder / "dark" / "0.png"), np.full((64, 64), 51, np.uint8))
    given = ["--target-ms", 10_000, "--images", folder / "dark", "--runs", 662]
    files = ["--out", folder / "line.json", "--key", folder / "bench.key"]
    done = CliRunner().invoke(bench, ["certify", str(path), *map(str, given + files)])
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def line(small_line: Line, signed: Path, tmp_path: Path) -> Path:
    """A line that demands a certificate, with bundles and signed files of its own."""
    shutil.copytree(small_line.bundles, tmp_path / "models")
    shutil.copytree(signed, tmp_path / "signed")
    return write_line(tmp_path, "models", DEMAND, JUDGE)


def test_the_daemon_starts_with_a_pass_of_this_line_on_this_box(line: Path) -> None:
    with daemon_on(line) as daemon:
        assert daemon.poll() is None


def test_the_doctor_says_so(line: Path) -> None:
    code, out, _ = called("doctor", "--config", line, "--json")
    assert code == 0 and '"check":"certificate","state":"ok"' in out
    (line.parent / "signed" / "line.json").unlink()
    code, out, _ = called("doctor", "--config", line, "--json")
    assert code == 1 and '"check":"certificate","state":"problem"' in out


def resigned(line: Path, change: Callable[[Certificate], Certificate]) -> None:
    """As the box itself would have signed it."""
    path = line.parent / "signed" / "line.json"
    key = box_key(line.parent / "signed" / "bench.key", print)
    path.write_text(to_json(sign(change(read_certificate(path)), key)))


def of_another_box(certificate: Certificate) -> Certificate:
    return replace(certificate, host=replace(certificate.host, machine="0" * 64))


def failed(certificate: Certificate) -> Certificate:
    return replace(certificate, answer="FAIL")


def on_another_engine(certificate: Certificate) -> Certificate:
    bundles = [replace(b, graphs=[replace(g, engine="litert") for g in b.graphs]) for b in certificate.bundles]
    return replace(certificate, bundles=bundles)


def test_the_doctor_says_that_other_graphs_were_timed_than_would_run(line: Path) -> None:
    resigned(line, on_another_engine)
    code, out, _ = called("doctor", "--config", line, "--json")
    assert code == 1 and "would run model.onnx on onnx, which was not timed for it" in out


def of_the_judge_alone(certificate: Certificate) -> Certificate:
    return replace(certificate, bundles=certificate.bundles[1:])


def lost(line: Path) -> None:
    (line.parent / "signed" / "line.json").unlink()


def altered(line: Path) -> None:
    edit(line.parent / "signed" / "line.json", '"answer": "PASS"', '"answer": "FAIL"')


def by_another_key(line: Path) -> None:
    folder = line.parent / "signed"
    box_key(folder / "other.key", print)
    (folder / "other.key.pub").replace(folder / "bench.key.pub")


def without_a_trusted_key(line: Path) -> None:
    (line.parent / "signed" / "bench.key.pub").unlink()


def another_bundle(line: Path) -> None:
    edit(line.parent / "models" / "smoother" / "manifest.toml", "by hand", "by foot")


def another_graph(line: Path) -> None:
    with (line.parent / "models" / "gate" / "model.onnx").open("ab") as graph:
        graph.write(b"\0")


def more_threads(line: Path) -> None:
    edit(line, "threads = 1", "threads = 2")


@pytest.mark.parametrize(
    ("spoil", "code", "why"),
    [
        (lost, 10, "cannot read the certificate"),
        (altered, 10, "signature: "),
        (by_another_key, 10, "key: it was signed with"),
        (without_a_trusted_key, 10, "cannot read the key"),
        (lambda line: resigned(line, of_another_box), 10, "host: it is of another box"),
        (lambda line: resigned(line, failed), 10, "verdict: FAIL"),
        (lambda line: resigned(line, on_another_engine), 10, "would run model.onnx on onnx/cpu/fp32"),
        (lambda line: resigned(line, of_the_judge_alone), 11, "bundles: it does not cover"),
        (another_bundle, 11, "smoother"),
        (another_graph, 11, "was altered"),
        (more_threads, 10, "settings: "),
    ],
)
def test_the_daemon_stays_down_and_says_why(spoil: Callable[[Path], Any], code: int, why: str, line: Path) -> None:
    spoil(line)
    ended, _, said = called("run", "--config", line)
    assert ended == code, said
    assert why in said and f"edge-bench certify {line} --out" in said


def test_a_line_that_demands_none_asks_for_none(line: Path) -> None:
    edit(line, "require_certificate = true", "require_certificate = false")
    lost(line)
    with daemon_on(line) as daemon:
        assert daemon.poll() is None
