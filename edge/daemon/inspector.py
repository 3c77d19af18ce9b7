"""The second stage: the engines, one frame after the other. It may hang in one: the supervisor looks at `busy_ns`."""

from __future__ import annotations

import logging
from threading import Thread
from time import perf_counter_ns

from edge.daemon.ticket import Belt, Ticket, undefined
from edge.inspection.pipeline import Inspection, Pipeline

log = logging.getLogger("edge")
IDLE_S = 0.2


class Inspector(Thread):
    """beat_ns: when it last went round. failed: engines that raised, in a row."""

    def __init__(self, pipeline: Pipeline, belt: Belt) -> None:
        super().__init__(name="inspector", daemon=True)
        self.pipeline = pipeline
        self.beat_ns = perf_counter_ns()
        self.failed = 0
        self._belt = belt
        self._ticket: Ticket | None = None
        self._retired = False

    def run(self) -> None:
        while not self._retired:
            self.beat_ns = perf_counter_ns()
            ticket = self._belt.take(IDLE_S)
            if ticket is None:
                continue
            if self._retired:
                self._belt.give_back(ticket)
                break
            self.beat_ns, self._ticket = perf_counter_ns(), ticket
            inspection = self._inspect(ticket)
            self._ticket = None
            self._belt.finish(ticket, inspection)
        self.pipeline.close()

    def _inspect(self, ticket: Ticket) -> Inspection:
        assert ticket.frame is not None
        ticket.times_ns["queue"] = self.beat_ns - ticket.received_ns - ticket.times_ns.get("decode", 0)
        try:
            inspection = self.pipeline.inspect(ticket.frame)
        except Exception as error:  # whatever it is, the part is answered and the line goes on
            log.exception("%s: the inspection failed", ticket.camera)
            inspection = undefined("engine_failed", f"{type(error).__name__}: {error}")
        self.failed = self.failed + 1 if inspection.reason == "engine_failed" else 0
        return inspection

    @property
    def busy_ns(self) -> int:
        """How long it has been at one frame."""
        return perf_counter_ns() - self.beat_ns if self._ticket else 0

    def retire(self, why: str) -> None:
        """It takes no more frames, and what it is at is answered now; where it hangs, it is left alone with that."""
        self._retired = True
        ticket = self._ticket
        if ticket is not None:
            self._belt.finish(ticket, undefined("engine_failed", why))
