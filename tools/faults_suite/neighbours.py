"""Several daemons on one box: one whose camera floods it takes nothing from the others that they need."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from threading import Thread

from edge.records import Evaluation
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale, percentile
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import camera_on, listening, overdue_ms, send_for

CALM, PACE, DEADLINE_MS = 2, 25.0, 100.0
FLOOD = 3000.0  # frames a second: more than the daemon and this process can do together
BOUND = f"each part of the calm lines judged, within {DEADLINE_MS:g} ms; a verdict for each frame of the flood"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    seconds, bounds, totals = scale.of(2.0, 10.0, 60.0), Bounds(), list[float]()
    with ExitStack() as stack:
        flooded, *calm = (stack.enter_context(running(Station(models, folder / str(n)))) for n in range(CALM + 1))
        ears = [stack.enter_context(listening(station)) for station in (flooded, *calm)]
        cameras = [stack.enter_context(camera_on(station)) for station in (flooded, *calm)]
        paces = [FLOOD, *(PACE for _ in calm)]
        sending = [
            Thread(target=send_for, args=(camera, seconds, pace, DEADLINE_MS), daemon=True)
            for camera, pace in zip(cameras, paces, strict=True)
        ]
        for thread in sending:
            thread.start()
        for thread in sending:
            thread.join()
        for ear, camera, station in zip(ears, cameras, (flooded, *calm), strict=True):
            bounds.hold(ear.wait_for(camera.sent, 20), f"{camera.sent} frames, {len(ear.heard)} verdicts")
            code, took = station.stop()
            bounds.hold(code == 0, f"one ended with {code} after {took:.1f} s: {station.last_words()}")
        for ear in ears[1:]:
            for _, verdict in ear.verdicts():
                bounds.hold(verdict.evaluation == Evaluation.OK, f"a calm line said {verdict.reason}: {verdict.detail}")
                bounds.hold(overdue_ms(verdict) <= 0, f"a calm line was {overdue_ms(verdict):.1f} ms late")
                totals.append(verdict.times_ns["total"] / 1e6)
        flood = [verdict for _, verdict in ears[0].verdicts()]
        late = [v for v in flood if v.evaluation == Evaluation.OK and overdue_ms(v) > 0]
        bounds.hold(not late, f"{len(late)} OK of the flooded line were late")
        judged = sum(verdict.evaluation == Evaluation.OK for verdict in flood)
    say(f"{len(flood)} frames to one, {judged} of them judged; {len(totals)} to the others")
    return Outcome(
        f"{len(flood) / seconds:.0f} frames/s to one of {CALM + 1} daemons, {PACE:g} to each other, {seconds:g} s",
        f"{judged} of {len(flood)} judged, the rest told off; all {len(totals)} of the calm lines judged in "
        f"{percentile(totals, 99):.1f} ms at p99, at most {max(totals, default=0):.1f}",
        BOUND,
        bounds.missed,
        {"flood": len(flood), "judged": judged, "calm_p99_ms": percentile(totals, 99)},
    )
