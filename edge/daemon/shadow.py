"""New engines beside the running ones: opened, then shown live frames after these were answered, and compared."""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread, get_native_id

import msgspec

from edge.config import Line
from edge.daemon.inspector import Inspector
from edge.errors import EdgeError
from edge.inspection.pipeline import Inspection, Pipeline
from edge.records import Frame

log = logging.getLogger("edge")
BEHIND = 2  # frames that may wait for the shadow; more it does not see
POLL_S = 0.1
NICE = 10  # live frames come first


class Trial(msgspec.Struct, frozen=True):
    """frames: so many live ones are compared, or as many as come within `seconds`. disagree: the share of them whose
    evaluation or surface may differ."""

    frames: int = 20
    seconds: float = 10.0
    disagree: float = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """inspector: the new engines, None where they are not to be used. said: what was found, in a sentence."""

    said: str
    inspector: Inspector | None = None


class Shadow(Thread):
    """outcome: once the trial is over."""

    def __init__(self, line: Line, trial: Trial, reopen: Callable[[Line], Pipeline]) -> None:
        super().__init__(name="shadow", daemon=True)
        self.line, self.trial = line, trial
        self.outcome: Outcome | None = None
        self._reopen = reopen
        self._frames: queue.Queue[tuple[Frame, Inspection]] = queue.Queue(BEHIND)
        self._stopping = False

    def see(self, frame: Frame, found: Inspection) -> None:
        """A frame that was answered, and how. Never waits."""
        if found.models and not self._frames.full():
            self._frames.put_nowait((frame, found))

    def stop(self) -> None:
        """It comes to its end soon."""
        self._stopping = True

    def run(self) -> None:
        try:
            inspector = Inspector(self.line, self._reopen(self.line))
        except EdgeError as error:
            self.outcome = Outcome(f"refused: {error}")
            return
        except Exception as error:  # whatever it is, the line goes on with what it has
            log.exception("the new engines cannot be opened")
            self.outcome = Outcome(f"refused: {type(error).__name__}: {error}")
            return
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICE)  # not before: the engines' own threads would inherit it
        try:
            self.outcome = self._compare(inspector)
        except Exception as error:
            log.exception("the new engines failed")
            self.outcome = Outcome(f"refused: {type(error).__name__}: {error}")
        if self.outcome.inspector is None:
            inspector.pipeline.close()

    def _compare(self, inspector: Inspector) -> Outcome:
        seen = differ = 0
        until = time.monotonic() + self.trial.seconds
        while seen < self.trial.frames and time.monotonic() < until and not self._stopping:
            try:
                frame, old = self._frames.get(timeout=POLL_S)
            except queue.Empty:
                continue
            new = inspector.pipeline.inspect(frame)
            if new.reason in ("engine_failed", "bad_score"):
                return Outcome(f"refused: the new engines failed at a live frame: {new.detail}")
            seen += 1
            differ += (new.evaluation, new.surface) != (old.evaluation, old.surface)
        if self._stopping:
            return Outcome("refused: the line was stopped")
        told = f"{differ} of {seen} live frames came out otherwise"
        if differ > self.trial.disagree * seen:
            return Outcome(f"refused: {told}, over {self.trial.disagree:.0%}")
        return Outcome(told, inspector)
