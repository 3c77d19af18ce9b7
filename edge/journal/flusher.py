"""The small thread that has the journal written: nobody else waits for a disk for longer than they want to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from edge.errors import JournalError
from edge.journal.writer import Journal

GROUP_S = 0.005  # and as long again for the disk: 10 ms in all
AGAIN_S = 0.1
LOOK_S = 0.005  # how late a disk that is stalled, or what has become due, may be noticed


class Flusher:
    """Commits whatever was appended, as one group; a failing disk it tries ten times a second.

    What fails is seen in `journal.state`. thread: where it does so; it ends with `close`.
    """

    def __init__(self, journal: Journal, group_s: float = GROUP_S) -> None:
        """group_s: for how long more may come, until what has come is written."""
        self._journal, self._group_s = journal, group_s
        self._stop = threading.Event()
        self._tried = threading.Condition()
        self._ending, self._ended, self._left_alone = threading.Lock(), False, False
        self.thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.thread.start()

    def wait(self, position: int, due_ns: Callable[[], int]) -> bool:
        """Is it on the disk? False where the disk fails, or has not answered by then, of perf_counter_ns, which may
        change meanwhile."""
        with self._tried:
            while not (kept := self._journal.keeps(position)) and not self._journal.why:
                left_s = (due_ns() - time.perf_counter_ns()) / 1e9
                if left_s <= 0:
                    break
                self._tried.wait(min(left_s, LOOK_S))
        return kept or self._journal.keeps(position)

    def close(self, seconds: float | None = None) -> bool:
        """The journal stays open; its `close` commits the rest. False where the disk has not answered after so many
        seconds: the thread closes the journal itself once it does, if the process lasts for so long."""
        self._stop.set()
        self._journal.appended.set()
        self.thread.join(seconds)
        with self._ending:
            self._left_alone = not self._ended
            return self._ended

    def _run(self) -> None:
        try:
            self._commit_all()
        finally:
            with self._ending:
                self._ended = True
        if self._left_alone:
            with suppress(JournalError):
                self._journal.close()

    def _commit_all(self) -> None:
        while not self._stop.is_set():
            self._journal.appended.wait()
            if self._group_s:
                time.sleep(self._group_s)
            failed = False
            try:
                self._journal.commit()
            except JournalError:
                failed = True
            with self._tried:
                self._tried.notify_all()
            if failed:
                self._stop.wait(AGAIN_S)
