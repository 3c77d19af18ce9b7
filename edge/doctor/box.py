"""Processor, cores, frequency governor, stolen time, memory: read from /proc and /sys under a root folder."""

from __future__ import annotations

from pathlib import Path

from edge.doctor.diagnosis import Diagnosis, unknown
from edge.doctor.files import group_folders, number, table, text
from edge.engines.processor import INT8_FEATURES, cpu_list, described, features

GIB = 1024**3
LEAST_MEMORY = GIB // 2
MOST_STOLEN = 0.01


def cpu(root: Path) -> Diagnosis:
    """The model, and the features that INT8 lives on."""
    flags = features(root)
    if not flags:
        return unknown("cpu", "/proc/cpuinfo")
    fast = [name for name in INT8_FEATURES if name in flags]
    found = described(root)
    if fast:
        return Diagnosis("cpu", "ok", found)
    if "avx2" in flags:
        only = "AVX-512 without VNNI" if any(flag.startswith("avx512") for flag in flags) else "AVX2 only"
        return Diagnosis("cpu", "note", found, f"{only}: INT8 gains little or nothing, and is run by LiteRT alone")
    if "asimd" in flags:
        return Diagnosis(
            "cpu", "note", found, "INT8 gains little or nothing here; the fastest graph is measured and taken"
        )
    return Diagnosis("cpu", "warning", found, "engines are slow without AVX2, or do not start; take a newer processor")


def cores(root: Path, threads: int | None, awake: bool = False) -> Diagnosis:
    """Logical and physical ones, those that this process may use, against the line's `threads` (None: no line)."""
    allowed = cpu_list(table(root / "proc/self/status").get("Cpus_allowed_list", ""))
    logical = cpu_list(text(root / "sys/devices/system/cpu/online") or "")
    if not allowed or not logical:
        return unknown("cores", "/proc/self/status and /sys/devices/system/cpu")
    places = [_place(root, core) for core in allowed]
    physical = None if None in places else len(set(places))
    quota = cpu_quota(root)
    found = f"{len(logical)} logical; this process may use {len(allowed)}, on {physical or 'unknown'} physical cores"
    found += "" if quota is None else f", for {quota:g} cores' time (its cgroup's quota)"
    if threads is None:
        return Diagnosis("cores", "ok", found)
    found += f"; threads = {threads}"
    if awake and quota is not None:
        return Diagnosis(
            "cores", "warning", found, "a line that is awake spends the quota: leave out awake, or the quota"
        )
    if threads > len(allowed) or (quota is not None and threads > quota):
        return Diagnosis(
            "cores", "warning", found, "threads wait for one another: lower `threads`, or allow more cores"
        )
    if physical is not None and threads > physical:
        advice = f"two threads share a core: threads = {physical} may be faster, measure with edge-bench run --threads"
        return Diagnosis("cores", "warning", found, advice)
    return Diagnosis("cores", "ok", found)


def _place(root: Path, core: int) -> tuple[str, str] | None:
    """Package and core: two logical ones in one place share its arithmetic."""
    topology = root / f"sys/devices/system/cpu/cpu{core}/topology"
    package, inside = text(topology / "physical_package_id"), text(topology / "core_id")
    return (package, inside) if package is not None and inside is not None else None


def cpu_quota(root: Path) -> float | None:
    """Cores' time that the tightest control group grants; None for no limit."""
    quotas = []
    for folder in group_folders(root, "cpu"):
        both = (text(folder / "cpu.max") or "").split()
        both = both or [text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
        granted, period = (number(word) for word in both) if len(both) == 2 else (None, None)
        if granted is not None and granted > 0 and period:
            quotas.append(granted / period)
    return min(quotas, default=None)


def governor(root: Path) -> Diagnosis:
    """How the cores' frequency is governed: a core that slept answers the first frame late."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    names = sorted({name for name in map(text, files) if name})
    if not names:
        virtual = "hypervisor" in table(root / "proc/cpuinfo").get("flags", "").split()
        why = "a virtual machine: its host governs" if virtual else "unknown: the kernel offers none"
        return Diagnosis("governor", "note", why)
    if names == ["performance"]:
        return Diagnosis("governor", "ok", "performance")
    advice = "frames after a pause are slow: cpupower frequency-set -g performance"
    return Diagnosis("governor", "warning", ", ".join(names), advice)


def stolen(root: Path) -> Diagnosis:
    """The share of time since the start that the host gave to others (proc(5), `steal`)."""
    first = (text(root / "proc/stat") or "").partition("\n")[0].split()
    times = [number(word) or 0 for word in first[1:9]]  # guest times are part of user's
    if len(times) < 8 or not sum(times):
        return unknown("stolen time", "/proc/stat")
    share = times[7] / sum(times)
    found = f"{share:.2%} since the box started"
    if share <= MOST_STOLEN:
        return Diagnosis("stolen time", "ok", found)
    return Diagnosis(
        "stolen time", "warning", found, "the host is shared: frames will be late; give it cores of its own"
    )


def memory(root: Path) -> Diagnosis:
    """Total, available, and what the control group allows."""
    info = table(root / "proc/meminfo")
    total, available = (_kib(info.get(name)) for name in ("MemTotal", "MemAvailable"))
    if total is None or available is None:
        return unknown("memory", "/proc/meminfo")
    limit = memory_limit(root)
    found = f"{total / GIB:.1f} GiB, {available / GIB:.1f} GiB available"
    if limit is not None and limit < total:
        found, available = f"{found}; its cgroup allows {limit / GIB:.1f} GiB", min(available, limit)
    if available >= LEAST_MEMORY:
        return Diagnosis("memory", "ok", found)
    return Diagnosis("memory", "warning", found, "a line takes some hundred MB: end other programs, or add memory")


def _kib(words: str | None) -> int | None:
    kib = number((words or "").removesuffix(" kB"))
    return None if kib is None else kib * 1024


def memory_limit(root: Path) -> int | None:
    """Bytes that the tightest control group allows; None for no limit."""
    words = [
        text(folder / name)
        for folder in group_folders(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return min((limit for limit in map(number, words) if limit is not None), default=None)
