"""A judge's bundle changed again and again under load: no trigger is missed, each verdict is of one bundle, whole."""

from __future__ import annotations

import hashlib
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from edge.bundle import MANIFEST
from edge.bus.camera import Camera, at_rate
from edge.bus.control import Request, ask_reload, ask_status
from edge.records import Evaluation, Verdict
from edge.vision.image import Pixels
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale, percentile
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import DEFECTIVE, GOOD, Ear, camera_on, listening, round_trips

JUDGE = "smoother"
TRIAL = Request("reload", frames=5, seconds=10.0, disagree=0.0)  # as short as it still compares something
PATIENCE_S = 60.0
IN_TURN = {1: "SIGHUP", 3: "its file"}  # of twenty swaps; the others are asked for at the control socket
WAITING = 1000  # what else runs on the machine is not to be taken for the swap: that no frame waits long is told
AFTER = 4  # frames at least that are sent and answered between two swaps
NEARLY = 2  # verdicts come in the order of the frames, but for as many as there are workers
GROWTH_MB = 16.0
BOUND = "a verdict for each trigger, each of one bundle, the new one from then on; memory + 16 MB"


@dataclass(frozen=True, slots=True)
class Variant:
    """The judge's manifest with a threshold of its own: both judge the frames of this fault alike."""

    text: str
    threshold: float

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Swap:
    """Frames from `first` on, and before `last`, are this variant's for certain: they were sent after the swap, and
    answered before the next one was asked for."""

    variant: Variant
    first: int
    last: int


class Plant:
    """The daemon with bundles of its own, which change."""

    def __init__(self, models: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        shutil.copytree(models, folder / "models")
        self.control = f"ipc://{folder}/control"
        tables = f'control = "{self.control}"\nlimits = {{ waiting = {WAITING} }}\n'
        self.station = Station(folder / "models", folder, tables)
        self._manifest = folder / "models" / JUDGE / MANIFEST
        text = self._manifest.read_text()
        self.variants = Variant(text, 0.05), Variant(text.replace("score = 0.05,", "score = 0.0501,"), 0.0501)

    def put(self, variant: Variant) -> None:
        """All of it at once, as whoever brings a bundle has to."""
        new = self._manifest.with_name("new")
        new.write_text(variant.text)
        new.replace(self._manifest)

    def swap(self, variant: Variant, way: str | None) -> str:
        """What went wrong; empty once the daemon has it."""
        self.put(variant)
        if way is None:
            answer = ask_reload(self.control, TRIAL, PATIENCE_S)
            return "" if answer.done else answer.said
        if way == "SIGHUP":
            self.station.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + PATIENCE_S
        while ask_status(self.control, PATIENCE_S).bundles[JUDGE] != variant.sha256:
            if time.monotonic() > until:
                return f"not by {way} within {PATIENCE_S:g} s"
            time.sleep(0.02)
        return ""


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    count, bounds = scale.of(4, 40, 500), Bounds()
    plant = Plant(models, folder)
    station, done = plant.station, list[Swap]()
    resident, files, took = list[float](), list[int](), list[float]()
    with running(station), listening(station) as ear, camera_on(station) as camera:
        rate = 500 / percentile(round_trips(station, camera, 300), 50)
        with load(camera, rate):
            for number in range(count):
                began, variant, way = time.monotonic(), plant.variants[1 - number % 2], IN_TURN.get(number % 20)
                wrong = plant.swap(variant, way)
                took.append(time.monotonic() - began)
                bounds.hold(not wrong, f"swap {number}: {wrong}")
                first = camera.sent + 1  # the one before may be under way
                ear.wait_for(first + AFTER + NEARLY, PATIENCE_S)
                done.append(Swap(variant, first, len(ear.heard) - NEARLY))
                resident.append(station.resident_mb())
                files.append(station.descriptors())
                if number % max(1, count // 20) == 0:
                    say(f"{number + 1} of {count} swaps, {took[-1]:.2f} s, {resident[-1]:.1f} MB, {files[-1]} files")
        ear.wait_for(camera.sent, 20)
        ear.quiet(0.3)
        code, _ = station.stop()
        bounds.hold(code == 0, f"it ended with {code}")
    totals = [verdict.times_ns.get("total", 0) / 1e6 for _, verdict in ear.verdicts()]
    certain = _judge(ear, camera.sent, done, plant.variants, bounds)
    tenth = count // 10
    grown = max(resident[tenth:]) - resident[tenth]
    bounds.hold(grown <= GROWTH_MB, f"memory grew by {grown:.1f} MB after the first {tenth + 1} swaps")
    bounds.hold(min(files[-3:]) <= min(files[:3]), f"descriptors went from {min(files[:3])} to {min(files[-3:])}")
    return Outcome(
        f"{count} swaps at {rate:.0f} frames/s",
        f"{len(ear.heard)} verdicts of {camera.sent} triggers, {certain} certain of their bundle; "
        f"{percentile(took, 50):.2f} s a swap; p99 {percentile(totals, 99):.1f} ms, at most {max(totals):.0f}; "
        f"{grown:+.1f} MB, {files[-1]} descriptors",
        BOUND,
        bounds.missed,
        {
            "frames": camera.sent,
            "rate": rate,
            "swap_s": percentile(took, 50),
            "longest_s": max(took),
            "grown_mb": grown,
            "p99_ms": percentile(totals, 99),
            "longest_ms": max(totals),
        },
    )


@contextmanager
def load(camera: Camera, rate: float) -> Iterator[None]:
    """Frames at an even pace meanwhile, every fifth defective."""
    stop = Event()

    def go() -> None:
        for _ in at_rate(rate):
            if stop.is_set():
                return
            camera.send(_frame(camera.sent), f"t{camera.sent}")

    thread = Thread(target=go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _judge(ear: Ear, sent: int, done: list[Swap], variants: tuple[Variant, Variant], bounds: Bounds) -> int:
    """How many frames it is certain of whose they are."""
    heard = [verdict for _, verdict in ear.verdicts()]
    found = {verdict.frame_seq: verdict for verdict in heard}
    bounds.hold(len(heard) == sent, f"{sent} triggers, {len(heard)} verdicts")
    bounds.hold(found.keys() == set(range(sent)), f"{sent - len(found)} triggers have no verdict")
    thresholds = {variant.sha256: variant.threshold for variant in variants}
    for verdict in heard:
        whose = verdict.bundles.get(JUDGE, "nobody")
        bounds.hold(_right(verdict), f"{_name(verdict)}, {verdict.reason}: {verdict.detail}")
        bounds.hold(verdict.thresholds.get("score") == thresholds.get(whose, -1), f"{_name(verdict)} is of {whose}")
    certain = [(swap, number) for swap in done for number in range(swap.first, swap.last)]
    old = sum(found[n].bundles.get(JUDGE) != swap.variant.sha256 for swap, n in certain if n in found)
    bounds.hold(not old, f"{old} frames that were sent after a swap are of the bundle before it")
    return len(certain)


def _frame(number: int) -> Pixels:
    return DEFECTIVE if number % 5 == 4 else GOOD


def _right(verdict: Verdict) -> bool:
    return verdict.evaluation == (Evaluation.NOT_OK if (verdict.frame_seq or 0) % 5 == 4 else Evaluation.OK)


def _name(verdict: Verdict) -> str:
    return f"frame {verdict.frame_seq} came out as {Evaluation(verdict.evaluation).name}"
