"""The line at its own pace for long: memory, descriptors, threads and latency stay what they were."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from edge.bus.verdicts import VerdictInlet
from edge.records import Evaluation
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale, percentile
from tools.faults_suite.station import NAME, Station, running
from tools.faults_suite.traffic import DEFECTIVE, GOOD, SETTLE_S, camera_on

RATE, SLOPE_MB, DRIFT = 50.0, 1.0, 1.05
NOISE_MS = {Scale.SMOKE: 5.0, Scale.MINUTES: 1.0, Scale.HOUR: 0.2}  # what other work on the machine does to so many
BOUND = "memory under + 1 MB/h after warm-up, descriptors constant, p99 drift under 5 %"
# Noise, as a camera's frames have: a picture of it takes 4 kB, and 1 MB of them has gone round after 1,300 frames.
NOISY = np.where(DEFECTIVE == 255, 255, np.random.default_rng(1).integers(0, 103, GOOD.shape)).astype(np.uint8)
# Rings that go round soon; and fast, as a disk's latency is not the daemon's to keep (`durable` measures that).
JOURNAL = '[journal]\nfolder = "journal"\nmode = "fast"\nquota_mb = 4\nsegment_mb = 1\npictures_mb = 1\n'


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    seconds, bounds = scale.of(6.0, 90.0, 3600.0), Bounds()
    station = Station(models, folder, JOURNAL)
    resident, files, waits = list[tuple[float, float]](), list[int](), list[float]()
    with running(station), camera_on(station) as camera, closing(VerdictInlet(station.verdicts, NAME)) as inlet:
        time.sleep(SETTLE_S)
        began = looked = time.monotonic()
        while (now := time.monotonic()) - began < seconds:
            sent = perf_counter_ns()
            defective = camera.sent % 5 == 4
            camera.send(NOISY if defective else GOOD, f"t{camera.sent}")
            if not inlet.poll(5000):
                bounds.hold(False, f"no verdict for frame {camera.sent} within 5 s: {station.last_words()}")
                break
            expected = Evaluation.NOT_OK if defective else Evaluation.OK
            bounds.hold(inlet.receive().evaluation == expected, "a frame did not come out as it has to")
            waits.append((perf_counter_ns() - sent) / 1e6)
            if now - looked > seconds / 90:
                looked = now
                resident.append((now - began, station.resident_mb()))
                files.append(station.descriptors())
                say(f"{now - began:.0f} of {seconds:g} s: {resident[-1][1]:.2f} MB, {files[-1]} descriptors")
            time.sleep(max(0.0, now + 1 / RATE - time.monotonic()))
        code, took = station.stop()
        bounds.hold(code == 0 and took < 15, f"it ended with {code} after {took:.1f} s")
    return _judge(seconds, resident, files, waits, scale, bounds)


def _judge(
    seconds: float,
    resident: list[tuple[float, float]],
    files: list[int],
    waits: list[float],
    scale: Scale,
    bounds: Bounds,
) -> Outcome:
    """The first third is warm-up: memory grows with the number of kept pictures until their ring has gone round, then
    it stays. Of minutes a slope in MB/h and a p99 say little: there what was really added counts, and the median."""
    third, percent = len(resident) // 3, 99 if scale is Scale.HOUR else 50
    slope, grown = _slope(resident[third:]), resident[-1][1] - resident[third][1]
    bounds.hold((slope if scale is Scale.HOUR else grown) < SLOPE_MB, f"memory: {grown:+.2f} MB, {slope:+.1f} MB/h")
    fewest, last = min(files[:third]), min(files[-third:])  # a picture that is being written has one for a moment
    bounds.hold(last <= fewest, f"descriptors went from {fewest} to {last}")
    third = len(waits) // 3
    before, after = percentile(waits[third : 2 * third], percent), percentile(waits[2 * third :], percent)
    bounds.hold(
        after <= max(before * DRIFT, before + NOISE_MS[scale]), f"p{percent} went from {before:.2f} to {after:.2f} ms"
    )
    return Outcome(
        f"{seconds:g} s at {RATE:g} frames/s",
        f"{grown:+.2f} MB ({slope:+.1f} MB/h), {last} descriptors, p{percent} {before:.2f} -> {after:.2f} ms",
        BOUND,
        bounds.missed,
        {"slope_mb_h": slope, "grown_mb": grown, "before_ms": before, "after_ms": after},
    )


def _slope(resident: list[tuple[float, float]]) -> float:
    """Theil and Sen's, the median of all pairs', in MB an hour: one jump does not move it."""
    slopes = [(b - a) / (t - s) for n, (s, a) in enumerate(resident) for t, b in resident[n + 1 :]]
    return 3600 * percentile(slopes, 50)
