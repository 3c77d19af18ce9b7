"""The journal's only writer: numbers what is published, keeps it in memory until it is on the disk."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from edge.config import JournalConfig, Line
from edge.errors import JournalError
from edge.journal.disk import Disk
from edge.journal.entries import JournalState
from edge.journal.format import Header, encode_record
from edge.journal.recover import recover
from edge.journal.segments import TORN, OpenSegment, segments
from edge.journal.waiting import Message, Queue, Waiting

log = logging.getLogger("edge")
MEGABYTE = 1 << 20
WAITING_BYTES = 4 * MEGABYTE
LOCK_TRIES = 5
STALLED_S = 1.0
LATELY, USUAL = 9, 1.5  # commits; times what they took, that one may take and be like them


class Journal:
    """One thread appends, one commits; they may be the same. `appended` is set while something waits. pace_s: what a
    commit takes, as the disk has been lately."""

    def __init__(
        self,
        folder: Path,
        line: str,
        config: JournalConfig,
        disk: Disk | None = None,
        most_waiting: int = WAITING_BYTES,
    ) -> None:
        """Lock the folder and find the end. Raises JournalError where another edge has it, or another line."""
        self.folder = folder
        self.line = line
        self.config = config
        self.appended = threading.Event()
        self._disk = disk or Disk()
        self._lock_file = _lock(folder)
        try:
            end = recover(folder, line)
        except BaseException:
            os.close(self._lock_file)
            raise
        self.began = self._end = end.next
        self._chain = end.chain
        self._segment: OpenSegment | None = None
        self._queue = Queue(line, most_waiting, end.next)
        self._why, self._since_ns = "", 0
        self._oldest = 0.0  # no record that waits is older, on the monotonic clock
        self._asked: float | None = None  # since when the disk has been at a commit, on the monotonic clock
        self._took = deque[float](maxlen=LATELY)
        self.pace_s = 0.0
        self._committing = threading.Lock()

    def append(self, topic: bytes, body: bytes) -> int:
        """Into memory only. Returns its position; over the bound the oldest that wait are lost."""
        return self.append_all([(topic, body)])

    def append_all(self, messages: Sequence[Message]) -> int:
        """As `append`, in one commit. Returns the first one's position."""
        if self.durable == self.next_position:
            self._oldest = time.monotonic()
        position = self._queue.append(messages)
        self.appended.set()
        return position

    def replace(self, position: int, topic: bytes, body: bytes) -> None:
        """Another body for one that nobody was told of: also where it is being written, or was by the last commit; the
        next one takes it back. Nothing happens where it was dropped. Raises ValueError where it was written before.

        A crash before that commit may leave it on the disk as it was.
        """
        self._queue.replace(position, (topic, body))
        self.appended.set()

    def commit(self) -> int:
        """All that waits, with one write and one fdatasync. Returns the first position that is not durable.

        Raises JournalError where the disk is full or fails: what waits stays in memory for the next attempt.
        """
        with self._committing:
            began = time.monotonic()
            self.appended.clear()
            batch = self._queue.take()
            try:
                if batch:
                    self._asked = began
                    self._write(batch)
                    self._queue.written(batch)
                    self._took.append(time.monotonic() - began)
                    self.pace_s = median(self._took)
                    self._oldest = began if self.durable == self._end else self._oldest
                    self._why, self._since_ns = "", 0
            except BaseException as error:
                self._queue.keep(batch)
                self.appended.set()
                if isinstance(error, OSError):
                    raise self._failed(error) from error
                raise
            finally:
                self._asked = None
            return self.durable

    @property
    def next_position(self) -> int:
        return self._queue.next

    @property
    def durable(self) -> int:
        """The first position that is not on the disk as it was told."""
        return self._queue.durable

    @property
    def lost(self) -> int:
        return self._queue.lost

    def keeps(self, position: int) -> bool:
        """Is it on the disk, as it was told?"""
        return self._queue.lost_to <= position < self._queue.durable

    @property
    def why(self) -> str:
        """What keeps it from being written; nothing where that is empty."""
        return self._trouble()[0]

    def _trouble(self) -> tuple[str, int]:
        """And since when, on the realtime clock."""
        waited = self.at_it_s
        if not self._why and waited > STALLED_S:
            return f"the disk has not answered for more than {STALLED_S:g} s", time.time_ns() - int(1e9 * waited)
        return self._why, self._since_ns

    @property
    def state(self) -> JournalState:
        why, since_ns = self._trouble()
        return JournalState(
            line=self.line,
            full=self.config.full,
            writing=not why,
            why=why,
            since_ns=since_ns,
            began=self.began,
            next=self.next_position,
            durable=self.durable,
            lost=self.lost,
        )

    @property
    def soonest_s(self) -> float:
        """How long from now until what is appended or replaced now is on the disk, as the disk has been lately."""
        at_it = self.at_it_s
        return (max(0.0, self.pace_s - at_it) if at_it else 0.0) + self.pace_s

    @property
    def stalls(self) -> bool:
        """Has the disk been at this commit for longer than usual?"""
        return self.at_it_s > USUAL * self.pace_s

    @property
    def at_it_s(self) -> float:
        """For how long the disk has been at a commit; 0 where it is at none."""
        asked = self._asked
        return 0.0 if asked is None else time.monotonic() - asked

    @property
    def lag_s(self) -> float:
        """How old what is not on the disk yet may be; 0 where all is."""
        return time.monotonic() - self._oldest if self.durable < self.next_position else 0.0

    def close(self) -> None:
        """Commit what waits. Raises JournalError where that fails; the folder is free in any case."""
        try:
            self.commit()
        finally:
            if self._segment:
                self._segment.close()
                self._segment = None
            os.close(self._lock_file)

    def _write(self, batch: list[Waiting]) -> None:
        if self._segment and batch[0].number < self._end:
            self._segment.cut(batch[0].offset)
            self._chain, self._end = batch[0].chain, batch[0].number
        if self._segment and (not self._segment.sound or self._segment.size >= self.config.segment_mb * MEGABYTE):
            self._segment.close()
            self._segment = None
        if self._segment is None:
            self._segment = OpenSegment(self._disk, self.folder, Header(self.line, batch[0].number, self._chain))
            self._delete_oldest()
        chain, data = self._chain, bytearray()
        for record in batch:
            record.offset, record.chain = self._segment.size + len(data), chain
            piece, chain = encode_record(record.number, record.spans, *record.message, chain)
            data += piece
        self._segment.append(bytes(data))
        self._chain, self._end = chain, batch[-1].number + batch[-1].spans

    def _delete_oldest(self) -> None:
        """Whole segments, so that the one that begins has room within the quota."""
        room = (self.config.quota_mb - self.config.segment_mb) * MEGABYTE
        try:
            kept = segments(self.folder)[:-1]
            sizes = [segment.path.stat().st_size for segment in kept]
            while len(kept) > 1 and sum(sizes) > room:  # the last one may be over by what was written at once
                oldest = kept.pop(0)
                sizes.pop(0)
                self._disk.delete(oldest.path)
                self._disk.delete(oldest.path.with_suffix(TORN))
        except (OSError, JournalError) as error:
            log.warning("%s: the oldest segments cannot be deleted: %s", self.folder, error)

    def _failed(self, error: OSError) -> JournalError:
        self._since_ns = self._trouble()[1] or time.time_ns()
        self._why = error.strerror or str(error)
        return JournalError(f"{self.folder} cannot be written: {self._why}; make room, or see to the disk")


def open_journal(line: Line, config: JournalConfig) -> Journal:
    """The line's own; config: its [journal]. Raises JournalError."""
    return Journal((line.path.parent / config.folder).resolve(), line.config.line, config)


def _lock(folder: Path) -> int:
    """Held until closed, or until the process ends, however it does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise JournalError(f"cannot use {folder}: {error.strerror}; give the journal a folder it may write") from error
    for _ in range(LOCK_TRIES):  # `edge journal verify` has it for an instant, to see whether a daemon does
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        time.sleep(0.02)
    os.close(file)
    raise JournalError(f"{folder} is in use by another edge; stop it, or give this line its own folder")
