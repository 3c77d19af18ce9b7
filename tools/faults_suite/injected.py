"""The daemon in a process of its own, with faults that it is told of on stdin: `edge run`, and nothing but its engines,
its journal's disk and its clock made to fail.

    python -m tools.faults_suite.injected line.toml

A command is a line of JSON, `{"do": "hang"}`; each is answered by a line on stdout once it holds.
"""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from edge.config import JournalConfig, Line, read_line
from edge.daemon import ledger, server
from edge.daemon.logs import set_up
from edge.errors import EdgeError
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Pipeline
from edge.journal.writer import Journal
from tests.journal.journals import SlowDisk
from tests.sessions import FaultySession

real_time_ns = time.time_ns


class FaultyDisk(SlowDisk):
    """One that is told in the midst of it."""

    def fail(self, nth: int, count: int, number: int) -> None:
        """From the nth call from now on, so many. number: an errno."""
        first = self.calls + nth - 1
        self.fails, self.number = range(first, first + count), number


class Faults:
    """What can be made to fail in this process."""

    def __init__(self) -> None:
        self.gates: list[FaultySession] = []
        self.judges: list[FaultySession] = []
        self.disk = FaultyDisk()
        self.ahead_ns = 0

    def open_pipeline(self, line: Line, say: Callable[[str], None]) -> Pipeline:
        pipeline = open_pipeline(line, say)
        self.gates, self.judges = [], []
        for model in pipeline.models:
            faulty = FaultySession(model.session)
            model.session = faulty
            own = self.gates if pipeline.gate and model is pipeline.gate.model else self.judges
            own.append(faulty)
        return pipeline

    def open_journal(self, line: Line, config: JournalConfig) -> Journal:
        return Journal((line.path.parent / config.folder).resolve(), line.config.line, config, self.disk)

    def time_ns(self) -> int:
        return real_time_ns() + self.ahead_ns

    def tell(self, do: str, value: float = 0.0, nth: int = 1, count: int = 0, number: int = errno.ENOSPC) -> int:
        """Returns how often the disk was asked for something so far."""
        engines = self.gates if do.startswith("gate_") else self.judges
        for session in engines:
            match do.removeprefix("gate_"):
                case "hang":
                    session.go_on.clear()
                case "die":
                    session.failure = SystemExit()
                case "raise":
                    session.failure = RuntimeError("x" * int(value))
                case "answer":
                    session.answer = value
                case "slow":
                    session.slow_s = value
                case "sound":
                    session.failure = session.answer = None
                    session.go_on.set()
        match do:
            case "clock":
                self.ahead_ns = int(value * 1e9)
            case "disk":
                self.disk.fail(nth, count, number)
            case "slow_disk":
                self.disk.slow_s = value
        return self.disk.calls

    def listen(self) -> None:
        for line in sys.stdin:
            print(self.tell(**json.loads(line)), flush=True)


def main(config: Path) -> int:
    line, faults = read_line(config), Faults()
    set_up("text", line.config.line)
    setattr(server, "open_pipeline", faults.open_pipeline)  # noqa: B010  # its own name for it
    setattr(ledger, "open_journal", faults.open_journal)  # noqa: B010  # as above
    time.time_ns = faults.time_ns
    Thread(target=faults.listen, daemon=True).start()
    try:
        server.run(line)
    except EdgeError as error:
        print(f"run: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
