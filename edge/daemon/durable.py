"""Verdicts that are on the disk before they leave, and what leaves where the disk is too slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from time import perf_counter_ns

import msgspec

from edge.bus.guard import Guard
from edge.bus.verdicts import VerdictOutlet, message
from edge.daemon.kept import Due, Kept, Late, Told, never_due, never_late
from edge.journal.reader import END
from edge.journal.writer import STALLED_S, USUAL, Journal
from edge.records import Evaluation, PartVerdict, Verdict

# How long a disk has for what is fail-safe after its deadline, and for those before one that is due; at most the latter
# where the disk itself takes longer.
GRACE_NS, MOST_GRACE_NS = 15_000_000, 100_000_000


class Durable(Kept):
    """On the disk first. All that is published at once costs one write and one sync. What has to leave before the disk
    can have answered, as it has been lately, is written as it leaves: not durable, as the policy has it. A disk that
    has not answered in time all the same is not waited for: the verdict leaves as late, and goes to the disk anew, as
    it left; those behind it for which that takes too long leave with it, else each were late by what the one before it
    was.

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
        patient = now if self.journal.stalls else now + GRACE_NS
        dues = _no_later_than_those_behind([_until(made, due(made), patient) for made in told])
        placed = [self._as_written(made, first + n, dues[n] >= soonest) for n, made in enumerate(told)]
        messages = list(map(message, placed))
        self.journal.append_all(messages)
        gives_up = now + int(2e9 * STALLED_S)  # a silent disk is one that fails before that
        for place, due_ns in enumerate(dues):
            waits_until = min(due_ns, gives_up) if due_ns >= soonest else now
            leaves = self._as_it_leaves(placed[place], waits_until, late)
            if leaves is not placed[place]:
                placed[place], messages[place] = leaves, message(leaves)
                self.journal.replace(first + place, *messages[place])
                soonest = self._soonest_ns()  # those behind it go to the disk anew with it
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
        usual_ns = 0 if self.journal.stalls else int(1e9 * USUAL * self.journal.pace_s)
        return self._others_due() + max(GRACE_NS, min(usual_ns, MOST_GRACE_NS))


def _until(made: Verdict | PartVerdict, due_ns: int, patient_ns: int) -> int:
    """Until when it may wait for a disk; what is fail-safe for a moment after its deadline, if the disk answers."""
    return max(due_ns, patient_ns) if made.evaluation == Evaluation.UNDEFINED else due_ns


def _no_later_than_those_behind(dues: list[int]) -> list[int]:
    return list(accumulate(reversed(dues), min))[::-1]
