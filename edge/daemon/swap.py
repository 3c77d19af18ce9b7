"""Engines changed while the line runs: tried in the shadow, put in place between two frames, taken back where they
fail."""

from __future__ import annotations

import hashlib
import logging
import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from edge.bundle import MANIFEST
from edge.config import Line, read_line
from edge.daemon.inspector import Inspector
from edge.daemon.opening import OPENING_S
from edge.daemon.publisher import Publisher
from edge.daemon.shadow import Outcome, Shadow, Trial
from edge.daemon.worker import Crew
from edge.drift.drift import Drift, open_drift
from edge.errors import ConfigError, EdgeError
from edge.inspection.pipeline import Pipeline

if TYPE_CHECKING:
    from edge.daemon.metrics import Metrics

log = logging.getLogger("edge")
PROBATION_S = 60.0  # after which the engines of before are closed
HANGS_NS = 1_000_000_000
CLOSING_S = 1.0
LOOK_S = 2.0  # at the bundles' files
SWAPPED = ("bundles", "gate", "engine", "device", "threads", "judges")  # all else takes a start

Stamps = dict[Path, tuple[int, int, int]]
UNREAD = 0, 0, 0


class Swaps:
    """`look` is called by one thread, `ask` by any. hanging: trials that were given up and have not come back."""

    def __init__(
        self, crew: Crew, publisher: Publisher, reopen: Callable[[Line], Pipeline], metrics: Metrics | None
    ) -> None:
        self._crew, self._publisher, self._reopen, self._metrics = crew, publisher, reopen, metrics
        self._asked: queue.SimpleQueue[tuple[Trial, Future[Outcome]]] = queue.SimpleQueue()
        self._now: tuple[Shadow, Future[Outcome]] | None = None
        self._give_up = 0.0
        self.hanging: list[Shadow] = []
        self._former: Inspector | None = None
        self._until = 0.0
        self._retired: list[Inspector] = []
        self._closing: Thread | None = None
        self._known = self._seen = tried(crew.belt.engines)
        self._looked = time.monotonic()

    def ask(self, trial: Trial) -> Future[Outcome]:
        """Read the line's file and its bundles again, and use them if they stand the trial."""
        answer: Future[Outcome] = Future()
        self._asked.put((trial, answer))
        return answer

    def look(self) -> None:
        if self._now is not None:
            self._look_at_trial(*self._now)
        elif not self._asked.empty():
            self._begin(*self._asked.get())
        elif time.monotonic() - self._looked >= LOOK_S:
            self._look_at_files()
        if self._former is not None and time.monotonic() > self._until:
            self.retire(self._former)
            self._former = None
        self._close_retired()

    def _look_at_trial(self, shadow: Shadow, answer: Future[Outcome]) -> None:
        hangs = self._crew.belt.engines.busy_ns > HANGS_NS  # the supervisor sees to that first
        if shadow.outcome is not None:
            if not hangs:
                self._end(shadow, answer, shadow.outcome)
        elif time.monotonic() > self._give_up:
            self.hanging.append(shadow)  # left alone; others may be tried
            within = shadow.trial.seconds + OPENING_S
            self._end(shadow, answer, Outcome(f"refused: the new engines did not come through within {within:g} s"))

    def _close_retired(self) -> None:
        for shadow in [shadow for shadow in self.hanging if not shadow.is_alive()]:
            self.hanging.remove(shadow)
            if shadow.outcome and shadow.outcome.inspector:
                self.retire(shadow.outcome.inspector)
        for old in [old for old in self._retired if not self._crew.belt.in_use(old)]:
            self._retired.remove(old)
            self._closing = Thread(target=old.pipeline.close, name="closing", daemon=True)
            self._closing.start()  # a broken driver may hang there

    def take_back(self) -> Inspector | None:
        """The engines of before a swap, while that is on probation."""
        former, self._former = self._former, None
        if former is not None:
            former.failed = 0
            try:
                drift = drift_of(former)
            except EdgeError as error:
                log.error("drift is not watched any more: %s", error)
                drift = None
            self._adopt(former, drift)
            self._known = self._seen = stamps(former)  # what has just failed is not tried again by itself
        return former

    def retire(self, old: Inspector) -> None:
        """To be closed as soon as no thread has it any more."""
        self._retired.append(old)

    @property
    def replaced(self) -> list[Inspector]:
        """Engines that were the line's, and are not closed yet."""
        return [*([self._former] if self._former else []), *self._retired]

    @property
    def trials(self) -> list[Shadow]:
        """Those whose threads may still run."""
        return [*self.hanging, *([self._now[0]] if self._now else [])]

    def stop(self) -> None:
        """No trial is of use any more."""
        if self._now is not None:
            self._now[0].stop()

    def close(self) -> None:
        """The line stops: all that was replaced and lets itself be closed; who waits for an answer gets it."""
        if self._former is not None:
            self.retire(self._former)
        self._close_retired()
        if self._closing:
            self._closing.join(CLOSING_S)
        if self._now is not None:
            self._say(self._now[1], Outcome("refused: the line was stopped"))

    def _begin(self, trial: Trial, answer: Future[Outcome]) -> None:
        running = self._crew.belt.engines
        try:
            line = reread(running.line)
        except Exception as error:  # noqa: BLE001  # whatever a file says, the line goes on; it is logged
            self._say(answer, _refused(error))
            return
        shadow = Shadow(line, trial, self._reopen)
        self._known = stamps(running)
        self._now, self._give_up = (shadow, answer), time.monotonic() + trial.seconds + OPENING_S
        self._publisher.shadow = shadow
        shadow.start()

    def _end(self, shadow: Shadow, answer: Future[Outcome], outcome: Outcome) -> None:
        self._now, self._publisher.shadow = None, None
        if outcome.inspector is not None:
            try:
                drift = drift_of(outcome.inspector)
            except Exception as error:  # noqa: BLE001  # as above
                self.retire(outcome.inspector)
                outcome = _refused(error)
        if outcome.inspector is not None:
            if self._former is not None:
                self.retire(self._former)
            self._former, self._until = self._crew.belt.engines, time.monotonic() + PROBATION_S
            self._adopt(outcome.inspector, drift)
            self._crew.belt.replace(outcome.inspector)
            self._known = self._seen = tried(outcome.inspector)
        self._say(answer, outcome)

    def _adopt(self, inspector: Inspector, drift: Drift | None) -> None:
        """What else goes by the line's file and its models."""
        self._publisher.adopt(inspector.line, drift)
        if self._metrics:
            self._metrics.graphs(inspector.pipeline.models)

    def _say(self, answer: Future[Outcome], outcome: Outcome) -> None:
        done = outcome.inspector is not None
        log.log(logging.INFO if done else logging.ERROR, "reload: %s%s", "done; " if done else "", outcome.said)
        answer.set_result(outcome)

    def _look_at_files(self) -> None:
        """A bundle that was changed is tried by itself, once it stays as it is."""
        self._looked = time.monotonic()
        now, before = stamps(self._crew.belt.engines), self._seen
        self._seen = now
        if now == before and now != self._known:
            self._known = now
            log.info("a bundle was changed; it is tried")
            self.ask(Trial())


def _refused(error: Exception) -> Outcome:
    if isinstance(error, EdgeError):
        return Outcome(f"refused: {error}")
    log.error("nobody foresaw this", exc_info=error)
    return Outcome(f"refused: {type(error).__name__}: {error}")


def drift_of(inspector: Inspector) -> Drift | None:
    """Raises ConfigError where the line's reference cannot be read."""
    return open_drift(inspector.line, inspector.pipeline.models, log.warning)


def stamps(inspector: Inspector) -> Stamps:
    """Of the running bundles' manifests, as they lie on the disk now."""
    found: Stamps = {}
    for path in {model.bundle.path / MANIFEST for model in inspector.pipeline.models}:
        try:
            status = path.stat()
            found[path] = status.st_mtime_ns, status.st_ino, status.st_size
        except OSError:
            found[path] = UNREAD
    return found


def tried(inspector: Inspector) -> Stamps:
    """As `stamps`; none of those of a bundle that was changed again since it was read, which is still to be tried."""
    found = stamps(inspector)
    for model in inspector.pipeline.models:
        path = model.bundle.path / MANIFEST
        try:
            same = hashlib.sha256(path.read_bytes()).hexdigest() == model.bundle.sha256
        except OSError:
            same = False
        if not same:
            found[path] = UNREAD
    return found


def reread(line: Line) -> Line:
    """The line's file as it is now. Raises ConfigError, also where it has another value for what takes a start."""
    new = read_line(line.path)
    other = [
        name
        for name in line.config.__struct_fields__
        if name not in SWAPPED and getattr(line.config, name) != getattr(new.config, name)
    ]
    if other:
        raise ConfigError(f"{line.path}: {', '.join(other)} changed; start the line again for that")
    return new
