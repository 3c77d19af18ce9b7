"""What the machine did meanwhile: throttling, stolen time, busy neighbours, a wrong governor, memory and energy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns

import msgspec

from edge.bench import gpu_energy
from edge.doctor.box import governor
from edge.doctor.files import number, table, text

MOST_STOLEN, MOST_NEIGHBOURS, MOST_DRIFT = 0.01, 0.05, 1.05
TICKS = os.sysconf("SC_CLK_TCK")
RAPL = "sys/class/powercap"


@dataclass(frozen=True)
class Reading:
    """At one moment. total, idle, stolen: ticks of all cores since the start. own: of this process and those below it.
    throttled: how often cores were slowed by heat. joules: each package's counter, microjoules. cards: each graphics
    card's, millijoules."""

    at_ns: int
    total: int
    idle: int
    stolen: int
    own: int
    throttled: int | None
    joules: dict[str, int]
    cards: dict[str, int]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """From the first frame to the last. stolen, neighbours: shares of all cores' time that the host gave to others and
    that other processes took. throttled: how often heat slowed a core; None where the box does not tell. memory_mb:
    resident at the end; peak_mb: at most. watts: of the processor's packages, gpu_watts: of all NVIDIA cards, each None
    where the box does not tell. remarks: what speaks against signing the figures, a sentence each."""

    seconds: float
    stolen: float
    neighbours: float
    throttled: int | None
    memory_mb: float
    peak_mb: float
    watts: float | None
    gpu_watts: float | None = None
    remarks: list[str]


def read(root: Path = Path("/")) -> Reading:
    cards = gpu_energy.millijoules()  # first: it may load the driver
    first = (text(root / "proc/stat") or "").partition("\n")[0].split()
    times = [number(word) or 0 for word in first[1:9]] + [0] * 8
    return Reading(
        at_ns=perf_counter_ns(),
        total=sum(times[:8]),
        idle=times[3] + times[4],
        stolen=times[7],
        own=_own_ticks(root),
        throttled=_throttled(root),
        joules=_joules(root),
        cards=cards,
    )


def judge(before: Reading, after: Reading, root: Path = Path("/")) -> Machine:
    """What lies between two readings."""
    seconds = (after.at_ns - before.at_ns) / 1e9
    busy = after.total - before.total - (after.idle - before.idle)
    total = max(after.total - before.total, 1)
    stolen = (after.stolen - before.stolen) / total
    neighbours = max(0.0, (busy - (after.own - before.own)) / total - stolen)
    throttled = None
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled - before.throttled
    status = table(root / "proc/self/status")
    return Machine(
        seconds=round(seconds, 3),
        stolen=round(stolen, 5),
        neighbours=round(neighbours, 5),
        throttled=throttled,
        memory_mb=_megabytes(status.get("VmRSS")),
        peak_mb=_megabytes(status.get("VmHWM")),
        watts=_watts(before, after, root, seconds),
        gpu_watts=_gpu_watts(before.cards, after.cards, seconds),
        remarks=_remarks(stolen, neighbours, throttled, root),
    )


def _remarks(stolen: float, neighbours: float, throttled: int | None, root: Path) -> list[str]:
    told = []
    if throttled:
        told.append(f"heat slowed a core {throttled} times: cool the box, or measure what it does when warm")
    if stolen > MOST_STOLEN:
        told.append(f"the host took {stolen:.1%} of the cores' time: give the box cores of its own")
    if neighbours > MOST_NEIGHBOURS:
        told.append(
            f"other processes took {neighbours:.1%} of the cores' time: end them, or measure with them as they are"
        )
    frequency = governor(root)
    if frequency.state == "warning":
        told.append(f"frequency governor: {frequency.found}; {frequency.advice}")
    return told


def _own_ticks(root: Path) -> int:
    """User and system time of this process and all below it, those that have ended included."""
    parents: dict[int, tuple[int, int]] = {}
    for path in (root / "proc").glob("[0-9]*/stat"):
        words = (text(path) or "").rpartition(")")[2].split()
        if len(words) > 14:
            parents[int(path.parent.name)] = int(words[1]), sum(int(word) for word in words[11:15])
    own = {os.getpid()}
    while grown := {pid for pid, (parent, _) in parents.items() if parent in own and pid not in own}:
        own |= grown
    return sum(parents[pid][1] for pid in own if pid in parents)


def _throttled(root: Path) -> int | None:
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [number(text(path)) for path in paths]
    return sum(count or 0 for count in counts) if counts else None


def _joules(root: Path) -> dict[str, int]:
    """Intel's and AMD's counters of whole packages, where this user may read them."""
    found = {}
    for path in (root / RAPL).glob("intel-rapl:[0-9]"):
        counted = number(text(path / "energy_uj"))
        if counted is not None:
            found[path.name] = counted
    return found


def _watts(before: Reading, after: Reading, root: Path, seconds: float) -> float | None:
    if not after.joules or after.joules.keys() != before.joules.keys() or not seconds:
        return None
    spent = 0
    for name, counted in after.joules.items():
        wrap = number(text(root / RAPL / name / "max_energy_range_uj")) or 0
        spent += counted - before.joules[name] + (wrap if counted < before.joules[name] else 0)
    return round(spent / 1e6 / seconds, 2)


def _gpu_watts(before: dict[str, int], after: dict[str, int], seconds: float) -> float | None:
    if not after or after.keys() != before.keys() or not seconds or any(after[card] < before[card] for card in after):
        return None  # a driver that was loaded anew counts from zero
    return round(sum(after[card] - before[card] for card in after) / 1e3 / seconds, 2)


def _megabytes(words: str | None) -> float:
    kib = number((words or "").removesuffix(" kB"))
    return round((kib or 0) / 1000 * 1.024, 1)
