"""Is the line's daemon there? By the locks beside its sockets, which the kernel lets go of when it dies."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from edge.config import Line, LineConfig
from edge.doctor.diagnosis import Diagnosis, unknown
from edge.doctor.files import number, table, text

IPC = "ipc://"
ETC = Path("/etc/edge")
BOOTED = Path("/run/systemd/system")
TIMEOUT_S = 10.0


def holders(config: LineConfig, root: Path = Path("/")) -> dict[str, int | None]:
    """The process that has each ipc socket, by its name; None where nobody has. Not taken to see it: a daemon that
    starts at this moment would find it taken. Those that this user may not look at are left out."""
    sockets = {"frames": config.frames, "verdicts": config.verdicts}
    if config.journal and config.journal.replay:
        sockets["replay"] = config.journal.replay
    locked = _locked(text(root / "proc/locks") or "")
    found: dict[str, int | None] = {}
    for name, address in sockets.items():
        if address.startswith(IPC):
            try:
                found[name] = locked.get(Path(f"{address.removeprefix(IPC)}.lock").stat().st_ino)
            except PermissionError:
                continue
            except OSError:
                found[name] = None
    return found


def _locked(locks: str) -> dict[int, int]:
    """The process of each file's exclusive flock, by the file's inode (proc_locks(5)); a waiting one begins with ->."""
    found = {}
    for line in locks.splitlines():
        words = line.split()
        if words[1:2] == ["FLOCK"] and words[3:4] == ["WRITE"] and len(words) > 5:
            inode, process = number(words[5].rpartition(":")[2]), number(words[4])
            if inode is not None and process is not None:
                found[inode] = process
    return found


def daemon(found: dict[str, int | None], line: Line) -> Diagnosis:
    if not found:
        return Diagnosis(
            "daemon", "note", "unknown: no ipc socket of the line can be looked at; run it as the service's user"
        )
    advice = f"start it: {_start(line)}; what it said last: journalctl -u {unit(line) or 'edge@NAME'}"
    missing = [name for name, process in found.items() if process is None]
    if len(missing) == len(found):
        return Diagnosis("daemon", "problem", f"none: nobody has the sockets {', '.join(found)}", advice)
    processes = sorted({str(process) for process in found.values() if process is not None})
    told = f"process {', '.join(processes)}"
    if missing or len(processes) > 1:
        at = "; ".join(f"{name}: {process or 'nobody'}" for name, process in found.items())
        advice = "another daemon has a socket of this line, or the file was changed: restart the line's"
        return Diagnosis("daemon", "problem", f"not one process has all sockets ({at})", advice)
    memory = table(Path(f"/proc/{processes[0]}/status")).get("VmRSS")
    return Diagnosis("daemon", "ok", told + (f", {memory} of memory" if memory else ""))


def started(process: int, root: Path = Path("/")) -> float | None:
    """Seconds of the epoch, by field 22 of proc(5)'s stat; None where /proc does not tell."""
    words = (text(root / f"proc/{process}/stat") or "").rpartition(")")[2].split()
    booted = next((line.split()[1] for line in (text(root / "proc/stat") or "").splitlines() if "btime" in line), None)
    ticks, boot = number(words[19] if len(words) > 19 else None), number(booted)
    return None if ticks is None or boot is None else boot + ticks / os.sysconf("SC_CLK_TCK")


def unit(line: Line) -> str | None:
    """Its service, where its file lies where the service's does."""
    path = line.path.resolve()
    return f"edge@{path.stem}" if path.parent == ETC else None


def _start(line: Line) -> str:
    name = unit(line)
    return f"systemctl start {name}" if name else f"edge run --config {line.path}"


def restart(line: Line) -> str:
    """The command that has the daemon read everything anew."""
    name = unit(line)
    return f"systemctl restart {name}" if name else "restart the daemon"


def service(line: Line) -> list[Diagnosis]:
    """What systemd says of it; nothing where systemd does not run it."""
    name = unit(line)
    if name is None or not BOOTED.is_dir() or shutil.which("systemctl") is None:
        return []
    fields = "ActiveState,SubState,NRestarts,StatusText"
    try:
        done = subprocess.run(
            ["systemctl", "show", f"--property={fields}", name], capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except (subprocess.TimeoutExpired, OSError):
        return [unknown("service", "systemctl show")]
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    state = told.get("ActiveState", "")
    found = f"{name} is {state or 'unknown'} ({told.get('SubState', '')}) {told.get('StatusText', '')}".strip()
    if state != "active":
        return [Diagnosis("service", "problem", found, f"journalctl -u {name}; systemctl start {name}")]
    restarts = number(told.get("NRestarts")) or 0
    if restarts:
        return [Diagnosis("service", "warning", f"{found}; restarted {restarts} times", f"journalctl -u {name}")]
    return [Diagnosis("service", "ok", found)]
