"""The line at its own pace for long: memory, descriptors, threads and latency stay what they were."""

from __future__ import annotations

import time
from pathlib import Path

from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale, percentile
from tools.faults_suite.station import Station, running
from tools.faults_suite.traffic import DEFECTIVE, GOOD, camera_on, listening

RATE, SLOPE_MB, DRIFT, NOISE_MS = 50.0, 1.0, 1.05, 0.2
BOUND = "memory under + 1 MB/h after warm-up, descriptors constant, p99 drift under 5 %"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    seconds, bounds = scale.of(4.0, 90.0, 3600.0), Bounds()
    journal = '[journal]\nfolder = "journal"\nquota_mb = 4\nsegment_mb = 1\npictures_mb = 2\n'
    station = Station(models, folder, journal)
    with running(station), listening(station) as ear, camera_on(station) as camera:
        # Warm-up: until the rings of segments and pictures have gone round once.
        resident, waits, files = list[tuple[float, float]](), list[float](), set[int]()
        began = told = time.monotonic()
        while (now := time.monotonic()) - began < seconds:
            sent, before = time.perf_counter_ns(), len(ear.heard)
            camera.send(GOOD if camera.sent % 5 else DEFECTIVE, f"t{camera.sent}")
            ear.wait_for(before + 1, 5)
            waits.append((ear.heard[-1][0] - sent) / 1e6)
            ear.heard = ear.heard[-1:] if len(ear.heard) > 1000 else ear.heard
            if now - told > seconds / 60:
                told = now
                resident.append((now - began, station.resident_mb()))
                files.add(station.descriptors())
            time.sleep(max(0.0, 1 / RATE - (time.monotonic() - now)))
        code, took = station.stop()
        bounds.hold(code == 0 and took < 15, f"it ended with {code} after {took:.1f} s")
    slope, grown = _slope(resident[len(resident) // 3 :]), resident[-1][1] - resident[len(resident) // 3][1]
    half = len(waits) // 3
    first, last = percentile(waits[half : 2 * half], 99), percentile(waits[2 * half :], 99)
    # Of minutes a slope says nothing: there what counts is what was really added.
    bounds.hold(slope < SLOPE_MB or (scale is not Scale.HOUR and grown < SLOPE_MB), f"memory grows by {slope:.1f} MB/h")
    bounds.hold(len(files) == 1, f"descriptors went from {min(files)} to {max(files)}")
    bounds.hold(last <= max(first * DRIFT, first + NOISE_MS), f"p99 went from {first:.2f} to {last:.2f} ms")
    return Outcome(
        f"{seconds:g} s at {RATE:g} frames/s",
        f"{grown:+.2f} MB ({slope:+.1f} MB/h), {max(files)} descriptors, p99 {first:.2f} -> {last:.2f} ms",
        BOUND,
        bounds.missed,
        {"slope_mb_h": slope, "grown_mb": grown, "p99_first_ms": first, "p99_last_ms": last},
    )


def _slope(resident: list[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of all pairs', in MB an hour; one jump does not move it."""
    slopes = [(b - a) / (t - s) for n, (s, a) in enumerate(resident) for t, b in resident[n + 1 :]]
    return 3600 * percentile(slopes, 50)
