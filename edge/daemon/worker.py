"""The threads that do the work. One of them leads: it waits for frames. When the engines are free it runs them itself
on what it has just received, and the other leads: no frame is handed from thread to thread while the line is calm, and
while the engines run the next frames are received and decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock, Thread

from edge.daemon.inspector import Inspector
from edge.daemon.intake import Intake
from edge.daemon.ticket import Belt, Found

WORKERS = 2  # one leads while the other is in the engines


class Crew:
    """What the workers share. belt: with the engines of now. finish: takes what they found."""

    def __init__(self, intake: Intake, belt: Belt[Inspector], finish: Callable[[Sequence[Found]], None]) -> None:
        self.intake, self.belt, self.finish = intake, belt, finish
        self.leading, self._changing = Lock(), Lock()
        self.stopping = False
        self.workers: list[Worker] = []

    def add(self) -> None:
        """One more worker: WORKERS of them, and one for each that hangs in engines which were replaced, or has died."""
        with self._changing:
            self.workers = [worker for worker in self.workers if worker.is_alive()]
            self.workers.append(Worker(self))
            self.workers[-1].start()

    def dismiss(self, worker: Worker) -> bool:
        """One that came back from where it hung finds another in its place."""
        with self._changing:
            self.workers = [one for one in self.workers if one.is_alive()]
            if len(self.workers) <= WORKERS:
                return False
            self.workers.remove(worker)
            return True

    def stop(self) -> None:
        self.stopping = True
        self.intake.wake()


class Worker(Thread):
    """gone: it has ended as it should."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(name="worker", daemon=True)
        self.gone = False
        self._crew = crew

    def run(self) -> None:
        while not self.gone:
            inspector = self._lead()
            if inspector is None:
                self.gone = True
                return
            while tickets := self._crew.belt.take(inspector, inspector.may_join):
                self._crew.finish(inspector.inspect(tickets))
            self.gone = self._crew.belt.given_up(inspector) and self._crew.dismiss(self)

    def _lead(self) -> Inspector | None:
        """Receive and decode until the engines can be claimed; None where the daemon stops."""
        with self._crew.leading:
            while not self._crew.stopping:
                self._crew.intake.go_on()
                inspector = self._crew.belt.claim()
                if inspector is not None:
                    return inspector
        return None
