"""The small thread that has the journal written: nobody else waits for a disk for longer than they want to."""

from __future__ import annotations

import threading
import time

from edge.errors import JournalError
from edge.journal.writer import STALLED_S, Journal

GROUP_S = 0.005  # and as long again for the disk: 10 ms in all
AGAIN_S = 0.1
JUST_AFTER_S = 0.02  # by then a disk that is stalled is known to be


class Flusher:
    """Commits whatever was appended, as one group; a failing disk it tries ten times a second.

    What fails is seen in `journal.state`. thread: where it does so; it ends with `close`.
    """

    def __init__(self, journal: Journal, group_s: float = GROUP_S) -> None:
        """group_s: for how long more may come, until what has come is written."""
        self._journal, self._group_s = journal, group_s
        self._stop = threading.Event()
        self._tried = threading.Condition()
        self.thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.thread.start()

    def wait(self, position: int, until_ns: int) -> bool:
        """Is it on the disk? False where the disk fails, or has not answered by then, of perf_counter_ns."""
        seconds = min(STALLED_S + JUST_AFTER_S, (until_ns - time.perf_counter_ns()) / 1e9)
        with self._tried:
            self._tried.wait_for(lambda: self._journal.durable > position or self._journal.why, max(0.0, seconds))
        return self._journal.durable > position

    def close(self) -> None:
        """The journal stays open; its `close` commits the rest."""
        self._stop.set()
        self._journal.appended.set()
        self.thread.join()

    def _run(self) -> None:
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
