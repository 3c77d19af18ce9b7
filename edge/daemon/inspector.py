"""The second stage: a line's engines, one frame after the other. They may hang: the supervisor looks at `busy_ns`."""

from __future__ import annotations

import logging
from time import perf_counter_ns

from edge.config import Line
from edge.daemon.ticket import Ticket, undefined
from edge.inspection.pipeline import Inspection, Pipeline

log = logging.getLogger("edge")


class Inspector:
    """line: as it was when the engines were opened. ticket: what they are at. failed: frames in a row that they failed
    at. inspected: frames in all."""

    def __init__(self, line: Line, pipeline: Pipeline) -> None:
        self.line, self.pipeline = line, pipeline
        self.inspected = 0
        self.ticket: Ticket | None = None
        self.failed = 0
        self._began_ns = 0

    def inspect(self, ticket: Ticket) -> Inspection:
        """Whatever the engines raise, the part is answered and the line goes on."""
        frame = ticket.frame
        if frame is None:
            return undefined("late", "it has been answered this moment")
        self._began_ns, self.ticket = perf_counter_ns(), ticket
        ticket.line = self.line
        ticket.times_ns["queue"] = self._began_ns - ticket.received_ns - ticket.times_ns["decode"]
        try:
            inspection = self.pipeline.inspect(frame)
        except Exception as error:
            log.exception("%s: the inspection failed", ticket.camera)
            inspection = undefined("engine_failed", f"{type(error).__name__}: {error}")
        self.ticket = None
        self.inspected += 1
        self.failed = self.failed + 1 if inspection.reason == "engine_failed" else 0
        return inspection

    @property
    def busy_ns(self) -> int:
        """How long they have been at one frame."""
        return perf_counter_ns() - self._began_ns if self.ticket else 0

    @property
    def bundles(self) -> dict[str, str]:
        """Their digests by name."""
        return {model.manifest.name: model.bundle.sha256 for model in self.pipeline.models}

    @property
    def on_gpu(self) -> bool:
        return any(model.session.device != "cpu" for model in self.pipeline.models)
