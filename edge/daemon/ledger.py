"""What happens to a verdict when it is made: it is published, and where the line has a journal it is written there,
before (durable) or soon after (fast)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Protocol

import msgspec

from edge.bus.guard import Guard
from edge.bus.verdicts import VerdictOutlet, message
from edge.config import Line
from edge.daemon.durable import Durable
from edge.daemon.kept import Due, Kept, Late, Told, never_due, never_late
from edge.errors import JournalError
from edge.journal.flusher import GROUP_S
from edge.journal.writer import Journal, open_journal


class Ledger(Protocol):
    """waits: publishing may take a disk's time. error: why the line has to stop, as its journal's policy has it.
    threads: its own, which end with `close`."""

    waits: bool
    threads: list[Thread]
    error: JournalError | None

    @property
    def journal(self) -> Journal | None: ...

    def publish(self, told: Sequence[Told], late: Late[Told] = never_late, due: Due[Told] = never_due) -> list[Told]:
        """As they were published: with their positions, and where the policy has it rejected. told: the most urgent
        first. late: what is to be told in a verdict's place where its deadline has passed by now, else None; asked just
        before each is sent. due: its deadline, of perf_counter_ns."""
        ...

    def tick(self) -> None:
        """Now and then, while nothing happens too."""
        ...

    def close(self) -> None: ...


class NoJournal:
    waits = False
    error: JournalError | None = None
    journal: Journal | None = None

    def __init__(self, outlet: VerdictOutlet) -> None:
        self._outlet = outlet
        self.threads: list[Thread] = []

    def publish(self, told: Sequence[Told], late: Late[Told] = never_late, due: Due[Told] = never_due) -> list[Told]:
        published = list[Told]()
        for verdict in told:
            published.append(late(verdict) or verdict)
            self._outlet.publish(*message(published[-1]))
        return published

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


class Fast(Kept):
    """Published at once, on the disk within some ten milliseconds."""

    waits = False

    def __init__(self, journal: Journal, outlet: VerdictOutlet, session: str, guard: Guard | None) -> None:
        super().__init__(journal, outlet, session, guard, GROUP_S)

    def publish(self, told: Sequence[Told], late: Late[Told] = never_late, due: Due[Told] = never_due) -> list[Told]:
        state = self.journal.state
        self._tell(state)  # what verdicts are refused for is said, even where the disk is sound again by the next tick
        published = []
        for verdict in told:
            placed = msgspec.structs.replace(late(verdict) or verdict, journal=self.journal.next_position)
            placed = placed if state.writing else self.refused(placed, state.why)
            topic, body = message(placed)
            self._outlet.publish(topic, body)
            self.journal.append(topic, body)
            published.append(placed)
        return published


def open_ledger(
    line: Line, outlet: VerdictOutlet, session: str, guard: Guard | None, others_due: Callable[[], int]
) -> Ledger:
    """As the line's [journal] has it; others_due: as Durable has it. Raises JournalError, BusError."""
    config = line.config.journal
    if config is None:
        return NoJournal(outlet)
    journal = open_journal(line, config)
    if config.mode == "durable":
        return Durable(journal, outlet, session, guard, others_due)
    return Fast(journal, outlet, session, guard)
