"""Tickets of one-pixel frames, and a line's journal on a disk of the test's own."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns

import pytest

from edge.config import JournalConfig, Line
from edge.daemon.ticket import Ticket
from edge.journal.disk import Disk
from edge.journal.writer import Journal
from edge.records import FrameHeader


def ticket(number: int, deadline_ms: float, camera: str = "cam0") -> Ticket:
    """Received now."""
    now = perf_counter_ns()
    header = FrameHeader(
        session="c",
        seq=number,
        trigger_id=f"t{number}",
        part_id="p0",
        shape=(1, 1),
        dtype="uint8",
        pixel_format="Mono8",
        encoding="raw",
        nbytes=1,
    )
    return Ticket(number, now, camera, header, now + int(deadline_ms * 1e6))


def journals_on(disk: Disk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever line is opened next writes its journal there."""

    def open_on_disk(line: Line, config: JournalConfig) -> Journal:
        return Journal(folder / "journal", line.config.line, config, disk)

    monkeypatch.setattr("edge.daemon.ledger.open_journal", open_on_disk)
