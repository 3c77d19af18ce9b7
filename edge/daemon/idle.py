"""The golden frame of engines that have been idle: do they still give what they gave?"""

from __future__ import annotations

import logging
import time
from threading import Thread

from edge.daemon.inspector import Inspector
from edge.daemon.ticket import Belt
from edge.errors import BundleError, EdgeError
from edge.golden import compare_golden, read_golden
from edge.inspection.model import Model

log = logging.getLogger("edge")


class Asking(Thread):
    """One bundle's, in a thread of its own: engines may hang there too. Start it with engines that were borrowed; it
    gives them back. wrong: they are not right any more, and get no frame until others take their place."""

    def __init__(self, belt: Belt[Inspector], inspector: Inspector, model: Model) -> None:
        super().__init__(name="golden", daemon=True)
        self.inspector, self.wrong = inspector, False
        self._belt, self._model = belt, model
        self._began = time.monotonic()

    def run(self) -> None:
        try:
            if why := golden_fault(self._model):
                log.error("idle, and no longer right: %s", why)
                self._belt.hold()
                self.wrong = True
        finally:
            self._belt.give_back(self.inspector)

    def hangs(self, seconds: float) -> bool:
        return self.is_alive() and time.monotonic() - self._began > seconds


def golden_fault(model: Model) -> str:
    """Why its engine is no longer right; empty where it is, or where the files have changed: those are tried anew."""
    bundle = model.full or model.bundle
    try:
        golden = read_golden(bundle, model.graph)
    except BundleError as error:
        log.warning("the golden frame cannot be asked: %s", error)
        return ""
    try:
        compare_golden(bundle, model.graph, model.session, *golden)
    except EdgeError as error:
        return str(error)
    return ""
