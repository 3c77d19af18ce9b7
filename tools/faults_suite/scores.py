"""Networks that answer with what is no score, or always with the same: never OK."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np

from edge.daemon.supervisor import FAILURES
from edge.records import Evaluation, Verdict
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import DEFECTIVE, GOOD, camera_on, listening

NO_NUMBERS = {"NaN": math.nan, "inf": math.inf, "-inf": -math.inf}
CONSTANTS = {"0": 0.0, "1": 1.0, "0.2": 0.2, "-1": -1.0, "1e38": 1e38}

GRAIN = np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2  # of a plain picture a plain answer is right
# The small line's gate answers with one number: what it gives for a good part is no more constant than any other.
ONE_NUMBER = "gate", "0.2"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    return _answers(models, folder, NO_NUMBERS, scale.of(5, 100, 1000), say)


def constant(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    return _answers(models, folder, CONSTANTS, scale.of(5, 100, 1000), say)


def _answers(models: Path, folder: Path, values: dict[str, float], frames: int, say: Say) -> Outcome:
    bounds, reasons = Bounds(), Counter[str]()
    for which in ("gate", "judge"):
        for name, value in values.items():
            if (which, name) == ONE_NUMBER:
                continue
            # a daemon each: after three failures engines are opened anew
            station = Station(models, folder / f"{which}{name}", injected=True)
            with running(station), listening(station) as ear, camera_on(station) as camera:
                station.tell("gate_answer" if which == "gate" else "answer", value=value)
                for number in range(frames):
                    camera.send((DEFECTIVE if number % 2 else GOOD) + GRAIN, f"t{number}")
                    if not ear.wait_for(number + 1, 30):  # one at a time: the queue refuses none of them
                        break
                bounds.hold(len(ear.heard) >= frames, f"{which} answers {name}: {len(ear.heard)} of {frames} verdicts")
                heard = ear.verdicts()
            passed = unsound([verdict for _, verdict in heard])
            bounds.hold(not passed, f"the {which} answers {name} and {passed} of {frames} parts are OK")
            reasons.update(verdict.reason for _, verdict in heard)
            say(f"{which} answers {name}: {passed} OK")
    found = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    times = f"{frames} frames for each of {', '.join(values)}, gate and judge"
    return Outcome(times, found, "never OK", bounds.missed, {f"reason_{name}": n for name, n in reasons.items()})


def unsound(verdicts: list[Verdict]) -> int:
    """OKs that no sound engines gave: before the engines had failed often enough to be opened anew, or of a defect."""
    failed = passed = 0
    for verdict in sorted(verdicts, key=lambda verdict: verdict.seq):
        failed += verdict.reason == "engine_failed"
        defective = int((verdict.trigger_id or "t1")[1:]) % 2
        passed += verdict.evaluation == Evaluation.OK and (failed < FAILURES or bool(defective))
    return passed
