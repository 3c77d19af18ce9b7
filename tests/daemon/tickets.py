"""Headers and tickets of one-pixel frames, and a line's journal on a disk of the test's own."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any

import pytest

from edge.config import JournalConfig, Line
from edge.daemon.ticket import Ticket
from edge.journal.disk import Disk
from edge.journal.writer import Journal
from edge.records import FrameHeader


def header(number: int = 0, **fields: Any) -> FrameHeader:
    return FrameHeader(
        session="c",
        seq=number,
        trigger_id=f"t{number}",
        shape=(1, 1),
        dtype="uint8",
        pixel_format="Mono8",
        encoding="raw",
        nbytes=1,
        **fields,
    )


def ticket(number: int, deadline_ms: float, camera: str = "cam0") -> Ticket:
    """Received now."""
    now = perf_counter_ns()
    return Ticket(number, now, camera, header(number, part_id="p0"), now + int(deadline_ms * 1e6))


def journals_on(disk: Disk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever line is opened next writes its journal there."""

    def open_on_disk(line: Line, config: JournalConfig) -> Journal:
        return Journal(folder / "journal", line.config.line, config, disk)

    monkeypatch.setattr("edge.daemon.ledger.open_journal", open_on_disk)
