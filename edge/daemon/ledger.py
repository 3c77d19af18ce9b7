"""What happens to a verdict when it is made: it is published, and where the line has a journal it is written there,
before (durable) or soon after (fast)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Protocol, TypeVar

import msgspec

from edge.bus.guard import Guard
from edge.bus.replay import ReplayService
from edge.bus.verdicts import VerdictOutlet, message
from edge.config import Line
from edge.errors import JournalError
from edge.journal.entries import JournalState
from edge.journal.flusher import Flusher
from edge.journal.reader import END, Reader
from edge.journal.writer import Journal, open_journal
from edge.records import Evaluation, PartVerdict, Verdict

log = logging.getLogger("edge")
STATE_S = 1.0

Told = TypeVar("Told", Verdict, PartVerdict)


def never_late(_: object) -> None:
    """Of what has no deadline."""


class Ledger(Protocol):
    """waits: publishing may take a disk's time. error: why the line has to stop, as its journal's policy has it.
    threads: its own, which end with `close`."""

    waits: bool
    threads: list[Thread]
    error: JournalError | None

    @property
    def journal(self) -> Journal | None: ...

    def publish(self, told: Sequence[Told], late: Callable[[Told], Told | None] = never_late) -> list[Told]:
        """As they were published: with their positions, and where the policy has it rejected. late: what is to be told
        in a verdict's place where its deadline has passed by now, else None; asked just before each is sent."""
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

    def publish(self, told: Sequence[Told], late: Callable[[Told], Told | None] = never_late) -> list[Told]:
        published = list[Told]()
        for verdict in told:
            published.append(late(verdict) or verdict)
            self._outlet.publish(*message(published[-1]))
        return published

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


class Kept:
    """What both ways of publishing with a journal share."""

    def __init__(self, journal: Journal, outlet: VerdictOutlet, session: str, guard: Guard | None) -> None:
        """guard: lets in whom the line allows to subscribe; None: everyone."""
        self.journal: Journal = journal
        self.error: JournalError | None = None
        self._outlet = outlet
        self._told, self._writing = 0.0, True
        self._unsent = END  # from this position on nothing has left yet, whether it is on the disk or not
        replay, reader = journal.config.replay, Reader(journal.folder)
        self._service = ReplayService(replay, reader, session, self._replayable, guard) if replay else None
        self.threads: list[Thread] = [self._service.thread] if self._service else []

    def _replayable(self) -> JournalState:
        """Nobody has a verdict by a replay before it was sent."""
        state, unsent = self.journal.state, self._unsent  # the other way round one might be made in between
        return msgspec.structs.replace(state, durable=min(state.durable, unsent))

    def refused(self, verdict: Told, why: str) -> Told:
        """As the policy has it while the journal cannot be written. Nothing that is not sure to be kept is OK."""
        if self.journal.config.full == "stop" and self.error is None:
            self.error = JournalError(f'{why}; the line stops, as [journal] full = "stop" has it')
        if self.journal.config.full == "flag":
            return verdict
        detail = f"the journal cannot be written: {why}"
        return msgspec.structs.replace(
            verdict, evaluation=int(Evaluation.UNDEFINED), reason="not_journaled", detail=detail, fail_safe=True
        )

    def tick(self) -> None:
        """The journal's state, once a second and whenever it changes."""
        self._tell(self.journal.state)

    def _tell(self, state: JournalState) -> None:
        if state.writing is not self._writing or time.monotonic() - self._told >= STATE_S:
            self._told, self._writing = time.monotonic(), state.writing
            self._outlet.publish(*message(state))

    def close(self) -> None:
        """What waits is written first."""
        if self._service:
            self._service.close()
        try:
            self.journal.close()
        except JournalError as error:
            log.error("at the end: %s", error)


class Durable(Kept):
    """On the disk first. All that is published at once costs one write and one sync; where they took until after a
    deadline, what was not sent yet is taken off the disk, and goes there anew as it can still be told.

    What a crash leaves on the disk unsent is replayed as it was decided, in time; and so it stays there where the disk
    refuses both the cut and a new segment, and nothing is written after that.
    """

    waits = True

    def publish(self, told: Sequence[Told], late: Callable[[Told], Told | None] = never_late) -> list[Told]:
        self._unsent = self.journal.next_position
        published = self._commit([self._append(verdict) for verdict in told])
        for place in range(len(published)):
            if late(published[place]):
                published[place:] = self._anew(published[place:], late)
            self._outlet.publish(*message(published[place]))
        self._unsent = END
        return published

    def _commit(self, told: list[Told]) -> list[Told]:
        try:
            self.journal.commit()
        except JournalError as error:
            told = [self._again(verdict, str(error)) for verdict in told]
            self._tell(self.journal.state)  # what they are refused for is said before them
        return told

    def _anew(self, unsent: list[Told], late: Callable[[Told], Told | None]) -> list[Told]:
        """Some are late by now: the same positions hold what can still be told."""
        if unsent[0].durable:
            self.journal.take_back(unsent[0].journal or 0)
        told = [self._instead(verdict, late(verdict)) for verdict in unsent]
        return self._commit(told) if unsent[0].durable else told  # a disk that has just failed is not tried again

    def _instead(self, verdict: Told, late: Told | None) -> Told:
        if late is None:
            return verdict
        placed = msgspec.structs.replace(late, journal=verdict.journal, durable=verdict.durable)
        self.journal.replace(verdict.journal or 0, *message(placed))
        return placed

    def _append(self, verdict: Told) -> Told:
        placed = msgspec.structs.replace(verdict, journal=self.journal.next_position, durable=True)
        self.journal.append(*message(placed))
        return placed

    def _again(self, verdict: Told, why: str) -> Told:
        """As it is published now, and as the journal is to hold it once it can."""
        refused = self.refused(msgspec.structs.replace(verdict, durable=False), why)
        self.journal.replace(verdict.journal or 0, *message(refused))
        return refused

    def tick(self) -> None:
        if self.journal.appended.is_set() and time.monotonic() - self._told >= STATE_S:
            try:
                self.journal.commit()
            except JournalError as error:
                log.debug("%s", error)  # the state tells
        super().tick()


class Fast(Kept):
    """Published at once, on the disk within some ten milliseconds."""

    waits = False

    def __init__(self, journal: Journal, outlet: VerdictOutlet, session: str, guard: Guard | None) -> None:
        super().__init__(journal, outlet, session, guard)
        self._flusher = Flusher(journal)
        self.threads.append(self._flusher.thread)

    def publish(self, told: Sequence[Told], late: Callable[[Told], Told | None] = never_late) -> list[Told]:
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

    def close(self) -> None:
        self._flusher.close()
        super().close()


def open_ledger(line: Line, outlet: VerdictOutlet, session: str, guard: Guard | None) -> Ledger:
    """As the line's [journal] has it. Raises JournalError, BusError."""
    config = line.config.journal
    if config is None:
        return NoJournal(outlet)
    kind = Durable if config.mode == "durable" else Fast
    return kind(open_journal(line, config), outlet, session, guard)
