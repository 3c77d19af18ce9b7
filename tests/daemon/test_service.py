"""The daemon as systemd sees it: ready after the golden frames, not before; nothing loaded that it never uses."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import MANIFEST, open_bundle
from edge.config import Line
from tests.lines import edit, ended, start, write_line
from tests.small_line import npz

NEVER = {
    "torch",
    "onnx",
    "nncf",
    "sklearn",
    "litert_torch",
    "ai_edge_quantizer",
    "kornia",
    "tomli_w",
    "tools",
    "cryptography",
}


@pytest.fixture
def place(small_line: Line, tmp_path: Path) -> Path:
    """A line.toml with bundles of its own beside it."""
    shutil.copytree(small_line.bundles, tmp_path / "models")
    write_line(tmp_path, "models")
    return tmp_path


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def none_is_left() -> Iterator[None]:
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def run(place: Path, **more: str) -> subprocess.Popen[str]:
    own = {"NOTIFY_SOCKET": str(place / "notify"), "CACHE_DIRECTORY": str(place / "cache")}
    STARTED.append(start("run", "--config", place / "line.toml", **own, **more))
    return STARTED[-1]


def test_it_is_ready_after_warming_up_feeds_the_watchdog_and_says_when_it_stops(
    place: Path, systemd: socket.socket
) -> None:
    process = run(place, WATCHDOG_USEC="400000")
    assert systemd.recv(4096).startswith(b"READY=1")
    assert systemd.recv(4096) == b"WATCHDOG=1"
    process.terminate()
    while (told := systemd.recv(4096)) == b"WATCHDOG=1":
        pass
    assert told.startswith(b"STOPPING=1")
    assert ended(process)[0] == 0


def test_no_training_package_is_imported_by_the_running_daemon(place: Path, systemd: socket.socket) -> None:
    process = run(place, PYTHONPROFILEIMPORTTIME="1")
    systemd.recv(4096)
    process.terminate()
    _, _, said = ended(process)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in said.splitlines() if "|" in line}
    assert {"edge", "zmq", "onnxruntime"} <= imported
    assert not imported & NEVER


def test_a_bundle_that_does_not_repeat_its_golden_frame_keeps_the_line_down(
    place: Path, systemd: socket.socket
) -> None:
    folder = place / "models" / "smoother"
    bundle = open_bundle(folder)
    arrays = bundle.read_arrays(bundle.manifest.golden)
    wrong = {name: array if name == "frame" else np.flip(array, -1) + 0.3 for name, array in arrays.items()}
    data = npz(**wrong)
    (folder / "golden.npz").write_bytes(data)
    edit(folder / MANIFEST, bundle.manifest.golden.sha256, hashlib.sha256(data).hexdigest())
    code, _, said = ended(run(place))
    assert code == 12 and "golden frame" in said and "smoother" in said
    systemd.settimeout(0.1)
    with pytest.raises(TimeoutError):
        systemd.recv(4096)
