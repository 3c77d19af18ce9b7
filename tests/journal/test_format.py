"""The segment's bytes: what goes in comes out, and no changed byte goes unseen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.journal.format import (
    CHAIN_BYTES,
    HEADER_BYTES,
    MARK,
    START,
    Damage,
    Header,
    Record,
    encode_header,
    encode_record,
    read_header,
    scan,
    skip,
    whole_records,
)

names = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
messages = st.lists(
    st.tuples(st.integers(1, 5), st.binary(max_size=40), st.binary(max_size=200) | st.just(MARK * 3)), max_size=12
)
positions = st.integers(0, 2**40)


def segment(first: int, sent: list[tuple[int, bytes, bytes]], chain: bytes = START) -> bytes:
    data, number = encode_header(Header("l1", first, chain)), first
    for spans, topic, body in sent:
        record, chain = encode_record(number, spans, topic, body, chain)
        data, number = data + record, number + spans
    return data


@given(names, positions, st.binary(min_size=CHAIN_BYTES, max_size=CHAIN_BYTES))
def test_a_header_comes_back(line: str, first: int, chain: bytes) -> None:
    data = encode_header(Header(line, first, chain))
    assert len(data) == HEADER_BYTES and read_header(data) == Header(line, first, chain)


@given(positions, messages)
def test_records_come_back_and_nothing_is_wrong_between_them(first: int, sent: list[tuple[int, bytes, bytes]]) -> None:
    data = segment(first, sent)
    found = list(scan(data, first, START))
    records = [item for item in found if isinstance(item, Record)]
    assert records == found == list(whole_records(data))
    assert [(record.spans, record.topic, record.body) for record in records] == sent
    for record in records:
        assert skip(data, record.number) == record.offset == skip(data, record.next - 1)


@given(positions, messages, st.data())
def test_any_change_of_any_bytes_is_found_and_costs_no_other_record(
    first: int, sent: list[tuple[int, bytes, bytes]], draw: st.DataObject
) -> None:
    data = segment(first, sent)
    begin = draw.draw(st.integers(HEADER_BYTES, max(HEADER_BYTES, len(data) - 1)))
    changed = data[:begin] + draw.draw(st.binary(max_size=30)) + data[draw.draw(st.integers(begin, len(data))) :]
    found = list(scan(changed, first, START))
    damaged = any(isinstance(item, Damage) for item in found)
    before = [record for record in whole_records(data) if record.end <= begin]
    kept = [item for item in found if isinstance(item, Record)]
    assert kept[: len(before)] == before
    # A clean cut between two records is seen by the next segment's header alone.
    assert damaged or data.startswith(changed)


@given(st.binary(max_size=300), positions)
def test_no_bytes_whatever_are_taken_for_records(data: bytes, first: int) -> None:
    assert read_header(data) is None
    assert all(isinstance(item, Damage) for item in scan(bytes(HEADER_BYTES) + data, first, START))
    assert skip(bytes(HEADER_BYTES) + data, first) >= HEADER_BYTES


def test_a_record_taken_out_or_put_elsewhere_is_found() -> None:
    sent = [(1, b"t", bytes([65 + number]) * 20) for number in range(4)]
    data = segment(7, sent)
    first, second, third, _ = whole_records(data)
    without = data[: second.offset] + data[second.end :]
    assert [item.number for item in scan(without, 7, START) if isinstance(item, Damage)] == [8]
    swapped = (
        data[: first.offset] + data[second.offset : second.end] + data[first.offset : first.end] + data[third.offset :]
    )
    assert any(isinstance(item, Damage) for item in scan(swapped, 7, START))


def test_a_record_that_was_written_anew_with_a_right_checksum_breaks_the_chain() -> None:
    data = segment(0, [(1, b"t", b"NotOK"), (1, b"t", b"next")])
    forged, _ = encode_record(0, 1, b"t", b"   OK", b"\1" * CHAIN_BYTES)
    _, second = whole_records(data)
    found = list(scan(data[:HEADER_BYTES] + forged + data[second.offset :], 0, START))
    assert [item.number for item in found if isinstance(item, Damage)] == [0, 1]
