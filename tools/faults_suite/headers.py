"""Hostile headers: each is refused or read, none takes long, and memory stays. Where Atheris is here, half of them by a
fuzzer that sees what they reach; the others are good ones with bytes turned over."""

from __future__ import annotations

from pathlib import Path

from tests.bus.test_fuzz import hammer
from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.fuzz_run import can_fuzz, fuzz

GROWN_MB, SLOWEST_S = 16.0, 0.1


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    count, bounds = scale.of(20_000, 500_000, 10_000_000), Bounds()
    guided, reached, figures = 0, "no fuzzer: Atheris is not here", dict[str, float]()
    if can_fuzz():
        done = fuzz(count // 2, folder, say)
        guided = done.runs
        bounds.hold(not done.wrong, f"the fuzzer: {done.wrong}")
        bounds.hold(done.grown_mb < GROWN_MB, f"the fuzzer: memory grew by {done.grown_mb} MB")
        reached = f"the fuzzer saw {done.edges} edges, {done.grown_mb:+} MB"
        figures = {"fuzzed": guided, "edges": done.edges, "fuzzer_grown_mb": done.grown_mb}
    grown, slowest, read = hammer(count - guided)
    say(f"{read} of {count - guided} could be read")
    bounds.hold(grown < GROWN_MB * 1e6, f"memory grew by {grown / 1e6:.1f} MB")
    bounds.hold(slowest < SLOWEST_S, f"one took {slowest:.2f} s")
    found = f"{read} read, the rest refused; {grown / 1e6:+.1f} MB, slowest {1000 * slowest:.1f} ms; {reached}"
    figures |= {"grown_mb": grown / 1e6, "slowest_ms": 1000 * slowest}
    times = f"{count} headers, {guided} of them by the fuzzer"
    return Outcome(times, found, "no crash, no hang, memory + 16 MiB", bounds.missed, figures)
