"""The first stage: take messages off the bus, read their headers, decode what the engines will want next."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

from edge.bus.frames import PARTS, FrameInlet, camera_of, read_frame, read_header
from edge.bus.rate import FrameRate
from edge.config import LineConfig
from edge.daemon.deadline import CaptureClock
from edge.daemon.inspector import Inspector
from edge.daemon.sequence import CAMERAS, Order, Sequencer
from edge.daemon.ticket import Belt, Ticket, undefined
from edge.errors import FrameError
from edge.records import FrameHeader

if TYPE_CHECKING:
    from edge.daemon.metrics import Metrics

log = logging.getLogger("edge")
IDLE_MS = 50


class Intake:
    """Any thread may work it, one at a time. beat_ns: when it last went round."""

    def __init__(
        self,
        config: LineConfig,
        frames: FrameInlet,
        belt: Belt[Inspector],
        clock: CaptureClock,
        metrics: Metrics | None = None,
    ) -> None:
        self.beat_ns = perf_counter_ns()
        self._config, self._frames, self._belt, self._clock, self._metrics = config, frames, belt, clock, metrics
        self._sequence, self._rate = Sequencer(), FrameRate(config.limits.frames_per_s)
        self._cameras: dict[bytes, str] = {}
        self._number = 0

    def go_on(self) -> None:
        """Wait a while for a message, and decode what the engines will want next."""
        if self._frames.poll(IDLE_MS):
            message = self._frames.receive()
            if message:  # else its sender's key has been revoked since
                self.receive(message, perf_counter_ns())
        while ticket := self._belt.next_waiting():
            self.decode(ticket)
        self.beat_ns = perf_counter_ns()

    def wake(self) -> None:
        """End a wait; any thread may."""
        self._frames.wake()

    def receive(self, parts: Sequence[memoryview], received_ns: int) -> None:
        """received_ns: of perf_counter_ns, when the message was taken off the socket."""
        ticket = Ticket(self._number, received_ns)
        self._number += 1
        try:
            if len(parts) != PARTS:
                raise FrameError(f"a frame message has {PARTS} parts, this one has {len(parts)} or more")
            ticket.camera = self._camera_of(parts[0])
            ticket.header = read_header(parts[1])
        except FrameError as error:
            self._belt.finish(ticket, undefined("bad_frame", str(error)))
            return
        ticket.deadline_ns = self._clock.deadline_ns(ticket.header, received_ns, self._config.deadline_ms)
        # First: a frame that is told off below has come all the same.
        order = self._sequence.check(ticket.camera, ticket.header)
        ticket.missing = order.missing
        if self._metrics and order.kind in ("repeated", "out_of_order"):
            self._metrics.lost(ticket.camera, order.kind)
        if order.kind == "repeated":
            log.warning("%s %s: the same frame came again; it has its verdict", ticket.camera, ticket.header.trigger_id)
        elif order.kind in ("wrong_trigger", "old_session"):
            self._belt.finish(ticket, undefined(order.kind, _why(order, ticket.header)))
        elif not self._rate.allows(ticket.camera, received_ns):
            said = f"{ticket.camera} sends more than {self._config.limits.frames_per_s:g} frames/s"
            self._belt.finish(ticket, undefined("overload", said))
        else:
            ticket.data = parts[2]
            self._belt.enter(ticket)

    def _camera_of(self, topic: memoryview) -> str:
        """Raises FrameError. What has come before is not read again."""
        name = self._cameras.get(bytes(topic[:256]))
        if name is None:
            name = camera_of(topic)
            if len(self._cameras) < CAMERAS:
                self._cameras[bytes(topic)] = name
        return name

    def decode(self, ticket: Ticket) -> None:
        started = perf_counter_ns()
        header, data = ticket.header, ticket.data
        if header is None or data is None:
            return  # it has been answered this moment
        try:
            ticket.frame = read_frame(header, data, self._config.limits)
        except FrameError as error:
            self._belt.finish(ticket, undefined("bad_frame", str(error)))
            return
        except MemoryError:
            self._belt.finish(ticket, undefined("bad_frame", f"no memory for {list(header.shape)} pixels"))
            return
        finally:
            ticket.times_ns["decode"] = perf_counter_ns() - started
        self._belt.offer(ticket)


def _why(order: Order, header: FrameHeader) -> str:
    if order.kind == "old_session":
        return f"the camera's session {header.session} had ended; do two cameras share one name?"
    return f"frame {header.seq} with trigger {header.trigger_id}: another frame came with that number or trigger"
