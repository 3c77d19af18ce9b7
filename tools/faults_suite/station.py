"""A real daemon on the small line: its process, its sockets, its journal; a camera and a subscriber beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.bus.camera import Camera
from edge.errors import EdgeError
from tests.lines import DARK, write_line

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 60.0
STOP_S = 30.0
NAME = "small"


class NotReady(EdgeError):
    """The daemon did not come up, or ended by itself."""


class Station:
    """folder: a short path of its own. config: its line.toml. injected: with faults that it can be told of."""

    def __init__(self, models: Path, folder: Path, *tables: str, injected: bool = False) -> None:
        """tables: TOML after the first keys; the judge of `dark` is given."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.folder, self.injected = folder, injected
        self.config = write_line(folder, models, *tables, DARK, name=NAME)
        self.log = folder / "daemon.log"
        self.frames, self.verdicts = f"ipc://{folder}/frames", f"ipc://{folder}/verdicts"
        self.replay, self.journal = f"ipc://{folder}/replay", folder / "journal"
        self._process: subprocess.Popen[str] | None = None

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, "start it first"
        return self._process

    def launch(self) -> None:
        """The process, without waiting for it."""
        module = ["tools.faults_suite.injected"] if self.injected else ["edge.cli", "run", "--config"]
        notify = self.folder / "notify"
        notify.unlink(missing_ok=True)
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(str(notify))
        self._process = subprocess.Popen(
            [sys.executable, "-m", *module, str(self.config)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
            env=os.environ | {"NOTIFY_SOCKET": str(notify)},
            process_group=0,  # Ctrl-C is for the suite; it ends its daemons itself
        )

    def wait_ready(self) -> None:
        """Raises NotReady with its last words."""
        self._systemd.settimeout(0.2)
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(TimeoutError):
                if self._systemd.recv(4096).startswith(b"READY=1"):
                    self._systemd.close()
                    return
        self.kill()
        raise NotReady(f"the daemon was not ready within {START_S:g} s; it said: {self.last_words()}")

    def start(self) -> float:
        """Seconds until it was ready. Raises NotReady."""
        began = time.monotonic()
        self.launch()
        self.wait_ready()
        return time.monotonic() - began

    def tell(self, do: str, **more: float) -> int:
        """Returns once the fault holds. Raises NotReady where the daemon has ended."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self.process.stdin.flush()
            return int(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            raise NotReady(f"the daemon has ended; it said: {self.last_words()}") from error

    def kill(self) -> None:
        """SIGKILL."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        if self._process:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    with suppress(OSError):
                        pipe.close()
            self._systemd.close()

    def stop(self) -> tuple[int | None, float]:
        """SIGTERM; its exit code (None where it had to be killed after STOP_S) and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        code = self.process.poll()
        self.kill()
        return code, time.monotonic() - began

    def camera(self, name: str = "cam0") -> Camera:
        return Camera(self.frames, NAME, name, patience_s=20)

    def last_words(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-3:])

    def alive(self) -> bool:
        return self.process.poll() is None

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextmanager
def running(station: Station) -> Iterator[Station]:
    """From ready on; whatever happens, nothing of it is left."""
    try:
        station.start()
        yield station
    finally:
        station.kill()
