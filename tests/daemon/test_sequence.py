"""A camera's frames by number and trigger: what is lost, doubled, swapped, mislabelled or of another run is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from edge.daemon.sequence import KEPT, TRIGGERS, Order, Sequencer
from edge.records import FrameHeader


def header(seq: int, session: str = "s", trigger: str = "") -> FrameHeader:
    return FrameHeader(
        session=session,
        seq=seq,
        trigger_id=trigger or f"{session}-{seq}",
        shape=(1, 1),
        dtype="uint8",
        pixel_format="Mono8",
        encoding="raw",
        nbytes=1,
    )


def test_frames_in_order_are_next_wherever_the_camera_begins() -> None:
    found = Sequencer()
    assert [found.check("a", header(seq)) for seq in (7, 8, 9)] == [Order("next")] * 3


def test_lost_frames_are_counted_once_before_the_one_that_came() -> None:
    found = Sequencer()
    assert [found.check("a", header(seq)).missing for seq in (0, 3, 4, 9)] == [0, 2, 0, 4]


def test_a_frame_that_comes_again_is_told_from_one_that_comes_late() -> None:
    found = Sequencer()
    kinds = [found.check("a", header(seq)).kind for seq in (0, 2, 1, 1, 2, 3)]
    assert kinds == ["next", "next", "out_of_order", "repeated", "repeated", "next"]


def test_a_used_number_with_another_trigger_is_wrong_and_so_is_a_used_trigger_with_another_number() -> None:
    found = Sequencer()
    found.check("a", header(0, trigger="t0"))
    assert found.check("a", header(0, trigger="t1")).kind == "wrong_trigger"
    assert found.check("a", header(1, trigger="t0")).kind == "wrong_trigger"
    assert found.check("a", header(2, trigger="t2")).kind == "next"


def test_a_mislabelled_frame_has_come_all_the_same() -> None:
    found = Sequencer()
    orders = [found.check("a", header(seq, trigger=trigger)) for seq, trigger in ((0, "t0"), (3, "t0"), (4, "t4"))]
    assert orders == [Order("next"), Order("wrong_trigger", 2), Order("next")]
    assert found.check("a", header(3, trigger="t0")).kind == "repeated"


def test_a_trigger_counted_in_eight_bits_may_begin_again() -> None:
    found = Sequencer()
    kinds = [found.check("a", header(seq, trigger=str(seq % 256))).kind for seq in range(1000)]
    assert set(kinds) == {"next"}


def test_several_cameras_may_share_a_trigger() -> None:
    found = Sequencer()
    assert [found.check(camera, header(0, trigger="t")).kind for camera in "abc"] == ["next"] * 3


def test_a_camera_may_begin_anew_but_its_former_run_is_over() -> None:
    found = Sequencer()
    kinds = [found.check("a", header(seq, session)).kind for session, seq in (("x", 5), ("y", 0), ("x", 6), ("y", 1))]
    assert kinds == ["next", "next", "old_session", "next"]
    assert found.check("a", header(2, "y")) == Order("next")


@given(some.lists(some.integers(0, 30), max_size=60))
def test_each_number_is_answered_once_and_all_gaps_add_up(seqs: list[int]) -> None:
    found = Sequencer()
    orders = [found.check("a", header(seq)) for seq in seqs]
    answered = [seq for seq, order in zip(seqs, orders, strict=True) if order.kind != "repeated"]
    assert len(answered) == len(set(seqs))
    if seqs:
        never_passed = set(range(seqs[0], max(seqs) + 1))
        in_order = {seq for seq, order in zip(seqs, orders, strict=True) if order.kind == "next"}
        assert sum(order.missing for order in orders) == len(never_passed - in_order)


def test_what_is_remembered_of_a_camera_has_an_end() -> None:
    found = Sequencer()
    for seq in range(3 * KEPT):
        found.check("a", header(seq))
    known = found._cameras["a"]
    assert (len(known.seqs), len(known.triggers)) == (KEPT, TRIGGERS)
