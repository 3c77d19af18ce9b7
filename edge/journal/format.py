"""The bytes of a segment: a header, then records, each bound to the one before it by a hash chain.

    header   magic 8s, format u16, line 64s, first record's number u64, chain before it 16s, CRC32C of all that u32
    record   mark 4s, length u32, CRC32C u32 of all that follows, and of length; number u64, spans u32, payload,
             chain 16s
    payload  the topic's length u16, topic, body
    chain    SHA-256 of (chain before, number, spans, payload), its first 16 bytes

All numbers are little-endian. spans: how many positions the record stands for; more than one where records were lost.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

MAGIC = b"EDGEJRNL"
FORMAT = 1
MARK = b"\xedREC"  # where the search for the next whole record begins after a damaged one
CHAIN_BYTES = 16
START = bytes(CHAIN_BYTES)  # the chain before record 0
PAYLOAD_BYTES = 16 * 1024 * 1024

_HEADER = struct.Struct("<8sH64sQ16s")
_CRC = struct.Struct("<I")
_HEAD = struct.Struct("<4sIIQI")
_COUNTED = struct.Struct("<IQI")
_PLACE = struct.Struct("<QI")
_TOPIC = struct.Struct("<H")
HEADER_BYTES = _HEADER.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Header:
    """line: whose journal. first: the number of the first record. chain: before it."""

    line: str
    first: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """offset, end: in the segment, in bytes. next: the number of the record after it."""

    number: int
    spans: int
    topic: bytes
    body: bytes
    chain: bytes
    offset: int
    end: int

    @property
    def next(self) -> int:
        return self.number + self.spans


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no record, or one that does not follow the one before it. number: of the record that should
    stand there, None where that is not known. tail: no whole record comes after it."""

    number: int | None
    offset: int
    end: int
    what: str
    tail: bool = False


def encode_header(header: Header) -> bytes:
    data = _HEADER.pack(MAGIC, FORMAT, header.line.encode(), header.first, header.chain)
    return data + _CRC.pack(google_crc32c.value(data))


def read_header(data: bytes) -> Header | None:
    """None where it is none, or damaged."""
    if len(data) < HEADER_BYTES or _CRC.unpack_from(data, _HEADER.size)[0] != google_crc32c.value(data[: _HEADER.size]):
        return None
    magic, version, line, first, chain = _HEADER.unpack_from(data)
    if magic != MAGIC or version != FORMAT:
        return None
    return Header(line.rstrip(b"\0").decode("ascii", "replace"), first, chain)


def link(chain: bytes, number: int, spans: int, payload: bytes) -> bytes:
    return hashlib.sha256(chain + _PLACE.pack(number, spans) + payload).digest()[:CHAIN_BYTES]


def encode_record(number: int, spans: int, topic: bytes, body: bytes, chain: bytes) -> tuple[bytes, bytes]:
    """The record's bytes, and the chain after it. chain: before it."""
    payload = _TOPIC.pack(len(topic)) + topic + body
    chain = link(chain, number, spans, payload)
    counted = _COUNTED.pack(len(payload), number, spans) + payload + chain
    head = _HEAD.pack(MARK, len(payload), google_crc32c.value(counted), number, spans)
    return head + payload + chain, chain


def record_at(data: bytes, offset: int) -> Record | None:
    """The whole record that begins there, by its CRC32C."""
    if offset + _HEAD.size > len(data):
        return None
    mark, length, crc, number, spans = _HEAD.unpack_from(data, offset)
    begin = offset + _HEAD.size
    end = begin + length + CHAIN_BYTES
    if mark != MARK or not _TOPIC.size <= length <= PAYLOAD_BYTES or not spans or end > len(data):
        return None
    if google_crc32c.value(_COUNTED.pack(length, number, spans) + data[begin:end]) != crc:
        return None
    body = begin + _TOPIC.size + _TOPIC.unpack_from(data, begin)[0]
    last = end - CHAIN_BYTES
    if body > last:
        return None
    return Record(number, spans, data[begin + _TOPIC.size : body], data[body:last], data[last:end], offset, end)


def whole_records(data: bytes, offset: int = HEADER_BYTES) -> Iterator[Record]:
    """Every record from there on that is whole by its CRC32C; what lies between them is passed over."""
    while record := record_at(data, offset) or _next_whole(data, offset):
        yield record
        offset = record.end


def skip(data: bytes, number: int) -> int:
    """Where the record that stands for `number` begins, by the heads alone; the first record's place where that does
    not lead there."""
    offset, expected = HEADER_BYTES, None
    while offset + _HEAD.size <= len(data):
        mark, length, _, found, spans = _HEAD.unpack_from(data, offset)
        if mark != MARK or found != (found if expected is None else expected):
            return HEADER_BYTES
        expected = found + spans
        if expected > number:
            return offset
        offset += _HEAD.size + length + CHAIN_BYTES
    return offset if offset == len(data) else HEADER_BYTES


def scan(data: bytes, number: int | None, chain: bytes | None) -> Iterator[Record | Damage]:
    """A segment's records and whatever is wrong between them, in order; the header is not looked at.

    number: of the first record; chain: before it. None where that is not known.
    """
    offset = HEADER_BYTES
    while offset < len(data):
        record = record_at(data, offset)
        if record is None:
            record = _next_whole(data, offset)
            end = record.offset if record else len(data)
            yield Damage(number, offset, end, f"{end - offset} bytes that are no whole record", tail=record is None)
            if record is None:
                return
            chain = None  # that of the damaged record is not known
            if number is not None and record.number > number:
                number = record.number
        if number is not None and record.number != number:
            what = f"record {record.number} stands where {number} should"
            yield Damage(number, record.offset, record.end, what)
        elif chain is not None and link_of(record, chain) != record.chain:
            yield Damage(record.number, record.offset, record.end, "its hash does not follow from the record before it")
        yield record
        offset, number, chain = record.end, record.next, record.chain


def link_of(record: Record, chain: bytes) -> bytes:
    """The chain after the record. chain: before it."""
    payload = _TOPIC.pack(len(record.topic)) + record.topic + record.body
    return link(chain, record.number, record.spans, payload)


def _next_whole(data: bytes, offset: int) -> Record | None:
    for match in re.finditer(re.escape(MARK), data[offset:]):
        record = record_at(data, offset + match.start())
        if record:
            return record
    return None
