"""Fast publishing's small thread: what was published is on the disk soon after."""

from __future__ import annotations

import threading
import time

from edge.errors import JournalError
from edge.journal.writer import Journal

GROUP_S = 0.005  # and as long again for the disk: 10 ms in all
AGAIN_S = 0.1


class Flusher:
    """Commits whatever was appended within 10 ms, as one group; a failing disk it tries ten times a second.

    What fails is seen in `journal.state`. thread: where it does so; it ends with `close`.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """The journal stays open; its `close` commits the rest."""
        self._stop.set()
        self._journal.appended.set()
        self.thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._journal.appended.wait()
            time.sleep(GROUP_S)
            try:
                self._journal.commit()
            except JournalError:
                self._stop.wait(AGAIN_S)
