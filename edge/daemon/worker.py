"""The threads that do the work. One of them leads: it waits for frames. When the engines are free it runs them itself
on what it has just received, and the other leads: no frame is handed from thread to thread while the line is calm, and
while the engines run the next frames are received and decoded."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread

from edge.daemon.inspector import Inspector
from edge.daemon.intake import Intake
from edge.daemon.ticket import Belt, Ticket
from edge.inspection.pipeline import Inspection

WORKERS = 2  # one leads while the other is in the engines


class Crew:
    """What the workers share. belt: with the engines of now. finish: takes what they found of a frame."""

    def __init__(self, intake: Intake, belt: Belt[Inspector], finish: Callable[[Ticket, Inspection], None]) -> None:
        self.intake, self.belt, self.finish = intake, belt, finish
        self.leading = Lock()
        self.stopping = False
        self.workers: list[Worker] = []

    def add(self) -> None:
        """One more worker: WORKERS of them, and one for each that engines keep which were replaced."""
        self.workers.append(Worker(self))
        self.workers[-1].start()

    def stop(self) -> None:
        self.stopping = True
        self.intake.wake()


class Worker(Thread):
    """dismissed: it has ended as it should."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(name="worker", daemon=True)
        self.dismissed = False
        self._crew = crew

    def run(self) -> None:
        while not self.dismissed:
            inspector = self._lead()
            if inspector is None:
                self.dismissed = True
            else:
                self._inspect(inspector)

    def _lead(self) -> Inspector | None:
        """Receive and decode until the engines can be claimed; None where the daemon stops."""
        with self._crew.leading:
            while not self._crew.stopping:
                self._crew.intake.go_on()
                inspector = self._crew.belt.claim()
                if inspector is not None:
                    return inspector
        return None

    def _inspect(self, inspector: Inspector) -> None:
        """All that is ready. Where the engines were replaced meanwhile, another worker is here in its place."""
        crew = self._crew
        while ticket := crew.belt.take(inspector):
            crew.finish(ticket, inspector.inspect(ticket))
        if inspector is not crew.belt.engines:
            inspector.pipeline.close()
            self.dismissed = True
