"""The verdict message, and what a subscriber notices."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgpack
import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from edge.bus.sockets import open_socket
from edge.bus.verdicts import Continuity, VerdictOutlet, read_verdict, verdict_topic
from edge.errors import BusError
from edge.records import Defect, Evaluation, Verdict


def verdict(seq: int = 0, session: str = "a", surface: str | None = "pill") -> Verdict:
    return Verdict(
        verdict_id=f"{session}-{seq}",
        seq=seq,
        session=session,
        line="l1",
        camera="c1",
        evaluation=int(Evaluation.NOT_OK),
        reason="defect",
        fail_safe=False,
        surface=surface,
        score=0.75,
        defects=(Defect("crack", 0.9, (1, 2, 3, 4), 12.0),),
    )


def test_a_verdict_survives_the_wire() -> None:
    assert read_verdict(msgspec.msgpack.encode(verdict())) == verdict()


def test_the_wire_holds_one_plain_map() -> None:
    wire = msgpack.unpackb(msgspec.msgpack.encode(verdict()))
    assert wire["evaluation"] == 2 and wire["defects"][0]["bbox"] == [1, 2, 3, 4] and wire["v"] == 1


def test_the_topic_names_line_surface_and_evaluation() -> None:
    assert verdict_topic(verdict()) == b"verdict/l1/pill/2"
    assert verdict_topic(verdict(surface=None)) == b"verdict/l1/-/2"


@given(st.binary(max_size=500))
def test_no_bytes_whatever_do_more_than_raise_a_bus_error(data: bytes) -> None:
    with pytest.raises(BusError):
        read_verdict(data)


def test_another_version_is_refused() -> None:
    wire = msgpack.unpackb(msgspec.msgpack.encode(verdict()))
    with pytest.raises(BusError, match="v = 2"):
        read_verdict(msgpack.packb(wire | {"v": 2}))


def test_gaps_repeats_and_restarts_are_counted() -> None:
    continuity = Continuity()
    assert [continuity.check(verdict(seq)) for seq in (5, 6, 9, 8, 10)] == [0, 0, 2, 0, 0]
    assert continuity.check(verdict(0, session="b")) == 0
    assert (continuity.lost, continuity.repeated, continuity.restarts) == (2, 1, 1)


def test_what_a_stalled_subscriber_may_keep_of_the_memory_has_an_end(tmp_path: Path) -> None:
    address, body = f"ipc://{tmp_path}/verdicts", bytes(1500)
    with closing(VerdictOutlet(address)) as outlet, open_socket(zmq.SUB, address, bind=False, high_water=1) as stalled:
        stalled.subscribe(b"")
        assert not stalled.poll(300)  # the subscription travels as well
        for _ in range(20_000):
            outlet.publish(b"verdict/l1/pill/1", body)
        kept = 0
        while stalled.poll(300):
            stalled.recv_multipart()
            kept += 1
    assert 0 < kept < 10_000
