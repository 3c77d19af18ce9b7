"""Lines of small bundles, each in a folder of its own, and the commands of `edge` as processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEAD = """line = "{name}"
frames = "ipc://{folder}/frames"
verdicts = "ipc://{folder}/verdicts"
bundles = "{bundles}"
gate = "gate"
engine = "onnx"
threads = 1
"""
DARK = '[judges]\ndark = { bundle = "smoother" }\n'


def write_line(folder: Path, bundles: Path | str, *tables: str, name: str = "small") -> Path:
    """line.toml, with its sockets in the folder. tables: what follows the first keys, by default a judge of `dark`."""
    path = folder / "line.toml"
    path.write_text(HEAD.format(name=name, folder=folder, bundles=bundles) + "".join(tables or [DARK]))
    return path


def edit(path: Path, old: str, new: str) -> Path:
    """Change one thing in a line or a manifest."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge.cli", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200"} | environment
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process: subprocess.Popen[str], timeout_s: float = 60) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; nobody is ever shown a traceback."""
    out, err = process.communicate(timeout=timeout_s)
    assert "Traceback" not in out + err, err
    return process.returncode, out, err


def called(*arguments: object, timeout_s: float = 60) -> tuple[int, str, str]:
    return ended(start(*arguments), timeout_s)


@contextmanager
def daemon_on(config: Path) -> Iterator[subprocess.Popen[str]]:
    """`edge run`, from when it says that it is ready; in the end it has to stop well."""
    address = str(config.with_name("notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(60)
        process = start("run", "--config", config, NOTIFY_SOCKET=address)
        try:
            assert systemd.recv(4096).startswith(b"READY=1")
            yield process
        finally:
            process.terminate()
            code, _, said = ended(process)
            assert code == 0, said
