"""The journal's only writer: numbers what is published, keeps it in memory until it is on the disk."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.config import JournalConfig, Line
from edge.errors import JournalError
from edge.journal.disk import Disk
from edge.journal.entries import JournalState, Lost, lost_topic
from edge.journal.format import Header, encode_record
from edge.journal.recover import recover
from edge.journal.segments import TORN, OpenSegment, segments

log = logging.getLogger("edge")
MEGABYTE = 1 << 20
WAITING_BYTES = 4 * MEGABYTE
LOCK_TRIES = 5


@dataclass(slots=True)
class Waiting:
    """A record that is not on the disk yet. offset, chain: where it was last written, in its segment and after what."""

    number: int
    spans: int
    topic: bytes
    body: bytes
    offset: int = 0
    chain: bytes = b""


class Journal:
    """One thread appends, one commits; they may be the same. `appended` is set while something waits."""

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
        self.lost = 0
        self._disk = disk or Disk()
        self._most = most_waiting
        self._lock_file = _lock(folder)
        try:
            end = recover(folder, line)
        except BaseException:
            os.close(self._lock_file)
            raise
        self.began = self.next_position = self.durable = end.next
        self._chain = end.chain
        self._segment: OpenSegment | None = None
        self._written: list[Waiting] = []  # by the last commit
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._why, self._since_ns = "", 0
        self._oldest = 0.0  # no record that waits is older, on the monotonic clock
        self._changing, self._committing = threading.Lock(), threading.Lock()

    def append(self, topic: bytes, body: bytes) -> int:
        """Into memory only. Returns its position; over the bound the oldest that wait are lost."""
        with self._changing:
            position = self.next_position
            self.next_position += 1
            self._oldest = time.monotonic() if self.durable == position else self._oldest
            self._waiting.append(Waiting(position, 1, topic, body))
            self._bytes += len(body)
            self._drop()
        self.appended.set()
        return position

    def replace(self, position: int, topic: bytes, body: bytes) -> None:
        """Another body for one that waits, after a failed commit; nothing happens where it was dropped.

        Raises ValueError where it is on the disk.
        """
        with self._changing:
            if position < self.durable:
                raise ValueError(f"position {position} is on the disk; it cannot be replaced")
            for record in reversed(self._waiting):
                if record.number == position and record.spans == 1:
                    self._bytes += len(body) - len(record.body)
                    record.topic, record.body = topic, body
                    return

    def commit(self) -> int:
        """All that waits, with one write and one fdatasync. Returns the first position that is not durable.

        Raises JournalError where the disk is full or fails: what waits stays in memory for the next attempt.
        """
        with self._committing:
            with self._changing:
                batch, self._waiting, self._bytes = self._waiting, deque(), 0
                began = time.monotonic()
                self.appended.clear()
            try:
                if batch:
                    self._write(batch)
                    self.durable = batch[-1].number + batch[-1].spans
                    self._oldest = began
                    self._recovered()
            except BaseException as error:
                self._keep(batch)
                if isinstance(error, OSError):
                    raise self._failed(error) from error
                raise
            return self.durable

    def take_back(self, position: int) -> None:
        """Off the disk again what the last commit wrote from `position` on: it waits as before, and can be replaced.

        Only for what nobody was told of. A crash before the next commit may leave it on the disk as it was.
        """
        with self._committing:
            again = deque(record for record in self._written if record.number >= position)
            if self._segment and again:
                self._segment.cut(again[0].offset)
                self.durable, self._chain, self._written = again[0].number, again[0].chain, []
                self._keep(again)

    @property
    def state(self) -> JournalState:
        return JournalState(
            line=self.line,
            full=self.config.full,
            writing=not self._why,
            why=self._why,
            since_ns=self._since_ns,
            began=self.began,
            next=self.next_position,
            durable=self.durable,
            lost=self.lost,
        )

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

    def _write(self, batch: deque[Waiting]) -> None:
        if self._segment and (not self._segment.sound or self._segment.size >= self.config.segment_mb * MEGABYTE):
            self._segment.close()
            self._segment = None
        if self._segment is None:
            self._segment = OpenSegment(self._disk, self.folder, Header(self.line, batch[0].number, self._chain))
            self._delete_oldest()
        chain, data = self._chain, bytearray()
        for record in batch:
            record.offset, record.chain = self._segment.size + len(data), chain
            piece, chain = encode_record(record.number, record.spans, record.topic, record.body, chain)
            data += piece
        self._segment.append(bytes(data))
        self._chain, self._written = chain, list(batch)

    def _keep(self, batch: deque[Waiting]) -> None:
        with self._changing:
            self._waiting.extendleft(reversed(batch))
            self._bytes += sum(len(record.body) for record in batch)
            self._drop()
            if self._waiting:
                self.appended.set()

    def _drop(self) -> None:
        """Over the bound the two oldest become one record that says which were lost."""
        while self._bytes > self._most and len(self._waiting) > 1:
            first, second = self._waiting.popleft(), self._waiting.popleft()
            self.lost += sum(record.topic != lost_topic(self.line) for record in (first, second))
            spans = first.spans + second.spans
            why = "the disk was full or failing for too long"
            lost = Lost(line=self.line, first=first.number, last=first.number + spans - 1, why=why)
            body = msgspec.msgpack.encode(lost)
            self._waiting.appendleft(Waiting(first.number, spans, lost_topic(self.line), body))
            self._bytes += len(body) - len(first.body) - len(second.body)

    def _delete_oldest(self) -> None:
        """Whole segments, so that the one that begins has room within the quota."""
        room = (self.config.quota_mb - self.config.segment_mb) * MEGABYTE
        try:
            kept = segments(self.folder)[:-1]
            sizes = [segment.path.stat().st_size for segment in kept]
            while kept and sum(sizes) > room:
                oldest = kept.pop(0)
                sizes.pop(0)
                self._disk.delete(oldest.path)
                self._disk.delete(oldest.path.with_suffix(TORN))
        except (OSError, JournalError) as error:
            log.warning("%s: the oldest segments cannot be deleted: %s", self.folder, error)

    def _failed(self, error: OSError) -> JournalError:
        why = error.strerror or str(error)
        if not self._why:
            self._since_ns = time.time_ns()
            log.error("the journal %s cannot be written: %s", self.folder, why)
        self._why = why
        return JournalError(f"{self.folder} cannot be written: {why}; make room, or see to the disk")

    def _recovered(self) -> None:
        if self._why:
            log.warning("the journal %s is written again; %d verdicts are lost", self.folder, self.lost)
        self._why, self._since_ns = "", 0


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
