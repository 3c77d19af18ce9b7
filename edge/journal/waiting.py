"""A journal's records on their way to the disk: those that wait, and those that were taken last, as what is told may
still differ from what is written."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edge.journal.entries import Lost, lost_topic

Message = tuple[bytes, bytes]  # topic and body


@dataclass(slots=True)
class Waiting:
    """offset, chain: where it was last written, in its segment and after what. anew: it was told otherwise since."""

    number: int
    spans: int
    message: Message
    offset: int = 0
    chain: bytes = b""
    anew: bool = False


class Queue:
    """Any thread appends and replaces, one takes. next: the next record's number. durable: all before it are on the
    disk as they were told. lost: records that were dropped for want of room; lost_to: none from this number on."""

    def __init__(self, line: str, most_bytes: int, first: int) -> None:
        self.next = self.durable = first
        self.lost = self.lost_to = 0
        self._line, self._most = line, most_bytes
        self._waiting: deque[Waiting] = deque()
        self._taken: list[Waiting] = []  # last, whether they are on the disk by now or not
        self._bytes = 0
        self._changing = threading.Lock()

    def append(self, messages: Sequence[Message]) -> int:
        """They are taken together. Returns the first one's number; over the bound the oldest that wait are lost."""
        with self._changing:
            first = self.next
            for told in messages:
                self._waiting.append(Waiting(self.next, 1, told))
                self._bytes += len(told[1])
                self.next += 1
            self._drop()
            return first

    def replace(self, number: int, told: Message) -> None:
        """Another body. What is at the disk, or there already, has to go there anew; nothing happens where it was
        dropped. Raises ValueError where others were written after it."""
        with self._changing:
            waits = _find(self._waiting, number)
            if waits:
                self._bytes += len(told[1]) - len(waits.message[1])
                waits.message = told
            elif taken := _find(self._taken, number):
                taken.message, taken.anew = told, True
                self.durable = min(self.durable, number)
            elif self.lost_to <= number < self.durable:
                raise ValueError(f"record {number} is on the disk, and others after it; it cannot be replaced")

    def take(self) -> list[Waiting]:
        """All that waits, in order; what was taken before and has to be written anew first, and what came after it."""
        with self._changing:
            places = [place for place, record in enumerate(self._taken) if record.anew]
            batch = [*(self._taken[places[0] :] if places else []), *self._waiting]
            if not batch:
                return []
            for record in batch:
                record.anew = False
            self._taken, self._waiting, self._bytes = batch, deque(), 0
            return batch

    def written(self, batch: list[Waiting]) -> None:
        """It is on the disk; as far as it was told so."""
        with self._changing:
            anew = next((record.number for record in batch if record.anew), None)
            self.durable = batch[-1].number + batch[-1].spans if anew is None else anew

    def keep(self, batch: list[Waiting]) -> None:
        """It could not be written: it waits again."""
        with self._changing:
            self._taken = []
            for record in reversed(batch):
                record.anew = False
                self._waiting.appendleft(record)
                self._bytes += len(record.message[1])
            self._drop()

    def _drop(self) -> None:
        """Over the bound the two oldest become one record that says which were lost."""
        while self._bytes > self._most and len(self._waiting) > 1:
            first, second = self._waiting.popleft(), self._waiting.popleft()
            self.lost += sum(record.message[0] != lost_topic(self._line) for record in (first, second))
            spans = first.spans + second.spans
            self.lost_to = first.number + spans
            why = "the disk was full or failing for too long"
            lost = Lost(line=self._line, first=first.number, last=self.lost_to - 1, why=why)
            body = msgspec.msgpack.encode(lost)
            self._waiting.appendleft(Waiting(first.number, spans, (lost_topic(self._line), body)))
            self._bytes += len(body) - len(first.message[1]) - len(second.message[1])


def _find(records: Sequence[Waiting] | deque[Waiting], number: int) -> Waiting | None:
    """What is asked for is among the last."""
    return next((record for record in reversed(records) if record.number == number and record.spans == 1), None)
