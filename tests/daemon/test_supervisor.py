"""Engines that hang, die or fail: every part is answered, none of them OK, and the line goes on with engines anew."""

from __future__ import annotations

import select
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Event, Timer, current_thread
from threading import enumerate as enumerate_threads
from time import perf_counter_ns
from typing import Any

import msgspec
import pytest

from edge.bundle import MANIFEST
from edge.bus.control import ask_status, open_service
from edge.bus.follow import Asker
from edge.config import Line
from edge.daemon.inspector import Inspector
from edge.daemon.server import stop_on_signals
from edge.daemon.shadow import Trial
from edge.daemon.supervisor import MOST_REPLACED, hangs
from edge.daemon.ticket import Ticket
from edge.errors import BusError, EngineError
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Pipeline
from edge.journal.reader import Reader, read_records
from edge.records import Evaluation
from tests.lines import edit
from tests.sessions import FaultySession
from tests.stations import HANG_MS, Station, station_on

pytestmark = pytest.mark.usefixtures("own_cache")
DEADLINE_MS = 60.0


@pytest.fixture
def station(small_line: Line, tmp_path: Path) -> Iterator[Station]:
    with station_on(small_line, tmp_path) as station:
        yield station


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def test_a_hung_engine_is_replaced_and_every_part_answered_none_in_flight_as_ok(station: Station) -> None:
    station.send()
    assert station.next().evaluation == Evaluation.OK
    station.faulty.go_on.clear()
    station.send(3)
    hung = station.next()
    assert (hung.evaluation, hung.reason, hung.fail_safe) == (Evaluation.UNDEFINED, "engine_failed", True)
    assert "no answer from the engines for 150 ms" in hung.detail
    assert [station.next().evaluation for _ in range(2)] == [Evaluation.OK] * 2, "by the engines that replaced them"
    station.faulty.go_on.set()
    time.sleep(0.1)
    assert not station.verdicts.poll(100), "what the hung engine says in the end is heard by nobody"
    assert len(station.opened) == 1


def test_a_part_in_a_hung_engine_is_answered_at_its_deadline_not_when_the_engine_is_given_up(station: Station) -> None:
    station.faulty.go_on.clear()
    began = time.perf_counter()
    station.send(1, DEADLINE_MS)
    verdict = station.next()
    took = 1000 * (time.perf_counter() - began)
    assert (verdict.evaluation, verdict.reason) == (Evaluation.UNDEFINED, "late")
    assert DEADLINE_MS - 5 < took < DEADLINE_MS + 20 + 30, "and the test's own way to it"


@pytest.mark.parametrize("failure", [RuntimeError("out of order"), EngineError("lost its device")])
def test_an_engine_that_fails_again_and_again_is_opened_anew(station: Station, failure: Exception) -> None:
    station.faulty.failure = failure
    for _ in range(3):
        station.send()
        assert station.next().reason == "engine_failed"
    broken = station.belt.engines
    assert within(10, lambda: station.belt.engines is not broken)
    station.send()
    assert station.next().evaluation == Evaluation.OK


def test_however_much_an_engine_says_as_it_fails_subscribers_can_read_it(station: Station) -> None:
    station.faulty.failure = EngineError("\N{SNOWMAN}" * 100_000)
    station.send()
    verdict = station.next()
    assert verdict.reason == "engine_failed" and verdict.detail.startswith("\N{SNOWMAN}" * 100)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_the_engines_that_dies_is_replaced(station: Station) -> None:
    station.faulty.failure = SystemExit()
    station.send()
    verdict = station.next()
    assert (verdict.evaluation, verdict.reason) == (Evaluation.UNDEFINED, "engine_failed")
    station.send()
    assert station.next().evaluation == Evaluation.OK
    time.sleep(0.2)
    assert not station.ended, "the line goes on"


def test_a_gpu_that_fails_once_is_left_for_the_cpu_and_verdicts_say_so(small_line: Line, tmp_path: Path) -> None:
    with station_on(small_line, tmp_path, device="gpu") as station:
        station.send()
        assert station.next().device == "gpu"
        station.faulty.failure = EngineError("CUDA failure 999")
        station.send()
        assert station.next().reason == "engine_failed"
        broken = station.belt.engines
        assert within(10, lambda: station.belt.engines is not broken)
        station.send()
        verdict = station.next()
        assert (verdict.evaluation, verdict.device) == (Evaluation.OK, "cpu")


def test_new_engines_that_fail_soon_after_a_swap_are_taken_back(station: Station) -> None:
    before = station.belt.engines
    swapped = station.supervisor.swaps.ask(Trial(frames=0, seconds=0))
    assert swapped.result(30).inspector is station.belt.engines is not before
    model = station.belt.engines.pipeline.judges["dark"].model
    model.session = faulty = FaultySession(model.session)
    faulty.failure = EngineError("not as good as it looked")
    for _ in range(3):
        station.send()
        assert station.next().reason == "engine_failed"
    assert within(10, lambda: station.belt.engines is before)
    station.send()
    assert station.next().evaluation == Evaluation.OK
    assert len(station.opened) == 1, "nothing was opened for it"


@pytest.fixture
def patient(small_line: Line, tmp_path: Path) -> Iterator[Station]:
    """Opening engines takes the processor from those that run."""
    with station_on(small_line, tmp_path, hang_ms=2000) as station:
        yield station


@pytest.mark.parametrize("where", ["while they open", "at a frame"])
def test_new_engines_that_hang_in_their_trial_are_refused_and_a_later_reload_works(
    patient: Station, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr("edge.daemon.swap.OPENING_S", 2.0)
    go_on, before = Event(), patient.belt.engines

    def open_hanging(line: Line) -> Pipeline:
        if where == "while they open":
            go_on.wait()
        pipeline = open_pipeline(line)
        faulty = FaultySession(pipeline.judges["dark"].model.session)
        faulty.go_on = go_on
        pipeline.judges["dark"].model.session = faulty
        patient.opened.append(pipeline)
        return pipeline

    swaps = patient.supervisor.swaps
    usual, swaps._reopen = swaps._reopen, open_hanging
    hung = swaps.ask(Trial(frames=2, seconds=0.5, disagree=0.0))
    until = time.monotonic() + 20
    while not hung.done() and time.monotonic() < until:
        patient.send()
        assert patient.next().evaluation == Evaluation.OK
    outcome = hung.result(0)
    assert outcome.inspector is None and outcome.said == "refused: the new engines did not come through within 2.5 s"
    swaps._reopen = usual
    done = swaps.ask(Trial(frames=0, seconds=0)).result(20)
    assert done.inspector is patient.belt.engines is not before
    go_on.set()
    assert within(10, lambda: not swaps.hanging)
    assert within(10, lambda: not any(thread.name == "shadow" for thread in enumerate_threads()))


JOURNAL = '[journal]\nfolder = "journal"\nmode = "fast"\nreplay = "ipc://{}/replay"\n'


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_line_whose_journal_is_no_longer_written_ends_and_loses_nothing(
    small_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with station_on(small_line, tmp_path, table=JOURNAL.format(tmp_path)) as station:
        station.send()
        first = station.next()
        assert station.publisher.journal
        with monkeypatch.context() as patch:
            patch.setattr(station.publisher.journal._disk, "write", nobody_foresaw)
            station.send()
            assert station.next().evaluation == Evaluation.OK, "published at once, as fast has it"
            assert within(5, lambda: bool(station.ended))
        (ended,) = station.ended
        assert ended.exit_code == 13 and "the thread journal has ended" in str(ended)
        assert station.stop(1) == []
    assert [record.number for record in read_records(tmp_path / "journal")] == [first.journal, 1]


def nobody_foresaw(*_: object) -> int:
    raise RuntimeError("nobody foresaw this")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_line_whose_replays_are_answered_no_more_ends(
    small_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "first", property(nobody_foresaw))
    with station_on(small_line, tmp_path, table=JOURNAL.format(tmp_path)) as station:
        asker = Asker(f"ipc://{tmp_path}/replay")
        assert asker.snapshot() is None
        asker.close()
        assert within(5, lambda: bool(station.ended)) and "the thread replay has ended" in str(station.ended[0])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_line_that_can_be_controlled_no_more_ends(station: Station, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/control"
    service = open_service(address, nobody_foresaw)
    with pytest.raises(BusError, match="no answer"):
        ask_status(address, 0.5)
    with pytest.raises(BusError, match="the thread control has ended"):
        station.supervisor.watch(lambda: False, [service.thread])
    service.close()


def test_a_reload_that_fails_as_nobody_foresaw_is_refused_and_the_line_goes_on(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.daemon.swap.reread", nobody_foresaw)
    asked = station.supervisor.swaps.ask(Trial())
    assert asked.result(5).said == "refused: RuntimeError: nobody foresaw this"
    station.send()
    assert station.next().evaluation == Evaluation.OK


def interrupted(wait: Callable[..., object]) -> Callable[..., object]:
    """As it is, but SIGTERM is handled as soon as this thread waits so; of a condition it has the lock by then."""
    this = current_thread()

    def waits(*arguments: Any, **named: Any) -> object:
        if current_thread() is this:
            handler = signal.getsignal(signal.SIGTERM)
            assert callable(handler)
            handler(signal.SIGTERM, None)
        return wait(*arguments, **named)

    return waits


def never_ended(*_: object) -> None:
    raise TimeoutError


@pytest.fixture
def signals() -> Iterator[None]:
    """An alarm where something takes 5 s; handlers as they were, at the end."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    former = [signal.signal(number, never_ended) for number in numbers]
    yield
    signal.alarm(0)
    for number, handler in zip(numbers, former, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_the_line_ends_though_the_signal_comes_as_its_thread_begins_to_wait(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Condition, "wait", interrupted(Condition.wait))
    monkeypatch.setattr(time, "sleep", interrupted(time.sleep))
    stopping = stop_on_signals()
    signal.alarm(5)
    station.supervisor.watch(stopping)
    assert stopping()


def test_idle_engines_that_are_no_longer_right_are_opened_anew(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.daemon.supervisor.GOLDEN_S", 0.2)
    time.sleep(0.6)
    assert not station.opened, "they are right"
    station.faulty.wrong = 7.0
    assert within(10, lambda: bool(station.opened))
    station.send()
    assert station.next().evaluation == Evaluation.OK


def test_idle_engines_that_hang_at_their_golden_frame_are_replaced_before_a_part_comes(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.daemon.supervisor.GOLDEN_S", 0.2)
    station.faulty.go_on.clear()
    assert within(10, lambda: bool(station.opened))
    monkeypatch.setattr("edge.daemon.supervisor.GOLDEN_S", 60.0)
    station.send()
    assert station.next().evaluation == Evaluation.OK


def test_a_part_in_engines_that_hang_while_a_swap_replaces_them_is_answered(station: Station) -> None:
    station.faulty.go_on.clear()
    station.send()
    station.supervisor.swaps.ask(Trial(frames=0, seconds=0))
    assert station.next().reason == "engine_failed"
    station.send(2)
    assert [station.next().evaluation for _ in range(2)] == [Evaluation.OK] * 2
    station.faulty.go_on.set()
    time.sleep(0.1)
    assert not station.verdicts.poll(100), "what they say in the end is heard by nobody"


def test_a_stop_ends_a_trial(station: Station) -> None:
    answer = station.supervisor.swaps.ask(Trial(frames=1000, seconds=60))
    assert within(10, lambda: bool(station.opened))
    assert station.stop(1.0) == []
    assert answer.result(0).said == "refused: the line was stopped"


def test_several_frames_have_the_time_of_several(station: Station) -> None:
    inspector = Inspector(station.belt.engines.line, station.belt.engines.pipeline)
    inspector.tickets, inspector._began_ns = [Ticket(0, 0)], perf_counter_ns() - int(2e6 * HANG_MS)
    assert hangs(inspector)
    inspector.tickets = [Ticket(number, 0) for number in range(3)]
    assert not hangs(inspector)


def test_engines_that_stay_broken_end_the_daemon(station: Station) -> None:
    def break_again(wanted: Line) -> Pipeline:
        pipeline = open_pipeline(wanted)
        faulty = FaultySession(pipeline.judges["dark"].model.session)
        faulty.failure = EngineError("broken")
        pipeline.judges["dark"].model.session = faulty
        return pipeline

    station.supervisor._reopen = break_again
    station.faulty.failure = EngineError("broken")
    until = time.monotonic() + 30
    while not station.ended and time.monotonic() < until:
        station.send()
        assert station.next().reason == "engine_failed"
    (ended,) = station.ended
    assert ended.exit_code == 12 and f"replaced {MOST_REPLACED} times" in str(ended)


@contextmanager
def slow_to_open(station: Station) -> Iterator[Event]:
    """Engines that are opened anew hang until the event is set; the running ones hang too, with one frame."""
    go_on = Event()

    def open_late(line: Line) -> Pipeline:
        go_on.wait()
        return open_pipeline(line)

    station.supervisor._reopen = open_late
    station.faulty.go_on.clear()
    station.send()
    assert station.next().reason == "engine_failed"
    try:
        yield go_on
    finally:
        go_on.set()


def test_while_engines_are_opened_anew_deadlines_hold_and_the_watchdog_is_fed(
    small_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(1.0)
        with station_on(small_line, tmp_path) as station, slow_to_open(station) as go_on:
            station.send()  # without a deadline
            while not systemd.recv(4096).startswith(b"STATUS=no frame is inspected until"):
                pass
            until, fed = time.monotonic() + 1.5, 0
            while time.monotonic() < until:
                began = time.perf_counter()
                station.send(1, DEADLINE_MS)
                verdict = station.next()
                took = 1000 * (time.perf_counter() - began)
                assert (verdict.evaluation, verdict.reason, verdict.fail_safe) == (Evaluation.UNDEFINED, "late", True)
                assert took < DEADLINE_MS + 20 + 30, "and the test's own way to it"
                while select.select([systemd], [], [], 0)[0]:
                    fed += systemd.recv(4096) == b"WATCHDOG=1"
            assert fed >= 4, "every 0.2 s"
            go_on.set()
            answered = station.next()
            assert (answered.evaluation, answered.trigger_id) == (Evaluation.OK, "t1"), "by the new engines"
            station.faulty.go_on.set()
            assert within(5, lambda: len(station.supervisor._crew.workers) == 2), "who came back has gone"


def test_engines_that_cannot_be_opened_anew_in_time_end_the_daemon(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.daemon.opening.OPENING_S", 0.3)
    with slow_to_open(station):
        assert within(5, lambda: bool(station.ended))
        (ended,) = station.ended
        assert ended.exit_code == 12 and "others could not be opened within 0.3 s" in str(ended)
        assert sorted(station.stop(5)) == ["opening", "worker"]


def test_a_bundle_that_a_trial_refused_is_not_what_hung_engines_are_replaced_by(
    small_line: Line, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(small_line.bundles, models)
    line = msgspec.structs.replace(small_line, bundles=models)
    with station_on(line, tmp_path, hang_ms=2000) as station:
        edit(models / "smoother" / MANIFEST, "score = 0.05", "score = -1.0")
        trial = station.supervisor.swaps.ask(Trial(frames=2, seconds=20, disagree=0.0))
        while not trial.done():
            station.send()
            assert station.next().evaluation == Evaluation.OK
        assert "refused: 2 of 2 live frames came out otherwise" in trial.result().said
        station.faulty.go_on.clear()
        station.send(2)
        assert station.next().reason == "engine_failed"
        assert within(20, lambda: bool(station.ended))
        (ended,) = station.ended
        assert ended.exit_code == 12 and "no answer from the engines for 2000 ms" in str(ended)
        assert "smoother on the disk is not the bundle that ran" in str(ended)
        station.faulty.go_on.set()
        station.stop(5)
        assert station.next().evaluation == Evaluation.UNDEFINED


def test_a_line_that_is_stopped_while_engines_are_opened_answers_and_ends(station: Station) -> None:
    with slow_to_open(station):
        station.send(2)
        time.sleep(0.1)
        began = time.monotonic()
        assert sorted(station.stop(5)) == ["opening", "worker"]
        assert time.monotonic() - began < 3
        assert [station.next().reason for _ in range(2)] == ["stopped"] * 2


def test_what_is_under_way_when_the_line_stops_is_answered(station: Station) -> None:
    station.faulty.go_on.clear()
    station.send(3)
    time.sleep(0.05)
    Timer(0.2, station.faulty.go_on.set).start()
    assert station.stop(0.05) == []
    assert {station.next().reason for _ in range(3)} <= {"ok", "stopped"}


def test_what_hangs_when_the_line_stops_is_answered_and_left_behind(station: Station) -> None:
    station.faulty.go_on.clear()
    station.send(3)
    time.sleep(0.05)
    assert station.stop(0.05) == ["worker"]
    assert [station.next().reason for _ in range(3)] == ["stopped"] * 3
