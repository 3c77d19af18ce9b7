"""Frames worth looking at again, in a ring on the disk: rejected ones, and good ones near the threshold."""

from __future__ import annotations

import errno
import logging
import queue
import re
import threading
from collections import deque
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge.errors import JournalError
from edge.records import Evaluation, Verdict
from edge.vision.image import Pixels

log = logging.getLogger("edge")
FOLDER = "pictures"
SUFFIXES = {"raw": ".png", "png": ".png", "jpeg": ".jpg"}
PART = ".part"
QUEUE = 4
PNG_LEVEL = 1  # a third larger than the best, many times faster
SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

Encoding = Literal["raw", "png", "jpeg"]
Kept = tuple[str, Pixels | bytes | memoryview, Encoding]


def worth_keeping(verdict: Verdict, near: float) -> bool:
    """Whatever did not pass, and a good frame whose score is within `near` (a share) of the threshold."""
    if verdict.evaluation != Evaluation.OK:
        return True
    threshold = verdict.thresholds.get("score")
    return threshold is not None and verdict.score is not None and verdict.score >= threshold - near * abs(threshold)


def picture_of(journal: Path, verdict_id: str) -> Path | None:
    """The file of a frame's picture, None where none is kept."""
    if not SAFE.fullmatch(verdict_id):
        return None
    paths = (journal / FOLDER / f"{verdict_id}{suffix}" for suffix in (".png", ".jpg"))
    return next((path for path in paths if path.is_file()), None)


class Pictures:
    """A thread writes; whoever keeps a picture never waits for it.

    kept, dropped, failed: pictures written, not taken because the queue was full, and not written because the disk
    refused. thread: where it writes; it ends with `close`.
    """

    def __init__(self, journal: Path, quota_bytes: int) -> None:
        """Raises JournalError where the folder cannot be made."""
        self.kept = self.dropped = self.failed = 0
        self._folder = journal / FOLDER
        self._quota = quota_bytes
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._ring = _ring(self._folder)
        except OSError as error:
            raise JournalError(f"cannot keep pictures in {self._folder}: {error.strerror}") from error
        self._bytes = sum(size for _, size in self._ring)
        self._queue: queue.Queue[Kept | None] = queue.Queue(QUEUE)
        self.thread = threading.Thread(target=self._run, name="pictures", daemon=True)
        self.thread.start()

    def keep(self, verdict_id: str, frame: Pixels | bytes | memoryview, encoding: Encoding) -> bool:
        """frame: pixels `(h, w)` or RGB `(h, w, 3)` where `encoding` is raw, else the camera's own file, kept as it is.

        Whoever gives it leaves it unchanged. False where the queue is full.
        """
        try:
            self._queue.put_nowait((verdict_id, frame, encoding))
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        """Writes what is in the queue first."""
        if self.thread.is_alive():  # else nobody makes room
            self._queue.put(None)
        self.thread.join()

    def _run(self) -> None:
        while (taken := self._queue.get()) is not None:
            try:
                self._write(*taken)
                self.kept += 1
            except (OSError, cv2.error, MemoryError) as error:
                self.failed += 1
                log.warning("the picture of %s is not kept: %s", taken[0], error)

    def _write(self, verdict_id: str, frame: Pixels | bytes | memoryview, encoding: Encoding) -> None:
        data = _encode(frame) if isinstance(frame, np.ndarray) else frame
        path = self._folder / f"{verdict_id}{SUFFIXES[encoding]}"
        if len(data) > self._quota:
            raise OSError(errno.EFBIG, f"its {len(data)} bytes are over pictures_mb, which is for all of them")
        self._make_room(len(data))
        part = path.with_name(path.name + PART)
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._ring.append((path.name, len(data)))
        self._bytes += len(data)

    def _make_room(self, size: int) -> None:
        while self._ring and self._bytes + size > self._quota:
            name, freed = self._ring.popleft()
            self._bytes -= freed
            (self._folder / name).unlink(missing_ok=True)


def _encode(pixels: Pixels) -> bytes:
    shown = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    _, data = cv2.imencode(".png", shown, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    return data.tobytes()


def _ring(folder: Path) -> deque[tuple[str, int]]:
    """What earlier runs kept, the oldest first: names, as a Path takes four times the memory, and sizes. What they left
    half written is deleted."""
    found = []
    for path in folder.iterdir():
        if path.name.endswith(PART):
            path.unlink(missing_ok=True)
        elif path.suffix in SUFFIXES.values():
            status = path.stat()
            found.append((status.st_mtime_ns, path.name, status.st_size))
    return deque((name, size) for _, name, size in sorted(found))
