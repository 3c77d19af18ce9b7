"""The second stage: a line's engines. They may hang: the supervisor looks at `busy_ns`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter_ns

from edge.config import Line
from edge.daemon.ticket import Found, Ticket, undefined
from edge.inspection.pipeline import Inspection, Pipeline
from edge.records import Frame

log = logging.getLogger("edge")


class Inspector:
    """line: as it was when the engines were opened. tickets: what they are at. failed: times in a row that they failed.
    inspected: frames in all. given_up: whatever they still find is heard by nobody."""

    def __init__(self, line: Line, pipeline: Pipeline) -> None:
        self.line, self.pipeline = line, pipeline
        self.inspected = 0
        self.tickets: list[Ticket] = []
        self.failed, self.given_up = 0, False
        self._began_ns = 0
        self._took_ns: dict[int, int] = {}  # by how many frames it were at once

    def may_join(self, tickets: Sequence[Ticket]) -> bool:
        """May these be inspected at once? No more than the pipeline gains by, and only where each would still be in
        time by what so many took of late."""
        count, alone = len(tickets), self._took_ns.get(1)
        if count > self.pipeline.together or alone is None:
            return False
        ready_ns = perf_counter_ns() + min(self._took_ns.get(count, count * alone), count * alone)
        return not any(ticket.expired(ready_ns) for ticket in tickets)

    def inspect(self, tickets: Sequence[Ticket]) -> list[Found]:
        """Whatever the engines raise, the parts are answered and the line goes on. What was answered this moment has
        no frame any more, and is left out."""
        waiting = [(ticket, frame) for ticket in tickets if (frame := ticket.frame) is not None]
        if not waiting:
            return []
        self._began_ns, self.tickets = perf_counter_ns(), [ticket for ticket, _ in waiting]
        for ticket in self.tickets:
            ticket.line = self.line
            ticket.times_ns["queue"] = self._began_ns - ticket.received_ns - ticket.times_ns["decode"]
        found = self._inspect([frame for _, frame in waiting])
        took, count = perf_counter_ns() - self._began_ns, len(waiting)
        self._took_ns[count] = max(took, int(0.9 * self._took_ns.get(count, 0)))  # the slowest of late
        inspected, self.tickets = self.tickets, []
        self.inspected += count
        self.failed = self.failed + 1 if any(each.reason == "engine_failed" for each in found) else 0
        return list(zip(inspected, found, strict=True))

    def _inspect(self, frames: list[Frame]) -> list[Inspection]:
        if len(frames) > 1:
            try:
                return self.pipeline.inspect_all(frames)
            except Exception:  # a bad frame costs the others time, and nothing else
                log.warning("%d frames at once failed; each is inspected by itself", len(frames), exc_info=True)
        return [self._inspect_one(frame) for frame in frames]

    def _inspect_one(self, frame: Frame) -> Inspection:
        try:
            return self.pipeline.inspect(frame)
        except Exception as error:
            log.exception("the inspection failed")
            return undefined("engine_failed", f"{type(error).__name__}: {error}")

    @property
    def busy_ns(self) -> int:
        """How long they have been at what they are at."""
        return perf_counter_ns() - self._began_ns if self.tickets else 0

    @property
    def bundles(self) -> dict[str, str]:
        """Their digests by name."""
        return {model.manifest.name: model.bundle.sha256 for model in self.pipeline.models}

    @property
    def on_gpu(self) -> bool:
        return any(model.session.device != "cpu" for model in self.pipeline.models)
