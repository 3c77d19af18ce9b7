"""A part of several frames: the worst of them speaks for it, and none that is unsure or lacks a frame is OK."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import PartsConfig
from edge.inspection.part import PartAnswer, Parts, worst_evaluation
from edge.records import Evaluation, Reason, Verdict

MS = 1_000_000
REASONS: dict[Evaluation, Reason] = {
    Evaluation.OK: "ok",
    Evaluation.NOT_OK: "defect",
    Evaluation.NOT_DECIDABLE: "unseen_surface",
    Evaluation.UNDEFINED: "engine_failed",
}


def frame(
    evaluation: Evaluation = Evaluation.OK, part: str | None = "p", seq: int = 0, camera: str = "c", session: str = "s"
) -> Verdict:
    return Verdict(
        verdict_id=f"v{seq}",
        seq=seq,
        session="d",
        line="l",
        camera=camera,
        part_id=part,
        frame_session=session,
        frame_seq=seq,
        evaluation=int(evaluation),
        reason=REASONS[evaluation],
        fail_safe=False,
    )


def parts(frames: int = 3, within_ms: float = 100, waiting: int = 4) -> Parts:
    return Parts(PartsConfig(frames=frames, within_ms=within_ms, waiting=waiting))


def after(evaluations: list[Evaluation]) -> PartAnswer:
    """What a part of these frames is."""
    line = parts(len(evaluations))
    answers = [answer for seq, e in enumerate(evaluations) for answer in line.add(frame(e, seq=seq), seq)]
    assert len(answers) == 1
    return answers[0]


def test_the_worst_frame_speaks_whatever_the_order() -> None:
    order = (Evaluation.OK, Evaluation.NOT_DECIDABLE, Evaluation.UNDEFINED, Evaluation.NOT_OK)
    for length in (1, 2, 3, 4):
        for evaluations in product(order, repeat=length):
            answer = after(list(evaluations))
            assert answer.evaluation is max(evaluations, key=order.index)
            assert answer.reason == REASONS[answer.evaluation] and answer.worst.evaluation == answer.evaluation


def test_ok_needs_every_frame() -> None:
    for evaluations in product(Evaluation, repeat=3):
        for missing in (False, True):
            said = worst_evaluation(evaluations, missing)
            assert (said is Evaluation.OK) == (not missing and set(evaluations) == {Evaluation.OK})
    assert worst_evaluation([], missing=True) is Evaluation.UNDEFINED


def test_a_part_is_answered_when_its_last_frame_comes_and_not_before() -> None:
    line = parts()
    assert line.add(frame(seq=0), 0) == [] and line.add(frame(seq=1), 50 * MS) == []
    (answer,) = line.add(frame(seq=2), 100 * MS)  # to the last moment
    assert (answer.evaluation, answer.part_id, len(answer.frames)) == (Evaluation.OK, "p", 3)
    assert line.due_ns is None and line.close() == []


def test_frames_of_two_parts_and_two_cameras_may_be_mixed() -> None:
    line = parts(2)
    sent = [frame(part="a", seq=0), frame(part="b", seq=1), frame(part="b", seq=0, camera="d"), frame(part="a", seq=2)]
    answers = [answer.part_id for verdict in sent for answer in line.add(verdict, 0)]
    assert answers == ["b", "a"]


def test_a_part_whose_time_has_passed_is_undefined_and_says_how_many_frames_came() -> None:
    line = parts()
    line.add(frame(seq=0), 0)
    line.add(frame(part="later", seq=1), 60 * MS)
    assert line.due_ns == 100 * MS and line.expire(100 * MS) == []
    (answer,) = line.expire(100 * MS + 1)
    assert (answer.evaluation, answer.reason) == (Evaluation.UNDEFINED, "incomplete")
    assert "1 of 3 frames" in answer.detail and "100 ms" in answer.detail
    assert line.due_ns == 160 * MS
    assert [answer.part_id for answer in line.add(frame(part="third", seq=2), 161 * MS)] == ["later"]


def test_a_rejected_frame_rejects_a_part_that_lacks_others() -> None:
    line = parts()
    line.add(frame(Evaluation.NOT_OK), 0)
    (answer,) = line.close()
    assert (answer.evaluation, answer.reason) == (Evaluation.NOT_OK, "defect") and "1 of 3" in answer.detail


def test_a_frame_that_comes_twice_is_one_frame_and_its_worse_answer_stays() -> None:
    for first, second in permutations((Evaluation.OK, Evaluation.NOT_OK)):
        line = parts(2)
        assert line.add(frame(first, seq=0), 0) == [] == line.add(frame(second, seq=0), 1)
        (answer,) = line.add(frame(seq=1), 2)
        assert answer.evaluation is Evaluation.NOT_OK and len(answer.frames) == 2


@pytest.mark.parametrize("part", [None, ""])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_frame_without_a_part_is_a_part_that_nobody_can_pass(part: str | None, frames: int) -> None:
    line = parts(frames)
    (answer,) = line.add(frame(part=part), 0)
    assert (answer.evaluation, answer.reason, answer.part_id) == (Evaluation.UNDEFINED, "no_part_id", None)
    (answer,) = line.add(frame(Evaluation.NOT_OK, part=part), 0)
    assert answer.evaluation is Evaluation.NOT_OK
    assert line.due_ns is None


def test_one_part_too_many_ends_the_oldest() -> None:
    line = parts(waiting=2)
    assert line.add(frame(part="a"), 0) == [] == line.add(frame(part="b", seq=1), 1)
    (answer,) = line.add(frame(part="c", seq=2), 2)
    assert (answer.part_id, answer.evaluation, answer.reason) == ("a", Evaluation.UNDEFINED, "too_many_parts")
    assert "oldest of 2 parts" in answer.detail
    assert [a.part_id for a in line.close()] == ["b", "c"]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(list(Evaluation)),
        st.sampled_from(["a", "b", "c", "d", None]),
        st.integers(0, 5),
        st.integers(0, 90),
    ),
    max_size=60,
)


@given(EVENTS, st.integers(1, 4), st.integers(1, 3))
def test_whatever_comes_nothing_is_lost_nothing_grows_and_nothing_unsure_is_ok(
    events: list[tuple[Evaluation, str | None, int, int]], frames: int, waiting: int
) -> None:
    line, now = parts(frames, 100, waiting), 0
    answers: list[PartAnswer] = []
    for evaluation, part, seq, wait in events:
        now += wait * MS
        answers += line.add(frame(evaluation, part, seq), now)
        assert len(line._waiting) <= waiting
        assert all(len(kept.frames) < frames for kept in line._waiting.values())
    answers += line.close()
    shown = {(part or None, seq) for _, part, seq, _ in events}
    assert {(v.part_id, v.frame_seq) for a in answers for v in a.frames} == shown
    for answer in answers:
        sure = answer.part_id is not None and len(answer.frames) == frames
        good = all(v.evaluation == Evaluation.OK for v in answer.frames)
        assert (answer.evaluation is Evaluation.OK) == (sure and good)
        assert (answer.evaluation is Evaluation.NOT_OK) == any(v.evaluation == Evaluation.NOT_OK for v in answer.frames)


def by_cameras(**wanted: int) -> Parts:
    return Parts(PartsConfig(frames=sum(wanted.values()), within_ms=100, cameras=wanted))


def test_a_camera_triggered_twice_does_not_stand_in_for_a_dead_one() -> None:
    line = by_cameras(left=1, right=1)
    assert not line.add(frame(camera="left", seq=0), 0)
    assert not line.add(frame(camera="left", seq=1), 1)
    (answer,) = line.expire(200 * MS)
    assert (answer.evaluation, answer.reason) == (Evaluation.UNDEFINED, "incomplete")
    assert answer.detail.startswith("0 of 1 by right came")


def test_a_part_is_complete_once_each_camera_has_sent_its_frames() -> None:
    line = by_cameras(left=2, right=1)
    assert not line.add(frame(camera="left", seq=0), 0)
    assert not line.add(frame(camera="right", seq=0), 1)
    (answer,) = line.add(frame(camera="left", seq=1), 2)
    assert answer.evaluation is Evaluation.OK and len(answer.frames) == 3


def test_frames_without_end_of_one_camera_are_not_kept_without_end() -> None:
    line = by_cameras(left=1, right=1)
    ended = [answer for seq in range(20) for answer in line.add(frame(camera="left", seq=seq), seq)]
    assert [len(answer.frames) for answer in ended] == [8, 8]
    assert all(answer.evaluation is Evaluation.UNDEFINED for answer in ended)


def test_frames_and_cameras_must_agree() -> None:
    with pytest.raises(ValueError, match="cameras give 2 frames, frames = 3"):
        PartsConfig(frames=3, within_ms=100, cameras={"left": 1, "right": 1})
