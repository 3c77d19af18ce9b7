"""The last stage: one verdict for every ticket, as they are done; of those that wait for a disk the most urgent first.
It alone numbers and sends."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from threading import Lock, Thread
from time import perf_counter_ns
from typing import TYPE_CHECKING

from edge.bus.guard import Guard
from edge.bus.verdicts import VerdictOutlet, message
from edge.config import Line
from edge.daemon.deadline import CaptureClock
from edge.daemon.gallery import open_gallery
from edge.daemon.inspector import Inspector
from edge.daemon.ledger import open_ledger
from edge.daemon.logs import about
from edge.daemon.parts import PartDesk
from edge.daemon.shadow import Shadow
from edge.daemon.ticket import Belt, Found, Ticket, undefined
from edge.drift.drift import Drift
from edge.errors import EdgeError
from edge.inspection.verdict import make_verdict
from edge.journal.reader import END
from edge.journal.writer import Journal
from edge.records import Alarm, Evaluation, PartVerdict, Verdict

if TYPE_CHECKING:
    from edge.daemon.metrics import Metrics

log = logging.getLogger("edge")


class Publisher(Thread):
    """beat_ns: when it last went round. seq: the next verdict's number. missing: frames that never came. error: why
    the line has to stop. shadow: engines that see each frame after it was answered."""

    def __init__(
        self,
        line: Line,
        belt: Belt[Inspector],
        verdicts: VerdictOutlet,
        clock: CaptureClock,
        metrics: Metrics | None = None,
        drift: Drift | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Raises JournalError, BusError."""
        super().__init__(name="publisher", daemon=True)
        self.beat_ns = perf_counter_ns()
        self.session, self.seq, self.missing = uuid.uuid4().hex[:12], 0, 0
        self.line, self._belt, self._verdicts, self._clock = line, belt, verdicts, clock
        self._metrics, self._drift = metrics, drift
        self._ledger = open_ledger(line, verdicts, self.session, guard, belt.earliest_deadline_ns)
        self._parts = PartDesk(line, line.config.parts, self.session) if line.config.parts else None
        self._gallery = open_gallery(line)
        self.shadow: Shadow | None = None
        self._sending = Lock()
        self._stopping = False

    def run(self) -> None:
        while not self._stopping or self._belt.depths()["open"]:
            self.beat_ns = perf_counter_ns()
            self._answer(self._belt.collect())
        if self._parts:
            self._publish_parts(self._parts.close())
        self._ledger.close()
        if self._gallery:
            self._gallery.close()

    def stop(self) -> None:
        """It ends once every ticket is answered."""
        self._stopping = True

    def adopt(self, line: Line, drift: Drift | None) -> None:
        """Another file and other models of the same line, from the next frame on. Alarms that stand are over: whether
        frames are unlike what is good now, is watched anew."""
        with self._sending:
            self._alarm(self._drift.end() if self._drift else [])
            self.line, self._drift = line, drift
            if self._parts:
                self._parts.line = line

    @property
    def error(self) -> EdgeError | None:
        return self._ledger.error

    @property
    def threads(self) -> list[Thread]:
        """Itself, and those without which not all that it publishes is kept, or can be read again."""
        return [self, *self._ledger.threads, *([self._gallery.thread] if self._gallery else [])]

    @property
    def journal(self) -> Journal | None:
        return self._ledger.journal

    def finish(self, found: Sequence[Found]) -> None:
        """What the engines' thread found: answered by that thread while the line is calm and no disk is waited for."""
        if not self._ledger.waits:
            self._answer(self._belt.finish_and_collect(found))
            return
        for ticket, inspection in found:
            self._belt.finish(ticket, inspection)

    def _answer(self, tickets: list[Ticket]) -> None:
        """One thread at a time."""
        with self._sending:
            self._verdicts.shut_out_revoked()
            if tickets:
                if self._ledger.waits:
                    tickets.sort(key=lambda ticket: ticket.deadline_ns or END)  # the most urgent first
                asked = {self.seq + place: ticket for place, ticket in enumerate(tickets)}
                made = [self._verdict(ticket) for ticket in tickets]
                published = self._ledger.publish(
                    made,
                    lambda verdict: self._late(asked[verdict.seq], verdict),
                    lambda verdict: asked[verdict.seq].deadline_ns or END,
                )
                answered = zip(tickets, published, strict=True)
                for ticket, verdict in sorted(answered, key=lambda pair: pair[0].number):
                    self._after(ticket, verdict)
            if self._parts:
                self._publish_parts(self._parts.expire(self._belt.oldest_ns()))
            self._ledger.tick()

    def _after(self, ticket: Ticket, verdict: Verdict) -> None:
        """What may take its time, now that the verdict has left."""
        if self._parts:
            self._publish_parts(self._parts.add(verdict, ticket.received_ns))
        if self._metrics:
            self._metrics.count(verdict, ticket.missing)
        if verdict.detail and verdict.evaluation == Evaluation.UNDEFINED:
            trigger = verdict.trigger_id or "-"
            log.warning("%s %s: %s", verdict.camera, trigger, verdict.detail, extra=about(verdict))
        if self._gallery:
            self._gallery.see(ticket, verdict)
        if self._drift and ticket.frame is not None:
            self._alarm(self._drift.see(ticket.camera, ticket.frame, ticket.inspection))
        shadow = self.shadow
        if shadow and ticket.frame is not None:
            shadow.see(ticket.frame, ticket.inspection)
        ticket.frame = ticket.data = None

    def _alarm(self, alarms: list[Alarm]) -> None:
        for alarm in alarms:
            self._verdicts.publish(*message(alarm))
            if self._metrics:
                self._metrics.alarm(alarm)
            log.log(logging.WARNING if alarm.raised else logging.INFO, "%s", alarm.detail, extra=about(alarm))

    def _verdict(self, ticket: Ticket) -> Verdict:
        seq, self.seq, self.missing = self.seq, self.seq + 1, self.missing + ticket.missing
        return self._made(ticket, seq)

    def _late(self, ticket: Ticket, verdict: Verdict) -> Verdict | None:
        """What is to be told in its place where a disk, or whoever had the processor, took until after its deadline;
        None where it may leave. Late is never OK, and never NotOK: nobody acts on it in time."""
        if verdict.evaluation == Evaluation.UNDEFINED or not ticket.expired(perf_counter_ns()):
            return None
        ticket.inspection = undefined("late", "the frame's deadline passed before its verdict had left")
        return self._made(ticket, verdict.seq)

    def _made(self, ticket: Ticket, seq: int) -> Verdict:
        now = perf_counter_ns()
        if ticket.expired(now) and ticket.inspection.evaluation is not Evaluation.UNDEFINED:
            ticket.inspection = undefined("late", "the frame's deadline passed while it was inspected")
        deadline = None if ticket.deadline_ns is None else self._clock.realtime_ns(ticket.deadline_ns)
        inspection = ticket.inspection
        inspection.times_ns = {**ticket.times_ns, **inspection.times_ns, "total": now - ticket.received_ns}
        line = ticket.line or self.line
        return make_verdict(line, self.session, seq, ticket.camera, ticket.header, inspection, deadline, ticket.missing)

    def _publish_parts(self, ended: list[PartVerdict]) -> None:
        for verdict in self._ledger.publish(ended) if ended else []:
            if self._metrics:
                self._metrics.count_part(verdict)
            if len(verdict.frames) < verdict.expected:
                log.warning("part %s: %s", verdict.part_id or "-", verdict.detail, extra=about(verdict))
