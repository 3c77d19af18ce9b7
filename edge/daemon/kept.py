"""What both ways of publishing with a journal share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

import msgspec

from edge.bus.guard import Guard
from edge.bus.replay import ReplayService
from edge.bus.verdicts import VerdictOutlet, message
from edge.errors import JournalError
from edge.journal.entries import JournalState
from edge.journal.flusher import Flusher
from edge.journal.reader import END, Reader
from edge.journal.writer import Journal
from edge.records import Evaluation, PartVerdict, Verdict

log = logging.getLogger("edge")
STATE_S, LAST_WRITE_S = 1.0, 3.0

Told = TypeVar("Told", Verdict, PartVerdict)
Late = Callable[[Told], Told | None]
Due = Callable[[Told], int]


def never_late(_: object) -> None:
    """Of what has no deadline."""


def never_due(*_: object) -> int:
    """Of what may wait for a disk for as long as any disk takes that still works."""
    return END


class Kept:
    """The journal's thread, its state as it is told, replays, and the end."""

    def __init__(
        self, journal: Journal, outlet: VerdictOutlet, session: str, guard: Guard | None, group_s: float
    ) -> None:
        """guard: lets in whom the line allows to subscribe; None: everyone. group_s: as the Flusher has it."""
        self.journal: Journal = journal
        self.error: JournalError | None = None
        self._outlet = outlet
        self._told, self._writing = 0.0, True
        self._unsent = END  # from this position on nothing has left yet, whether it is on the disk or not
        replay, reader = journal.config.replay, Reader(journal.folder)
        self._service = ReplayService(replay, reader, session, self._replayable, guard) if replay else None
        self._flusher = Flusher(journal, group_s)
        self.threads: list[Thread] = [self._flusher.thread, *([self._service.thread] if self._service else [])]

    def _replayable(self) -> JournalState:
        """Nobody has a verdict by a replay before it was sent, nor other than it was."""
        state = self.journal.state
        unsent = self._unsent  # the other way round one might be made in between
        told = self.journal.durable  # last: what was told otherwise is not durable before it is sent
        return msgspec.structs.replace(state, durable=min(state.durable, unsent, told))

    def refused(self, verdict: Told, why: str) -> Told:
        """As the policy has it where it is not sure to be kept: that is never OK. Undefined it stays for its own
        reason. why: of the journal's state; nothing of a disk that is too slow for this one."""
        if self.journal.config.full == "flag" or verdict.evaluation == Evaluation.UNDEFINED:
            return verdict
        detail = f"the journal cannot be written: {why}" if why else "the journal's disk is too slow for its deadline"
        return msgspec.structs.replace(
            verdict, evaluation=int(Evaluation.UNDEFINED), reason="not_journaled", detail=detail, fail_safe=True
        )

    def tick(self) -> None:
        """The journal's state, once a second and whenever it changes."""
        self._tell(self.journal.state)

    def _tell(self, state: JournalState) -> None:
        if state.writing is not self._writing:
            self._say(state)
        if state.writing is not self._writing or time.monotonic() - self._told >= STATE_S:
            self._told, self._writing = time.monotonic(), state.writing
            self._outlet.publish(*message(state))

    def _say(self, state: JournalState) -> None:
        """What changed, in the log; and where the policy has it, the line's end."""
        folder = self.journal.folder
        if state.writing:
            log.warning("the journal %s is written again; %d verdicts are lost", folder, state.lost)
            return
        log.error("the journal %s cannot be written: %s", folder, state.why)
        if state.full == "stop" and self.error is None:
            self.error = JournalError(
                f"{folder} cannot be written: {state.why}; make room, or see to the disk; "
                'the line stops, as [journal] full = "stop" has it'
            )

    def close(self) -> None:
        """What waits is written first, by a disk that answers."""
        written, journal = self._flusher.close(LAST_WRITE_S), self.journal
        if not written:
            lost = f"{journal.next_position - journal.durable} verdicts, from position {journal.durable} on"
            log.error("%s: the disk does not answer; %s, are not in it as they left", journal.folder, lost)
        if self._service:
            self._service.close()
        if not written:
            return
        try:
            self.journal.close()
        except JournalError as error:
            log.error("at the end: %s", error)
