"""Over the stages: do all of them get on? Hung, dead or failing engines are replaced, and systemd is told only of
progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from threading import Thread
from time import perf_counter_ns
from typing import TYPE_CHECKING

import msgspec

from edge.config import Line
from edge.daemon import notify
from edge.daemon.idle import Asking
from edge.daemon.inspector import Inspector
from edge.daemon.opening import Opening
from edge.daemon.publisher import Publisher
from edge.daemon.shadow import Trial
from edge.daemon.swap import Swaps
from edge.daemon.ticket import undefined
from edge.daemon.worker import WORKERS, Crew
from edge.errors import BusError, EngineError
from edge.inspection.pipeline import Pipeline

if TYPE_CHECKING:
    from edge.daemon.metrics import Metrics

log = logging.getLogger("edge")
LOOK_S = 0.05
MOST_REPLACED, WITHIN_S = 5, 600.0  # more often, and a new process is a better start
GOLDEN_S = 60.0
WRITE_S, HANG_S = 5.0, 1.0  # at the end: for a slow disk to take what was answered; for threads to leave the engines
FAILURES = 3  # of an engine in a row, until it is opened anew


class Supervisor:
    """reopen: opens a line's engines, as they were opened at the start."""

    def __init__(
        self,
        crew: Crew,
        publisher: Publisher,
        reopen: Callable[[Line], Pipeline],
        metrics: Metrics | None = None,
    ) -> None:
        self.swaps = Swaps(crew, publisher, reopen, metrics)
        self._crew, self._publisher, self._reopen, self._metrics = crew, publisher, reopen, metrics
        self._reload = False
        self._inspected, self._calm_since, self._golden = 0, time.monotonic(), 0
        self._replaced: list[float] = []
        self._opening: Opening | None = None
        self._asking: Asking | None = None

    def start(self) -> None:
        self._publisher.start()
        for _ in range(WORKERS):
            self._crew.add()

    def watch(self, stopping: Callable[[], bool], others: Sequence[Thread] = ()) -> None:
        """Until told to stop. others: threads that the line does not go on without either. Raises BusError where one
        has ended, EngineError where the engines stay broken, JournalError where the line is not to go on without its
        journal."""
        interval, fed = notify.watchdog_interval(), 0.0
        while not stopping():
            if self._reload:
                self._reload = False
                self.swaps.ask(Trial())
            self._look_at_engines()
            self._try_golden()
            if self._publisher.error:
                raise self._publisher.error
            dead = [thread.name for thread in (*self._publisher.threads, *others) if not thread.is_alive()]
            if dead or not self._complete:
                raise BusError(f"the thread {(*dead, 'worker')[0]} has ended, as the log says; start the line again")
            if interval is not None and time.monotonic() - fed >= interval and self._get_on(interval):
                notify.watchdog()
                fed = time.monotonic()
            time.sleep(LOOK_S)

    def _look_at_engines(self) -> None:
        """Raises EngineError where they stay broken."""
        if self._opening is None and (why := self._fault()):
            self._replace(why)
        if self._opening is None:
            self.swaps.look()
            self._see_to_replaced()
        elif new := self._opening.opened():
            why, self._opening = self._opening.why, None
            self._put_in_place(new, why)

    def _try_golden(self) -> None:
        """Where no frame came for a minute: one bundle a minute, in turn."""
        now, inspector = time.monotonic(), self._crew.belt.engines
        if inspector.inspected != self._inspected:
            self._inspected, self._calm_since = inspector.inspected, now
        if now - self._calm_since < GOLDEN_S or self._crew.belt.borrow() is None:
            return
        self._calm_since, self._golden = now, self._golden + 1
        models = inspector.pipeline.models
        self._asking = Asking(self._crew.belt, inspector, models[self._golden % len(models)])
        self._asking.start()

    def reload(self) -> None:
        """As a signal's handler may: it takes no lock, which the thread that it interrupts could hold."""
        self._reload = True

    def _fault(self) -> str:
        """What is wrong with the engines; nothing where that is empty."""
        inspector, asking = self._crew.belt.engines, self._asking
        limit_ms = inspector.line.config.limits.hang_ms
        if hangs(inspector):
            return f"no answer from the engines for {limit_ms:g} ms"
        if inspector.failed >= FAILURES or (inspector.failed and inspector.on_gpu):
            return "the engines fail"
        if inspector.tickets and not self._complete:
            return "the thread that ran the engines has ended"
        if asking and asking.inspector is inspector and (asking.wrong or asking.hangs(limit_ms / 1000)):
            return "the engines do not give their golden frame"
        return ""

    def _see_to_replaced(self) -> None:
        """Engines that hang at what they were at as others took their place, in a swap."""
        for old in self.swaps.replaced:
            if hangs(old) and not old.given_up:
                self._give_up(old, "no answer from the engines that were replaced")

    def _give_up(self, old: Inspector, why: str) -> None:
        """What is in them is answered; another thread takes the place of the one that hangs there, or has died."""
        old.given_up = True
        for ticket in old.tickets:
            self._crew.belt.finish(ticket, undefined("engine_failed", why))
        if old.tickets and self._crew.belt.in_use(old):
            self._crew.add()

    def _replace(self, why: str) -> None:
        """Other engines: those of before a swap where there was one just now, else the same opened anew. What hangs is
        left alone with the old ones, and what they are at is answered now. Meanwhile the belt is held: a frame that
        waits is answered at its deadline, one without a deadline by the new engines. Raises EngineError where that has
        been tried too often."""
        now, belt = time.monotonic(), self._crew.belt
        old = belt.engines
        self._replaced = [*(at for at in self._replaced if now - at < WITHIN_S), now]
        if len(self._replaced) > MOST_REPLACED:
            raise EngineError(f"{why}; replaced {MOST_REPLACED} times within {WITHIN_S:g} s, and no better")
        log.error("%s; others take their place", why)
        notify.status(f"no frame is inspected until other engines are open: {why}")
        belt.hold()
        self._give_up(old, why)
        if former := self.swaps.take_back():
            self._put_in_place(former, why)
        else:
            self._opening = Opening(self._line_anew(old), old.bundles, self._reopen, why)
            self._opening.start()

    def _line_anew(self, old: Inspector) -> Line:
        """On the CPU where a GPU was in them."""
        line = old.line
        if not old.on_gpu:
            return line
        return msgspec.structs.replace(line, config=msgspec.structs.replace(line.config, device="cpu"))

    def _put_in_place(self, new: Inspector, why: str) -> None:
        old = self._crew.belt.engines
        self._crew.belt.replace(new)
        self.swaps.retire(old)
        self._crew.intake.wake()
        if self._metrics:
            self._metrics.replaced()
            self._metrics.graphs(new.pipeline.models)
        notify.status(f"inspecting line {new.line.config.line}; engines replaced: {why}")

    @property
    def _complete(self) -> bool:
        """No worker has ended that should not."""
        return all(worker.is_alive() or worker.gone for worker in self._crew.workers)

    def _get_on(self, seconds: float) -> bool:
        now = perf_counter_ns()
        busy = 0 if self._opening else self._crew.belt.engines.busy_ns  # opening has its own bound
        idle = max(now - self._crew.intake.beat_ns, now - self._publisher.beat_ns, busy)
        return idle < seconds * 1e9

    def stop(self, seconds: float) -> list[str]:
        """No more frames; those under way have so long, the rest is answered as Undefined. The threads that did not
        end."""
        until, belt = time.monotonic() + seconds, self._crew.belt
        self._crew.stop()
        self.swaps.stop()
        while belt.depths()["open"] and belt.engines.tickets and not self._opening and time.monotonic() < until:
            time.sleep(0.005)
        ended = time.monotonic() + HANG_S
        others = [thread for thread in (self._opening, self._asking, *self.swaps.trials) if thread]
        for thread in [*self._crew.workers, *others]:  # whoever has just taken a frame enters it, or answers it
            thread.join(max(0.0, ended - time.monotonic()))
        belt.refuse_all("stopped", "the line was stopped before the frame was inspected")
        self._publisher.stop()
        self._publisher.join(max(WRITE_S, until - time.monotonic()))
        threads: list[Thread] = [self._publisher, *self._crew.workers, *others]
        left = [thread.name for thread in threads if thread.is_alive()]
        if not left:
            self.swaps.close()
            belt.engines.pipeline.close()
        return left


def hangs(inspector: Inspector) -> bool:
    """Are they at what they are at for longer than the line has it, for each frame?"""
    return inspector.busy_ns > inspector.line.config.limits.hang_ms * 1e6 * max(1, len(inspector.tickets))
