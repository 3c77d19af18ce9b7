"""A real session that can be told to fail in each of the ways that engines do."""

from __future__ import annotations

import time
from threading import Event

import numpy as np

from edge.engines.session import Floats, Session


class FaultySession:
    """What it is told holds for it alone: engines that are opened later are sound. device: what it says that it runs
    on, its own where empty. batches: how many pictures each run saw."""

    def __init__(self, session: Session, device: str = "") -> None:
        self.session, self.engine, self.device = session, session.engine, device or session.device
        self.any_batch = session.any_batch
        self.go_on = Event()
        self.go_on.set()
        self.failure: BaseException | None = None
        self.answer: float | None = None
        self.wrong = self.slow_s = 0.0
        self.batches: list[int] = []

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        self.batches.append(len(batch))
        self.go_on.wait()
        if self.failure:
            raise self.failure
        if self.slow_s:
            time.sleep(self.slow_s)
        outputs = self.session.run(batch)
        if self.answer is not None:
            return tuple(np.full_like(out, self.answer) for out in outputs)
        return tuple(out + np.float32(self.wrong) for out in outputs) if self.wrong else outputs

    def close(self) -> None:
        self.session.close()
