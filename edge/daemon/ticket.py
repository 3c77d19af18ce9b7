"""One trigger on its way through the daemon, and the belt that carries it from stage to stage.

received -> waiting (by camera) -> ready (decoded) -> in the engines -> done -> answered. Whatever happens to it there,
a ticket that entered is collected exactly once: when it is done, or when its deadline has passed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Generic, TypeVar

from edge.config import Line
from edge.inspection.pipeline import Inspection
from edge.records import Evaluation, Frame, FrameHeader, Reason

Engines = TypeVar("Engines")

READY = 3  # frames that are decoded ahead of the engines
TICK_S = 0.01  # how late the deadline of a frame that came meanwhile may be noticed
JUST_AFTER_S = 0.0002


@dataclass(slots=True, eq=False)
class Ticket:
    """number: in the order of receipt. received_ns, deadline_ns: of perf_counter_ns; deadline_ns None where there is
    none. header: None where it could not be read. missing: frames of its camera that never came just before it. data:
    its pixels as they came. inspection: what is to be answered. decided: nothing that is found
    from now on counts. line: as it was inspected by. times_ns: of the stages before the
    engines."""

    number: int
    received_ns: int
    camera: str = "-"
    header: FrameHeader | None = None
    deadline_ns: int | None = None
    missing: int = 0
    data: memoryview | None = None
    frame: Frame | None = None
    inspection: Inspection = field(default_factory=Inspection)
    decided: bool = False
    line: Line | None = None
    times_ns: dict[str, int] = field(default_factory=dict)

    def expired(self, now_ns: int) -> bool:
        return self.deadline_ns is not None and now_ns > self.deadline_ns


Found = tuple[Ticket, Inspection]


def undefined(reason: Reason, detail: str) -> Inspection:
    return Inspection(Evaluation.UNDEFINED, reason, detail)


def alone(_: Sequence[Ticket]) -> bool:
    """Each frame by itself."""
    return False


class Belt(Generic[Engines]):
    """What the stages hand on to each other; every method may be called by any thread.

    most: frames that may wait; one more, and the oldest of the camera that has the most of them is refused. on_room:
    called when a frame that waits may be decoded, or one that is ready inspected. engines: belong to one thread at a
    time, to the one that claimed them, until nothing is ready for them any more.
    """

    def __init__(self, most: int, on_room: Callable[[], None], engines: Engines) -> None:
        self.most, self._on_room, self.engines = most, on_room, engines
        self._lock = Lock()
        self._to_publish = Condition(self._lock)
        self._waiting: dict[str, deque[Ticket]] = {}  # in the order in which cameras are served next
        self._ready: deque[Ticket] = deque()
        self._done: deque[Ticket] = deque()
        self._open: dict[int, Ticket] = {}
        self._held = False
        self._in_use: set[int] = set()  # by id: the engines that a thread has, those that were replaced too

    def enter(self, ticket: Ticket) -> None:
        """A frame that is to be inspected."""
        with self._lock:
            self._open[ticket.number] = ticket
            self._waiting.setdefault(ticket.camera, deque()).append(ticket)
            if sum(map(len, self._waiting.values())) + len(self._done) > self.most:
                self._refuse_one()

    def _refuse_one(self) -> None:
        """One whose deadline has passed is answered for that anyway."""
        fullest = max(self._waiting.values(), key=len)
        ticket = fullest.popleft()
        if not ticket.decided:
            self._decide(ticket, undefined("overload", f"one more than {self.most} frames waited to be inspected"))

    def next_waiting(self) -> Ticket | None:
        """The frame to decode next, camera by camera in turn; None while enough are ready or none waits."""
        with self._lock:
            while self._waiting and len(self._ready) < READY:
                camera = next(iter(self._waiting))
                queue = self._waiting.pop(camera)
                ticket = queue.popleft() if queue else None
                if queue:
                    self._waiting[camera] = queue  # last in turn now
                if ticket and _worth(ticket):
                    return ticket
            return None

    def offer(self, ticket: Ticket) -> None:
        """A decoded frame, for the engines."""
        with self._lock:
            self._ready.append(ticket)

    def claim(self) -> Engines | None:
        """The engines are the caller's from now on, until `take` gives it none: if a frame is ready, and no thread has
        them."""
        with self._lock:
            if self._held or not self._ready or id(self.engines) in self._in_use:
                return None
            self._in_use.add(id(self.engines))
            return self.engines

    def take(self, engines: Engines, may_join: Callable[[Sequence[Ticket]], bool] = alone) -> list[Ticket]:
        """The next decoded frame for the engines that were claimed, and those behind it that may join it. Empty: there
        is none, or the engines were replaced; they are the caller's no longer."""
        taken: list[Ticket] = []
        with self._lock:
            while self._ready and engines is self.engines and not self._held:
                if taken and not may_join([*taken, self._ready[0]]):
                    break
                ticket = self._ready.popleft()
                if self._waiting:
                    self._on_room()
                if _worth(ticket):
                    taken.append(ticket)
            if not taken:
                self._in_use.discard(id(engines))
            return taken

    def borrow(self) -> Engines | None:
        """The engines, while no frame wants them; `give_back` them soon."""
        with self._lock:
            if self._held or self._ready or self._waiting or id(self.engines) in self._in_use:
                return None
            self._in_use.add(id(self.engines))
            return self.engines

    def give_back(self, engines: Engines) -> None:
        with self._lock:
            self._in_use.discard(id(engines))
            self._on_room()

    def hold(self) -> None:
        """No frame goes to the engines until others replace them."""
        with self._lock:
            self._held = True

    def replace(self, engines: Engines) -> None:
        """From now on these get the frames; what the others are at they may finish."""
        with self._lock:
            self.engines, self._held = engines, False
            self._on_room()  # what is ready for them waits for nobody else

    def given_up(self, engines: Engines) -> bool:
        """Will they get no frame any more?"""
        with self._lock:
            return self._held or engines is not self.engines

    def in_use(self, engines: Engines) -> bool:
        """Does a thread still have them?"""
        with self._lock:
            return id(engines) in self._in_use

    def finish(self, ticket: Ticket, inspection: Inspection) -> bool:
        """What is known of it, to be answered. False where it was decided before, and nobody will hear of this."""
        with self._lock:
            if ticket.decided:
                return False
            self._decide(ticket, inspection)
            self._to_publish.notify()
            return True

    def finish_and_collect(self, found: Iterable[Found]) -> list[Ticket]:
        """As `finish`, each. While no frame waits for the engines their thread answers what is done itself, which is
        sooner than waking another; else nothing is given, and the publisher does it while they run."""
        with self._lock:
            for ticket, inspection in found:
                if not ticket.decided:
                    self._decide(ticket, inspection)
            if not self._ready and not self._waiting:
                return self._collect()
            self._to_publish.notify()
            return []

    def _decide(self, ticket: Ticket, inspection: Inspection) -> None:
        ticket.inspection, ticket.decided = inspection, True
        if ticket.frame is None:
            ticket.data = None  # nobody decodes it any more
        self._open[ticket.number] = ticket
        self._done.append(ticket)

    def collect(self) -> list[Ticket]:
        """What is to be answered now: all that is done, and what is not but whose deadline has passed. Waits a moment
        for the first. Each ticket is collected once."""
        with self._lock:
            if not self._done:
                self._to_publish.wait(self._calm_s())
            now = time.perf_counter_ns()
            for ticket in [ticket for ticket in self._open.values() if not ticket.decided and ticket.expired(now)]:
                self._decide(ticket, undefined("late", "the frame's deadline passed before it was inspected"))
            return self._collect()

    def _calm_s(self) -> float:
        """How long no deadline passes, by what is known now."""
        due = [ticket.deadline_ns for ticket in self._open.values() if ticket.deadline_ns and not ticket.decided]
        until_s = (min(due) - time.perf_counter_ns()) / 1e9 if due else TICK_S
        return max(0.0, min(TICK_S, until_s + JUST_AFTER_S))

    def _collect(self) -> list[Ticket]:
        collected = list(self._done)
        self._done.clear()
        for ticket in collected:
            del self._open[ticket.number]
        return collected

    def refuse_all(self, reason: Reason, detail: str) -> None:
        """All that is not done yet."""
        with self._lock:
            for ticket in [ticket for ticket in self._open.values() if not ticket.decided]:
                self._decide(ticket, undefined(reason, detail))

    def oldest_ns(self) -> int:
        """When the oldest ticket that is not answered was received; now, where there is none."""
        with self._lock:
            now = time.perf_counter_ns()
            return min((ticket.received_ns for ticket in self._open.values()), default=now)

    def earliest_deadline_ns(self) -> int:
        """Of the tickets that are not answered."""
        with self._lock:
            due = [ticket.deadline_ns for ticket in self._open.values() if ticket.deadline_ns is not None]
            return min(due, default=1 << 62)

    def depths(self) -> dict[str, int]:
        """Tickets in each queue, and those that are not answered."""
        with self._lock:
            waiting = sum(map(len, self._waiting.values()))
            return {"waiting": waiting, "ready": len(self._ready), "done": len(self._done), "open": len(self._open)}


def _worth(ticket: Ticket) -> bool:
    """Is it worth another stage's time? What has expired is answered by `collect`."""
    return not ticket.decided and not ticket.expired(time.perf_counter_ns())
