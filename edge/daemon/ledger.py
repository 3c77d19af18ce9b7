"""What happens to a verdict when it is made: it is published, and where the line has a journal it is written there,
before (durable) or soon after (fast)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from threading import Thread
from time import perf_counter_ns
from typing import Protocol, TypeVar

import msgspec

from edge.bus.guard import Guard
from edge.bus.replay import ReplayService
from edge.bus.verdicts import VerdictOutlet, message
from edge.config import Line
from edge.errors import JournalError
from edge.journal.entries import JournalState
from edge.journal.flusher import GROUP_S, Flusher
from edge.journal.reader import END, Reader
from edge.journal.writer import STALLED_S, Journal, open_journal
from edge.records import Evaluation, PartVerdict, Verdict

log = logging.getLogger("edge")
STATE_S, LAST_WRITE_S = 1.0, 3.0
# How long a disk has for what is fail-safe after its deadline, and for those before one that is due; at most the latter
# where the disk itself takes longer.
GRACE_NS, MOST_GRACE_NS, USUAL = 15_000_000, 100_000_000, 1.5

Told = TypeVar("Told", Verdict, PartVerdict)
Late = Callable[[Told], Told | None]
Due = Callable[[Told], int]


def never_late(_: object) -> None:
    """Of what has no deadline."""


def never_due(*_: object) -> int:
    """Of what may wait for a disk for as long as any disk takes that still works."""
    return END


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


class Kept:
    """What both ways of publishing with a journal share."""

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
        written = self._flusher.close(LAST_WRITE_S)
        if self._service:
            self._service.close()
        if not written:
            journal = self.journal
            lost = f"{journal.next_position - journal.durable} verdicts, from position {journal.durable} on"
            log.error("%s: the disk does not answer; %s, were published and are not in it", journal.folder, lost)
            return
        try:
            self.journal.close()
        except JournalError as error:
            log.error("at the end: %s", error)


class Durable(Kept):
    """On the disk first. All that is published at once costs one write and one sync. What has to leave before the disk
    can have answered, as it has been lately, is written as it leaves: not durable, and so never OK. A disk that has not
    answered in time all the same is not waited for: the verdict leaves as late, and goes to the disk anew, as it left;
    those behind it for which that takes too long leave with it, else each were late by what the one before it was.

    What a crash leaves on the disk before that is replayed as it was decided, in time, though it left as late; so it
    stays too where the disk refuses both the cut and a new segment, and nothing is written after that.
    """

    waits = True

    def __init__(
        self,
        journal: Journal,
        outlet: VerdictOutlet,
        session: str,
        guard: Guard | None,
        others_due: Callable[[], int] = never_due,
    ) -> None:
        """others_due: the first deadline of those that will be published after these, of perf_counter_ns."""
        super().__init__(journal, outlet, session, guard, group_s=0.0)
        self._others_due = others_due

    def publish(self, told: Sequence[Told], late: Late[Told] = never_late, due: Due[Told] = never_due) -> list[Told]:
        self._unsent = first = self.journal.next_position
        now, soonest = perf_counter_ns(), self._soonest_ns()
        dues = _no_later_than_those_behind([_until(made, due(made), now) for made in told])
        placed = [self._as_written(made, first + n, dues[n] >= soonest) for n, made in enumerate(told)]
        messages = list(map(message, placed))
        self.journal.append_all(messages)
        gives_up = now + int(2e9 * STALLED_S)  # a silent disk is one that fails before that
        for place, due_ns in enumerate(dues):
            leaves = self._as_it_leaves(placed[place], min(due_ns, gives_up) if due_ns >= soonest else now, late)
            if leaves is not placed[place]:
                placed[place], messages[place] = leaves, message(leaves)
                self.journal.replace(first + place, *messages[place])
                soonest = self._soonest_ns()
            self._outlet.publish(*messages[place])
        self._unsent = END
        return placed

    def _soonest_ns(self) -> int:
        return perf_counter_ns() + int(1e9 * self.journal.soonest_s)

    def _as_written(self, made: Told, position: int, sure: bool) -> Told:
        """sure: the disk may have it before it has to leave."""
        placed = msgspec.structs.replace(made, journal=position, durable=sure)
        return placed if sure else self.refused(placed, self.journal.why)

    def _as_it_leaves(self, verdict: Told, due_ns: int, late: Late[Told]) -> Told:
        sure = not verdict.durable or self._flusher.wait(verdict.journal or 0, lambda: min(due_ns, self._behind_ns()))
        if told_late := late(verdict):
            return msgspec.structs.replace(told_late, journal=verdict.journal, durable=False)
        if sure:
            return verdict
        state = self.journal.state
        self._tell(state)  # what they are refused for is said before them
        return self.refused(msgspec.structs.replace(verdict, durable=False), state.why)

    def _behind_ns(self) -> int:
        """Until when those have to leave that are not here yet: longer where the disk is slow, and no slower than it
        has been."""
        usual_s = USUAL * self.journal.pace_s
        grace_ns = 0 if self.journal.at_it_s > usual_s else min(int(1e9 * usual_s), MOST_GRACE_NS)
        return self._others_due() + max(GRACE_NS, grace_ns)


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


def _until(made: Verdict | PartVerdict, due_ns: int, now: int) -> int:
    """Until when it may wait for a disk; what is fail-safe for a moment after its deadline."""
    return max(due_ns, now + GRACE_NS) if made.evaluation == Evaluation.UNDEFINED else due_ns


def _no_later_than_those_behind(dues: list[int]) -> list[int]:
    return list(accumulate(reversed(dues), min))[::-1]


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
