"""The belt between the daemon's stages: what enters is collected exactly once, whatever happens to it on the way."""

from __future__ import annotations

import random
import time
from threading import Thread
from time import perf_counter_ns

import numpy as np
import pytest

from edge.daemon.ticket import READY, Belt, Ticket, undefined
from edge.inspection.pipeline import Inspection
from edge.records import Evaluation, Frame

FRAME = Frame(np.zeros((2, 2), np.uint8), 255)
ENGINES = "first"


def nobody() -> None:
    pass


def ticket(number: int, camera: str = "a", within_ms: float | None = None) -> Ticket:
    now = perf_counter_ns()
    return Ticket(number, now, camera, deadline_ns=None if within_ms is None else now + int(within_ms * 1e6))


def test_a_frame_goes_from_stage_to_stage() -> None:
    belt = Belt(4, nobody, ENGINES)
    one = ticket(0)
    belt.enter(one)
    assert belt.next_waiting() is one
    belt.offer(one)
    assert belt.take(ENGINES) == [one]
    assert belt.depths() == {"waiting": 0, "ready": 0, "done": 0, "open": 1}
    assert belt.finish(one, Inspection(Evaluation.OK, "ok"))
    assert belt.collect() == [one] and one.inspection.reason == "ok"
    assert belt.depths()["open"] == 0 and belt.collect() == []


def test_the_engines_thread_answers_itself_only_while_no_frame_waits_for_the_engines() -> None:
    belt = Belt(4, nobody, ENGINES)
    first, second = ticket(0), ticket(1)
    for one in (first, second):
        belt.enter(one)
        assert belt.next_waiting() is one
        belt.offer(one)
    assert belt.take(ENGINES) == [first]
    assert belt.finish_and_collect([(first, Inspection(Evaluation.OK, "ok"))]) == []
    assert belt.take(ENGINES) == [second]
    assert belt.finish_and_collect([(second, Inspection(Evaluation.OK, "ok"))]) == [first, second]
    assert belt.collect() == []


def ready(belt: Belt[str], number: int) -> Ticket:
    one = ticket(number)
    belt.enter(one)
    assert belt.next_waiting() is one
    belt.offer(one)
    return one


def test_the_engines_are_one_threads_until_nothing_is_ready_for_them() -> None:
    belt = Belt(4, nobody, ENGINES)
    assert belt.claim() is None, "nothing is ready"
    one = ready(belt, 0)
    assert belt.claim() is ENGINES and belt.claim() is None
    assert belt.take(ENGINES) == [one] and not belt.take(ENGINES)
    ready(belt, 1)
    assert belt.claim() is ENGINES


def test_engines_that_were_replaced_get_no_frames_and_the_new_ones_do_while_the_old_ones_finish() -> None:
    belt = Belt(4, nobody, ENGINES)
    one, two = ready(belt, 0), ready(belt, 1)
    belt.claim()
    assert belt.take(ENGINES) == [one]
    belt.hold()
    assert belt.claim() is None, "nobody gets them"
    belt.replace("second")
    assert belt.claim() == "second" and belt.take("second") == [two]
    assert belt.in_use(ENGINES), "at its last frame"
    assert not belt.take(ENGINES) and not belt.in_use(ENGINES)


def test_idle_engines_can_be_borrowed_and_no_frame_gets_them_meanwhile() -> None:
    rung: list[int] = []
    belt = Belt(4, lambda: rung.append(1), ENGINES)
    assert belt.borrow() is ENGINES
    ready(belt, 0)
    assert belt.claim() is None and belt.borrow() is None
    belt.give_back(ENGINES)
    assert rung == [1] and belt.claim() is ENGINES


def test_cameras_take_turns_however_many_frames_one_of_them_sends() -> None:
    belt = Belt(100, nobody, ENGINES)
    for number in range(9):
        belt.enter(ticket(number, "busy"))
    belt.enter(ticket(9, "calm"))
    order = [belt.next_waiting() for _ in range(4)]
    assert [t.camera for t in order if t] == ["busy", "calm", "busy", "busy"]


def test_no_more_frames_are_decoded_ahead_than_are_wanted_and_room_is_told() -> None:
    rung: list[int] = []
    belt = Belt(100, lambda: rung.append(1), ENGINES)
    for number in range(READY + 2):
        belt.enter(ticket(number))
    while found := belt.next_waiting():
        belt.offer(found)
    assert belt.depths()["ready"] == READY and not rung
    belt.take(ENGINES)
    assert rung == [1] and belt.next_waiting() is not None


def test_one_frame_too_many_and_the_oldest_of_the_busiest_camera_is_refused() -> None:
    belt = Belt(3, nobody, ENGINES)
    frames = [ticket(0, "calm"), ticket(1, "busy"), ticket(2, "busy"), ticket(3, "busy")]
    for one in frames:
        belt.enter(one)
    (refused,) = belt.collect()
    assert refused is frames[1]
    assert (refused.inspection.evaluation, refused.inspection.reason) == (Evaluation.UNDEFINED, "overload")
    assert [belt.next_waiting() for _ in range(3)] == [frames[0], frames[2], frames[3]]


@pytest.mark.parametrize("stage", ["waiting", "ready", "in the engines"])
def test_a_frame_past_its_deadline_is_answered_wherever_it_is_and_a_result_after_that_is_not(stage: str) -> None:
    belt = Belt(4, nobody, ENGINES)
    one = ticket(0, within_ms=30)
    belt.enter(one)
    if stage != "waiting":
        belt.next_waiting()
        belt.offer(one)
    if stage == "in the engines":
        assert belt.take(ENGINES) == [one]
    began = time.perf_counter()
    while not (collected := belt.collect()):
        pass
    assert 0.02 < time.perf_counter() - began < 0.2
    assert collected == [one] and one.inspection.reason == "late"
    assert not belt.finish(one, Inspection(Evaluation.OK, "ok")), "too late"
    assert one.inspection.evaluation is Evaluation.UNDEFINED
    assert belt.next_waiting() is None and not belt.take(ENGINES), "no stage spends time on it any more"
    assert belt.collect() == []


def test_what_was_refused_in_the_engines_stays_refused() -> None:
    belt = Belt(4, nobody, ENGINES)
    one = ticket(0)
    belt.enter(one)
    belt.next_waiting()
    assert belt.finish(one, undefined("engine_failed", "no answer"))
    assert not belt.finish(one, Inspection(Evaluation.OK, "ok"))
    (collected,) = belt.collect()
    assert collected.inspection.reason == "engine_failed"


def test_what_is_open_at_the_end_is_refused_but_not_what_is_done() -> None:
    belt = Belt(4, nobody, ENGINES)
    done, not_done = ticket(0), ticket(1)
    for one in (done, not_done):
        belt.enter(one)
    belt.finish(done, Inspection(Evaluation.OK, "ok"))
    belt.refuse_all("stopped", "the end")
    assert [(t.number, t.inspection.reason) for t in belt.collect()] == [(0, "ok"), (1, "stopped")]


def test_thousands_of_frames_in_three_threads_are_each_collected_once_and_none_late_is_ok() -> None:
    belt, many, rng = Belt(8, nobody, ENGINES), 3000, random.Random(7)
    answered: list[tuple[int, str]] = []

    def answer(tickets: list[Ticket]) -> None:
        answered.extend((found.number, found.inspection.reason) for found in tickets)

    def inspect() -> None:
        while len(answered) < many:
            if belt.claim() is None:
                time.sleep(0.0001)
                continue
            while found := belt.take(ENGINES, lambda tickets: len(tickets) < 3):
                if rng.random() < 0.05:
                    time.sleep(0.004)
                answer(belt.finish_and_collect([(one, Inspection(Evaluation.OK, "ok")) for one in found]))

    def publish() -> None:
        while len(answered) < many:
            answer(belt.collect())

    threads = [Thread(target=work, daemon=True) for work in (inspect, inspect, publish)]
    for thread in threads:
        thread.start()
    for number in range(many):
        belt.enter(ticket(number, f"c{number % 3}", rng.choice([None, 0.5, 20.0])))
        while found := belt.next_waiting():
            belt.offer(found)
        if number % 50 == 0:
            time.sleep(0.002)
    for thread in threads:
        while thread.is_alive():
            while found := belt.next_waiting():
                belt.offer(found)
            thread.join(0.01)
    assert sorted(number for number, _ in answered) == list(range(many))
    assert {reason for _, reason in answered} <= {"ok", "late", "overload"}
    while belt.next_waiting():
        pass  # what was answered while it waited
    assert sum(belt.depths().values()) == 0
