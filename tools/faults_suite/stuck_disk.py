"""A disk that does not answer for seconds: every part has its verdict in time all the same, nothing that is not on the
disk is OK in a durable line, and afterwards the journal holds what was published."""

from __future__ import annotations

from pathlib import Path

from edge.journal.reader import read_records
from edge.journal.verify import verify_journal
from edge.records import Evaluation, Verdict
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale, percentile
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import Ear, camera_on, listening, overdue_ms, send_for

RATE, DEADLINE_MS, LATE_MS = 100.0, 100.0, 20.0
SLOW_S = 0.012  # a write takes longer than a frame: what was late must not make the next one late
STUCK_S, CALM_S, BACK_S = 1.5, 1.0, 0.5
BOUND = "a verdict each within its deadline + 20 ms, OK only what is durable and in time, normal within 0.5 s"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    times, bounds, over = scale.of(1, 6, 60), Bounds(), list[float]()
    modes, frames, unsure = ("durable", "fast"), 0, 0
    for mode in modes:
        journal = f'[journal]\nfolder = "journal"\nmode = "{mode}"\n'
        station = Station(models, folder / mode, journal, injected=True)
        with running(station), listening(station) as ear, camera_on(station) as camera:
            station.tell("slow_disk", value=SLOW_S)
            send_for(camera, CALM_S, RATE, DEADLINE_MS)
            ear.wait_for(camera.sent, 5)
            for number in range(times):
                began = camera.sent
                station.tell("slow_disk", value=STUCK_S)
                sent = len(send_for(camera, STUCK_S, RATE, DEADLINE_MS))
                station.tell("slow_disk", value=SLOW_S)
                sent += len(send_for(camera, STUCK_S + CALM_S, RATE, DEADLINE_MS))
                ear.wait_for(began + sent, 5)
                heard = [verdict for _, verdict in ear.verdicts()[began:]]
                bounds.hold(len(heard) == sent, f"{mode}: {sent} frames, {len(heard)} verdicts")
                over += [overdue_ms(verdict) for verdict in heard]
                unsure += sum(verdict.evaluation == Evaluation.UNDEFINED for verdict in heard)
                calm = heard[-int(RATE * (CALM_S - BACK_S)) :]
                back = all(verdict.evaluation == Evaluation.OK for verdict in calm)
                bounds.hold(back, f"{mode}: not back to normal {BACK_S:g} s after the disk answered")
                say(f"{mode}, {number + 1} of {times}: {sent} frames, at most {max(over):+.1f} ms from the deadline")
            frames += camera.sent
            ear.quiet(0.5, 3)
            code, _ = station.stop()
            bounds.hold(code == 0, f"{mode}: it ended with {code}: {station.last_words()}")
        _compare(station, ear, bounds, mode)
    bounds.hold(max(over) <= LATE_MS, f"a part was answered {max(over):.1f} ms after its deadline")
    return Outcome(
        f"{times} times {STUCK_S:g} s, {' and '.join(modes)}",
        f"{frames} frames answered, at most {max(over):+.1f} ms from the deadline, {unsure} of them Undefined",
        BOUND,
        bounds.missed,
        {"frames": frames, "latest_ms": max(over), "p99_ms": percentile(over, 99), "undefined": unsure},
    )


def _compare(station: Station, ear: Ear, bounds: Bounds, mode: str) -> None:
    """What was published against what is kept, byte for byte."""
    kept = {record.number: record.body for record in read_records(station.journal)}
    bodies = [body for _, topic, body in ear.heard if topic.startswith(b"verdict/")]
    heard: list[Verdict] = [verdict for _, verdict in ear.verdicts()]
    lost = sum(kept.get(v.journal or 0) != body for v, body in zip(heard, bodies, strict=True))
    bounds.hold(not lost, f"{mode}: {lost} of {len(heard)} published verdicts are not in the journal as they were")
    passed = [verdict for verdict in heard if verdict.evaluation == Evaluation.OK]
    late = sum(overdue_ms(verdict) > 0 for verdict in passed)
    bounds.hold(not late, f"{mode}: {late} OK were made after their deadline")
    if mode == "durable":
        unsafe = sum(not verdict.durable for verdict in passed)
        bounds.hold(not unsafe, f"{unsafe} verdicts are OK and not durable")
    faults = verify_journal(station.journal).faults
    bounds.hold(not faults, f"{mode}: the journal has {len(faults)} faults: {faults[:1]}")
