"""Reading a journal that may be written at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import JournalError
from edge.journal.format import Record, skip, whole_records
from edge.journal.segments import Segment, segments

END = 1 << 64
PLACES = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """next: where to read on; the end that was asked for where there is no more."""

    records: list[Record]
    next: int


@dataclass
class Reader:
    """Ranges of a journal, a batch at a time. It remembers where its last batches ended, so that the next one is read
    from there."""

    folder: Path
    _places: dict[int, tuple[Path, int]] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The oldest position that is kept; 0 in an empty journal. Raises JournalError."""
        kept = segments(self.folder)
        return kept[0].first if kept else 0

    def batch(self, start: int, stop: int, most_bytes: int) -> Batch:
        """Whole records from `start` to before `stop`, of `most_bytes` together but one at least; damaged and deleted
        ones are passed over. Raises JournalError where the files cannot be read."""
        found: list[Record] = []
        size = 0
        for segment, until in _spans(self.folder, start, stop):
            place, base = self._places.get(start, (None, 0))
            base = base if place == segment.path else 0
            for record in _records(segment, start, until, base):
                size += len(record.body)
                if found and size > most_bytes:
                    return Batch(found, found[-1].next)
                found.append(record)
                self._remember(record.next, segment.path, base + record.end)
        return Batch(found, max(stop, found[-1].next if found else start))

    def _remember(self, number: int, path: Path, offset: int) -> None:
        self._places[number] = (path, offset)
        if len(self._places) > PLACES:
            del self._places[next(iter(self._places))]


def read_records(folder: Path, start: int = 0, stop: int = END) -> Iterator[Record]:
    """Every whole record from `start` to before `stop`, in order, as far as it is written now.

    Raises JournalError where the files cannot be read.
    """
    for segment, until in _spans(folder, start, stop):
        yield from _records(segment, start, until, 0)


def _spans(folder: Path, start: int, stop: int) -> Iterator[tuple[Segment, int]]:
    """The segments that hold the range, each with the number to stop at: what lies in it from the number on with which
    the next segment begins was never durable, and was written again there."""
    kept = segments(folder)
    ends = [after.first for after in kept[1:]] + [END]
    for segment, end in zip(kept, ends, strict=False):  # an empty journal has an end, and no segment
        if end > start and segment.first < stop:
            yield segment, min(end, stop)


def _records(segment: Segment, start: int, until: int, base: int) -> Iterator[Record]:
    """base: where in the file to begin, 0 where that is not known; offsets count from there. A segment that was deleted
    meanwhile has no records."""
    try:
        with segment.path.open("rb") as file:
            file.seek(base)
            data = file.read()
    except FileNotFoundError:
        return
    except OSError as error:
        raise JournalError(f"cannot read {segment.path}: {error.strerror}") from error
    for record in whole_records(data, 0 if base else skip(data, start)):
        if record.number >= until:
            return
        if record.next > start:
            yield record
