"""Frames dropped, doubled, swapped, mislabelled on their way: no OK for a frame that is not the one that was seen, one
verdict for each, every gap flagged."""

from __future__ import annotations

import random
from collections import Counter, deque
from pathlib import Path
from time import perf_counter

from edge.bus.camera import Camera
from edge.records import Evaluation
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import DEFECTIVE, GOOD, Ear, camera_on, listening

OUTSTANDING = 32  # less than the line lets wait: none is refused as overload
SHARE = 0.05  # of frames, for each way
WAYS = ("drop", "double", "swap", "old trigger", "old number")
BOUND = "no mismatched OK, one verdict a frame, every gap flagged"
RECENT = 8  # a trigger or number that comes again is one of the last frames', as of a counter that is read late
Key = tuple[int, str]  # number, trigger


class Mischief:
    """Sends through a camera what a bad network or a bad trigger makes of a line's frames, and keeps the truth."""

    def __init__(self, camera: Camera, draw: random.Random) -> None:
        self.truth: dict[Key, bool] = {}  # may it be OK?
        self.done, self.dropped = Counter[str](), list[int]()
        self._right: deque[Key] = deque(maxlen=RECENT)
        self._camera, self._draw, self._next = camera, draw, 0

    def step(self) -> int:
        """How many verdicts are due for what it sent."""
        way = self._draw.choice(WAYS) if len(self._right) == RECENT and self._draw.random() < SHARE * len(WAYS) else ""
        self.done[way] += 1
        number, trigger = self._next, f"t{self._next}"
        self._next += 1
        match way:
            case "drop":
                self.dropped.append(number)
                return 0
            case "double":
                good = self._send(number, trigger)
                self._send(number, trigger, good)
                return 1
            case "swap":
                self._next += 1
                self._send(number + 1, f"t{number + 1}")
                self._send(number, trigger)
                return 2
            case "old trigger":
                self._send(number, self._draw.choice(self._right)[1], wrong=True)
            case "old number":
                self._send(self._draw.choice(self._right)[0], trigger, wrong=True)
            case _:
                self._send(number, trigger)
        return 1

    def _send(self, number: int, trigger: str, good: bool | None = None, wrong: bool = False) -> bool:
        good = self._draw.random() < 0.8 if good is None else good
        self.truth[number, trigger] = good and not wrong
        if not wrong:
            self._right.append((number, trigger))
        self._camera.sent = number
        self._camera.send(GOOD if good else DEFECTIVE, trigger)
        return good


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    frames, bounds = scale.of(1000, 20_000, 100_000), Bounds()
    station = Station(models, folder)
    with running(station), listening(station) as ear, camera_on(station) as camera:
        mischief, due, began = Mischief(camera, random.Random(11)), 0, perf_counter()
        for number in range(frames):
            due += mischief.step()
            if not ear.wait_for(due - OUTSTANDING, 10):
                bounds.hold(False, f"only {len(ear.heard)} of {due} verdicts after {number} frames")
                break
            if number % 5000 == 4999:
                say(f"{number + 1} of {frames} frames, {number / (perf_counter() - began):.0f} a second")
        ear.wait_for(due, 10)
        ear.quiet(0.3)
        mismatched, gaps, flagged = _compare(ear, mischief, bounds)
    done = ", ".join(f"{count} {way}" for way, count in mischief.done.items() if way)
    return Outcome(
        f"{frames} frames: {done}",
        f"{mismatched} mismatched OK, {flagged} of {gaps} gaps flagged",
        BOUND,
        bounds.missed,
        {"frames": frames, "mismatched": mismatched, "gaps": gaps, "flagged": flagged},
    )


def _compare(ear: Ear, mischief: Mischief, bounds: Bounds) -> tuple[int, int, int]:
    """Mismatched OKs, gaps, gaps that are flagged; a gap after the last frame that came cannot be."""
    verdicts = [verdict for _, verdict in ear.verdicts()]
    told = Counter((verdict.frame_seq or 0, verdict.trigger_id or "") for verdict in verdicts)
    bounds.hold(all(count == 1 for count in told.values()), f"{sum(c > 1 for c in told.values())} frames have two")
    bounds.hold(told.keys() == mischief.truth.keys(), f"{len(mischief.truth.keys() - told.keys())} have no verdict")
    wrong = [
        verdict
        for verdict in verdicts
        if verdict.evaluation == Evaluation.OK
        and not mischief.truth.get((verdict.frame_seq or 0, verdict.trigger_id or ""))
    ]
    bounds.hold(not wrong, f"{len(wrong)} OK that should not be, trigger {wrong[0].trigger_id if wrong else ''}")
    missing = set[int]()
    for verdict in verdicts:
        seq = verdict.frame_seq or 0
        missing.update(range(seq - verdict.missing, seq))
    last = max(verdict.frame_seq or 0 for verdict in verdicts)
    gaps = [number for number in mischief.dropped if number < last]
    flagged = sum(number in missing for number in gaps)
    bounds.hold(flagged == len(gaps), f"{len(gaps) - flagged} gaps are not flagged")
    return len(wrong), len(gaps), flagged
