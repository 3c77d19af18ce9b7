"""The daemon as systemd sees it: ready after the golden frames, not before; nothing loaded that it never uses."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import MANIFEST, open_bundle
from edge.config import Line
from tests.small_line import npz

NEVER = {"torch", "onnx", "nncf", "sklearn", "litert_torch", "ai_edge_quantizer", "kornia", "tomli_w", "tools"}
LINE = """line = "small"
frames = "ipc://{folder}/frames"
verdicts = "ipc://{folder}/verdicts"
bundles = "models"
gate = "gate"
engine = "onnx"
threads = 1
[judges]
dark = {{ bundle = "smoother" }}
"""


@pytest.fixture
def place(small_line: Line, tmp_path: Path) -> Path:
    """A line.toml with bundles of its own beside it."""
    shutil.copytree(small_line.bundles, tmp_path / "models")
    (tmp_path / "line.toml").write_text(LINE.format(folder=tmp_path))
    return tmp_path


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener


def start(place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "edge.cli", "run", "--config", str(place / "line.toml")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NOTIFY_SOCKET": str(place / "notify"), "CACHE_DIRECTORY": str(place / "cache")},
    )


def test_it_is_ready_after_warming_up_feeds_the_watchdog_and_says_when_it_stops(
    place: Path, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    process = start(place)
    assert systemd.recv(4096).startswith(b"READY=1")
    assert systemd.recv(4096) == b"WATCHDOG=1"
    process.send_signal(signal.SIGTERM)
    while (told := systemd.recv(4096)) == b"WATCHDOG=1":
        pass
    assert told.startswith(b"STOPPING=1")
    assert process.wait(10) == 0


def test_no_training_package_is_imported_by_the_running_daemon(place: Path, systemd: socket.socket) -> None:
    process = start(place)
    systemd.recv(4096)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
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
    text = (folder / MANIFEST).read_text().replace(bundle.manifest.golden.sha256, hashlib.sha256(data).hexdigest())
    (folder / MANIFEST).write_text(text)
    process = start(place)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 12 and "golden frame" in said and "smoother" in said
    systemd.settimeout(0.1)
    with pytest.raises(TimeoutError):
        systemd.recv(4096)
