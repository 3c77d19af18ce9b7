"""The clock: synchronised, cheap to read, and not before edge itself was written."""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime
from pathlib import Path

import edge
from edge.doctor.diagnosis import Diagnosis, unknown
from edge.doctor.files import text

NOT_SYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
TIMEX_BYTES = 512  # more than struct timex takes anywhere; all zero asks and changes nothing
SYNCHRONISED = "run/systemd/timesync/synchronized"
KEEPERS = {
    "systemd-timesyncd": "run/systemd/timesync",
    "chrony": "run/chrony",
    "ntpd": "run/ntpd.pid",
    "ptp4l": "run/ptp4l",
}
QUICK = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen")


def kernel_state() -> int | None:
    """What adjtimex(2) says of the clock; None where it may not be asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    asked = getattr(libc, "adjtimex", None)
    state = -1 if asked is None else int(asked(ctypes.create_string_buffer(TIMEX_BYTES)))
    return None if state < 0 else state


def written_at() -> float:
    """Seconds of the epoch when the newest file of this package was written."""
    return max(path.stat().st_mtime for path in Path(edge.__file__).parent.rglob("*.py"))


def clock(root: Path, state: int | None, now: float, written: float) -> Diagnosis:
    """state: of `kernel_state`. now, written: seconds of the epoch; edge's own files are never younger than today."""
    today = datetime.fromtimestamp(now, UTC)
    if now < written:
        found = (
            f"{today:%Y-%m-%d %H:%M} UTC, before edge was installed ({datetime.fromtimestamp(written, UTC):%Y-%m-%d})"
        )
        return Diagnosis(
            "clock", "problem", found, "verdicts carry wrong times: set the clock, timedatectl set-ntp true"
        )
    keepers = [name for name, path in KEEPERS.items() if (root / path).exists()]
    by = f" ({', '.join(keepers)})" if keepers else ""
    if (root / SYNCHRONISED).exists() or state not in (None, NOT_SYNCHRONISED):
        return Diagnosis("clock", "ok", f"{today:%Y-%m-%d %H:%M} UTC, synchronised{by}")
    if state is None:
        return unknown("clock", "adjtimex(2)")
    advice = "times and deadlines drift from the cameras': timedatectl set-ntp true, or chrony"
    return Diagnosis("clock", "warning", f"{today:%Y-%m-%d %H:%M} UTC, not synchronised{by}", advice)


def clock_source(root: Path) -> Diagnosis:
    folder = root / "sys/devices/system/clocksource/clocksource0"
    name = text(folder / "current_clocksource")
    if not name:
        return unknown("clock source", "/sys/devices/system/clocksource")
    if name in QUICK:
        return Diagnosis("clock source", "ok", name)
    offered = text(folder / "available_clocksource") or "unknown"
    advice = "slow to read, and the kernel found the others unsteady: look into the BIOS and dmesg | grep clocksource"
    return Diagnosis("clock source", "warning", f"{name} (available: {offered})", advice)
