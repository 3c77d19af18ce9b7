"""A journal's segment files: their names, and the one that is being written."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import JournalError
from edge.journal.disk import Disk
from edge.journal.format import HEADER_BYTES, Header, encode_header

NAME = re.compile(r"(\d{20})\.journal")
NEW = ".new"
TORN = ".torn"


@dataclass(frozen=True, slots=True)
class Segment:
    """first: the number of its first record, by its name."""

    path: Path
    first: int


def segments(folder: Path) -> list[Segment]:
    """The oldest first. Raises JournalError where the folder cannot be read."""
    try:
        found = [(path, NAME.fullmatch(path.name)) for path in folder.iterdir()]
    except OSError as error:
        raise JournalError(f"cannot read {folder}: {error.strerror}; give a journal's folder") from error
    return sorted((Segment(path, int(match[1])) for path, match in found if match), key=lambda segment: segment.first)


def segment_path(folder: Path, first: int) -> Path:
    return folder / f"{first:020d}.journal"


class OpenSegment:
    """The segment that is being written. size: bytes of it that are on the disk for certain."""

    def __init__(self, disk: Disk, folder: Path, header: Header) -> None:
        """It has its name only once its header is on the disk. Raises OSError."""
        self.path = segment_path(folder, header.first)
        self.size = HEADER_BYTES
        self.sound = True
        self._disk = disk
        new = self.path.with_suffix(NEW)
        self._file = disk.create(new)
        try:
            self._write(encode_header(header))
            disk.sync(self._file)
            disk.rename(new, self.path)
            disk.sync_folder(folder)
        except OSError:
            self.close()
            raise

    def append(self, data: bytes) -> None:
        """One write, one fdatasync. Raises OSError; then nothing of it counts, and a new segment is due unless `sound`.

        A failed fdatasync may have thrown pages away and says so only once (fsync(2)), so the file is never trusted
        again.
        """
        written = False
        try:
            self._write(data)
            written = True
            self._disk.sync(self._file)
        except OSError:
            self.sound = self._cut_back() and not written
            raise
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Only its first `size` bytes count from now on, on the disk with the next append; where the disk refuses, the
        next segment says so."""
        self.size = size
        try:
            self._disk.truncate(self._file, size)
        except OSError:
            self.sound = False

    def close(self) -> None:
        try:
            self._disk.close(self._file)
        except OSError:
            self.sound = False

    def _write(self, data: bytes) -> None:
        count = self._disk.write(self._file, data)
        if count != len(data):
            raise OSError(errno.ENOSPC, f"only {count} of {len(data)} bytes were written")

    def _cut_back(self) -> bool:
        try:
            self._disk.truncate(self._file, self.size)
            self._disk.sync(self._file)
        except OSError:
            return False
        return True
