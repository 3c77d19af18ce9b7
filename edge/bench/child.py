"""`edge run` and its neighbours as child processes, on a line of their own in a temporary folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

import edge
from edge.config import DriftConfig, EngineName, JournalConfig, Line, LineConfig
from edge.errors import EdgeError

ROOT = Path(edge.__file__).resolve().parent.parent  # where `edge` is found, whatever folder one is in
STOP_S = 10.0
INFO = " INFO "  # in the log lines of `edge run`


class Ended(EdgeError):
    """A child process ended when it should not have; its own exit code and its last words are passed on."""

    def __init__(self, child: Child) -> None:
        code = child.process.poll()
        said = child.log.read_text(errors="replace").splitlines()
        words = "\n".join([line for line in said if INFO not in line][-5:])
        super().__init__(f"the {child.name} ended with {code}; it said:\n{words}")
        self.exit_code = code if code is not None and code > 0 else 1


class Child:
    """An `edge` command as a process group of its own, so that Ctrl-C reaches it through its parent alone."""

    def __init__(self, name: str, arguments: list[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "edge.cli", *arguments]
        environment = os.environ | {"NOTIFY_SOCKET": str(notify_path(folder))}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, process_group=0)

    def check(self) -> None:
        """Raises Ended where it failed, or where the daemon ended at all."""
        if self.process.poll() or (self.name == "daemon" and self.process.poll() is not None):
            raise Ended(self)

    def stop(self) -> None:
        """Ask it to end, and whatever it started; insist after ten seconds or at a second Ctrl-C."""
        try:
            self._signal(signal.SIGTERM)
            self.process.wait(STOP_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


@contextmanager
def running(name: str, arguments: list[str], folder: Path) -> Iterator[Child]:
    child = Child(name, arguments, folder)
    try:
        yield child
    finally:
        child.stop()


def notify_path(folder: Path) -> Path:
    return folder / "notify"


@contextmanager
def daemon(config: Path, folder: Path) -> Iterator[tuple[Child, socket.socket]]:
    """`edge run`, and the socket that it says READY on, as it does to systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(notify_path(folder)))
        with running("daemon", ["run", "--config", str(config)], folder) as child:
            yield child, notified


def wait_ready(child: Child, notified: socket.socket, say: Callable[[str], None]) -> None:
    """Until the daemon has repeated its golden frames; say: told what it logs. Raises Ended."""
    notified.settimeout(0.1)
    ready = False
    with child.log.open(errors="replace") as log:
        while not ready:
            with suppress(TimeoutError):
                ready = b"READY=1" in notified.recv(4096)
            for line in log:
                if INFO in line:
                    say(line.split(INFO, 1)[1].rstrip())
            child.check()


def write_line(line: Line, folder: Path, surfaces: list[str], engine: EngineName | None) -> Path:
    """The line with these judges alone, on sockets in the folder."""
    config = msgspec.structs.replace(
        line.config,
        frames=f"ipc://{folder}/frames",
        verdicts=f"ipc://{folder}/verdicts",
        bundles=str(line.bundles),
        engine=engine or line.config.engine,
        metrics_port=0,
        journal=_own(line.config.journal, folder),
        drift=_found(line.config.drift, line.path.parent),
        judges={surface: line.config.judges[surface] for surface in surfaces},
        security=None,  # its paths are relative to the line's file; the sockets are in a folder of this user's alone
    )
    return write_config(config, folder)


def _own(journal: JournalConfig | None, folder: Path) -> JournalConfig | None:
    """The line's, in a folder of its own: its daemon may be running beside this one."""
    return journal and msgspec.structs.replace(journal, folder=str(folder / "journal"), replay=None)


def _found(drift: DriftConfig | None, folder: Path) -> DriftConfig | None:
    """The line's, with its reference where it lies."""
    if drift is None or drift.reference is None:
        return drift
    return msgspec.structs.replace(drift, reference=str((folder / drift.reference).resolve()))


def write_config(config: LineConfig, folder: Path) -> Path:
    path = folder / "line.toml"
    path.write_text(tomli_w.dumps(without_none(msgspec.to_builtins(config))))
    return path


def without_none(table: dict[str, Any]) -> dict[str, Any]:
    """TOML has no word for nothing."""
    return {
        key: without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }
