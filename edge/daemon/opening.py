"""Engines opened anew in a thread of their own: a driver that hangs there holds up neither the watchdog nor the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Thread

from edge.config import Line
from edge.daemon.inspector import Inspector
from edge.errors import BundleError, EdgeError, EngineError
from edge.inspection.pipeline import Pipeline

log = logging.getLogger("edge")
OPENING_S = 300.0  # engines that were never measured here, as a CPU in place of a GPU, take minutes


class Opening(Thread):
    """line: theirs. bundles: the digests of those that ran: no others are put in their place untried. why: the ones
    before are given up."""

    def __init__(self, line: Line, bundles: dict[str, str], reopen: Callable[[Line], Pipeline], why: str) -> None:
        super().__init__(name="opening", daemon=True)
        self.why = why
        self._line, self._bundles, self._reopen = line, bundles, reopen
        self._until = time.monotonic() + OPENING_S
        self._inspector: Inspector | None = None
        self._error = "the thread that opened them has ended"

    def run(self) -> None:
        try:
            self._inspector = self._open()
        except EdgeError as error:
            self._error = str(error)
        except Exception as error:
            log.exception("the engines cannot be opened anew")
            self._error = f"{type(error).__name__}: {error}"

    def _open(self) -> Inspector:
        """Raises BundleError where others lie on the disk by now, be it that a reload has refused them."""
        inspector = Inspector(self._line, self._reopen(self._line))
        if changed := sorted(dict(inspector.bundles.items() - self._bundles.items())):
            inspector.pipeline.close()
            what = f"{', '.join(changed)} on the disk is not the bundle that ran; the next start verifies and opens it"
            raise BundleError(f"{what}: put the former back where that is not meant")
        return inspector

    def opened(self) -> Inspector | None:
        """None while it is at it. Raises EngineError where they cannot be opened, or not within OPENING_S."""
        if self.is_alive() and time.monotonic() < self._until:
            return None
        if self.is_alive():
            raise EngineError(f"{self.why}; others could not be opened within {OPENING_S:g} s")
        if self._inspector is None:
            raise EngineError(f"{self.why}; they cannot be opened anew: {self._error}")
        return self._inspector
