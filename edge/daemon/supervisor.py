"""Over the three stages: are all of them getting on? A hung or dead inspector is replaced, and systemd is told only of
progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from time import perf_counter_ns

import msgspec

from edge.config import Line
from edge.daemon import notify
from edge.daemon.inspector import Inspector
from edge.daemon.intake import Intake
from edge.daemon.publisher import Publisher
from edge.daemon.ticket import Belt
from edge.errors import BusError, EdgeError, EngineError
from edge.inspection.pipeline import Pipeline

log = logging.getLogger("edge")
LOOK_S = 0.05
MOST_REPLACED, WITHIN_S = 5, 600.0  # more often, and a new process is a better start
FAILURES = 3  # of an engine in a row, until it is opened anew


class Supervisor:
    """reopen: opens a line's engines, as they were opened at the start."""

    def __init__(
        self,
        line: Line,
        stages: tuple[Intake, Inspector, Publisher],
        belt: Belt,
        reopen: Callable[[Line], Pipeline],
    ) -> None:
        self._intake, self.inspector, self._publisher = stages
        self._line, self._belt, self._reopen = line, belt, reopen
        self._replaced: list[float] = []
        self._left: list[Inspector] = []  # retired, and perhaps still inside an engine

    def start(self) -> None:
        for stage in (self._publisher, self.inspector, self._intake):
            stage.start()

    def watch(self, stopping: Event) -> None:
        """Until told to stop. Raises BusError where a stage has ended, EngineError where the engines stay broken."""
        interval, fed = notify.watchdog_interval(), 0.0
        while not stopping.wait(LOOK_S):
            for stage in (self._intake, self._publisher):
                if not stage.is_alive():
                    raise BusError(f"the stage {stage.name} has ended, as the log says; start the line again")
            why = self._fault()
            if why:
                self._replace(why)
            if interval is not None and time.monotonic() - fed >= interval and self._all_get_on(interval):
                notify.watchdog()
                fed = time.monotonic()

    def _fault(self) -> str:
        """What is wrong with the inspector; nothing where that is empty."""
        limit = self._line.config.limits.hang_ms
        if not self.inspector.is_alive():
            return "the thread of the engines has ended"
        if self.inspector.busy_ns > limit * 1e6:
            return f"no answer from the engines for {limit:g} ms"
        if self.inspector.failed >= (1 if self._on_gpu else FAILURES):
            return "the engines fail"
        return ""

    @property
    def _on_gpu(self) -> bool:
        return any(model.session.device != "cpu" for model in self.inspector.pipeline.models)

    def _replace(self, why: str) -> None:
        """A new thread with engines of its own, on the CPU where a GPU was in it. Raises EngineError where that has
        been tried too often."""
        now = time.monotonic()
        self._replaced = [*(at for at in self._replaced if now - at < WITHIN_S), now]
        if len(self._replaced) > MOST_REPLACED:
            raise EngineError(f"{why}; replaced {MOST_REPLACED} times within {WITHIN_S:g} s, and no better")
        if self._on_gpu:
            self._line = msgspec.structs.replace(
                self._line, config=msgspec.structs.replace(self._line.config, device="cpu")
            )
            why += "; the line goes on on the CPU"
        log.error("%s; they are opened anew", why)
        notify.status(why)
        self.inspector.retire(why)
        self._left = [inspector for inspector in (*self._left, self.inspector) if inspector.is_alive()]
        try:
            self.inspector = Inspector(self._reopen(self._line), self._belt)
        except EdgeError as error:
            raise EngineError(f"{why}; they cannot be opened anew: {error}") from error
        self.inspector.start()
        notify.status(f"inspecting line {self._line.config.line}; engines opened anew: {why}")

    def _all_get_on(self, seconds: float) -> bool:
        oldest = min(stage.beat_ns for stage in (self._intake, self.inspector, self._publisher))
        return perf_counter_ns() - oldest < seconds * 1e9

    def stop(self, seconds: float) -> list[str]:
        """No more frames; those under way have so long, the rest is answered as Undefined. The threads that did not
        end."""
        self._intake.stop()
        self._intake.join(1.0)
        until = time.monotonic() + seconds
        while self._belt.depths["open"] and self.inspector.is_alive() and time.monotonic() < until:
            time.sleep(0.005)
        self._belt.refuse_all("stopped", "the line was stopped before the frame was inspected")
        self._publisher.stop()
        self.inspector.retire("the line was stopped")
        threads: list[Thread] = [self._publisher, self.inspector, *self._left]
        for thread in threads:
            thread.join(1.0)
        return [thread.name for thread in threads if thread.is_alive()]
