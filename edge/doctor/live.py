"""`edge doctor --live`, top to bottom: the process, what it says and counts, and whether it runs what lies there."""

from __future__ import annotations

import time
from pathlib import Path

from edge.bundle import MANIFEST, Bundle
from edge.bus.curve import CurveClient
from edge.bus.listen import Heard, listen
from edge.bus.verdicts import age_ms
from edge.config import Line, read_line
from edge.doctor import clock, kept, permissions, process
from edge.doctor.attempt import attempt
from edge.doctor.diagnosis import Diagnosis
from edge.doctor.scrape import metrics
from edge.inspection.assemble import line_bundles
from edge.inspection.certified import certified
from edge.records import Verdict

LISTEN_S = 2.0
WHOLE_SECONDS = 2.0  # the kernel gives its boot's time in whole ones
ROOT = Path("/")


def examine_live(config: Path, curve: CurveClient | None) -> list[Diagnosis]:
    """All rows. curve: a subscriber's keys, for a line with [security]. Raises nothing: what fails is a problem."""
    rows: list[Diagnosis] = []
    line = attempt("line", rows, read_line, config)
    if line is None:
        return rows
    found = process.holders(line.config)
    rows += [process.daemon(found, line), *process.service(line)]
    there = not found or any(found.values())
    heard = (attempt("heard", rows, _hear, line, curve) if there else None) or Heard()
    if there:
        rows += [_heard(line, heard, curve), *metrics(line.config)]
    if heard.state:
        rows.append(kept.state(heard.state))
    if line.config.journal:
        rows.append(kept.room(line, line.config.journal))
    began = next((process.started(number) for number in found.values() if number is not None), None)
    return rows + _what_runs(line, heard, began) + _around(line)


def _hear(line: Line, curve: CurveClient | None) -> Heard | None:
    if line.config.security and curve is None:
        return None  # it would be turned away, and the daemon would log a stranger
    return listen(line.config.verdicts, line.config.line, LISTEN_S, curve)


def _heard(line: Line, heard: Heard, curve: CurveClient | None) -> Diagnosis:
    if line.config.security and curve is None:
        found = "unknown: the line has [security], and no subscriber's key was given"
        return Diagnosis("heard", "note", found, "give --key and --server-key, as edge watch")
    if heard.messages:
        return Diagnosis("heard", "ok", f"{heard.messages} messages in {LISTEN_S:g} s at {line.config.verdicts}")
    if line.config.journal:
        found = f"nothing in {LISTEN_S:g} s at {line.config.verdicts}, where the journal's state comes every second"
        return Diagnosis("heard", "problem", found, f"the daemon hangs, or keeps you out: {process.restart(line)}")
    found = f"nothing in {LISTEN_S:g} s: no frame came, and a line without [journal] says nothing else"
    return Diagnosis("heard", "note", found)


def _what_runs(line: Line, heard: Heard, began: float | None) -> list[Diagnosis]:
    """The daemon's last verdict against the files as they lie there. began: when it was started, None where nobody
    knows of one."""
    rows: list[Diagnosis] = []
    verdict = heard.verdict
    if verdict is None and line.config.journal:
        verdict = kept.read_last(line, line.config.journal, rows)
    rows.append(_age(verdict))
    # A verdict from before the daemon's start tells of what ran then.
    of_now = heard.verdict or (verdict and heard.state and (verdict.journal or 0) >= heard.state.began)
    bundles = attempt("bundles", rows, _verified, line)
    if bundles is not None:
        rows.append(Diagnosis("bundles", "ok", f"{', '.join(bundles)}: every file is what its manifest says"))
    if verdict is None or not of_now:
        return [*rows, *([_by_age(line, bundles or {}, began)] if began is not None else [])]
    return [*rows, _config(line, verdict), *([_running(line, verdict, bundles)] if bundles else [])]


def _age(verdict: Verdict | None) -> Diagnosis:
    if verdict is None:
        return Diagnosis("last verdict", "note", "none is known: none came while it listened, none is in a journal")
    seconds = age_ms(verdict) / 1000
    ago = (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )
    found = f"{ago} ago, {verdict.camera}: {verdict.reason}"
    if seconds < -1:
        return Diagnosis("last verdict", "warning", found, "it is of the future: the clock was set back")
    return Diagnosis("last verdict", "ok", found)


def _verified(line: Line) -> dict[str, Bundle]:
    """The bundles that the next start would open, every file compared. Raises BundleError, ConfigError."""
    bundles = line_bundles(line)
    for bundle in bundles.values():
        for entry in bundle.files:
            bundle.read(entry)
    return bundles


def _config(line: Line, verdict: Verdict) -> Diagnosis:
    if verdict.config_sha256 == line.sha256:
        return Diagnosis("config", "ok", f"the daemon runs {line.path} as it is")
    ran = verdict.config_sha256[:12]
    found = f"the daemon runs another {line.path.name} ({ran}) than lies there ({line.sha256[:12]})"
    return Diagnosis("config", "warning", found, f"it was changed since the start: {process.restart(line)}")


def _by_age(line: Line, bundles: dict[str, Bundle], began: float) -> Diagnosis:
    """Where no verdict tells: which files are younger than the daemon? By their change times, which no copy sets."""
    files = [line.path, *(bundle.path / MANIFEST for bundle in bundles.values())]
    younger = [path for path in files if path.stat().st_ctime > began + WHOLE_SECONDS]
    if younger:
        found = f"changed since the daemon's start: {', '.join(map(str, younger))}"
        return Diagnosis("config", "warning", found, f"it runs what lay there before: {process.restart(line)}")
    return Diagnosis(
        "config", "ok", "no verdict since the daemon's start tells what it runs; no file is younger than it"
    )


def _running(line: Line, verdict: Verdict, bundles: dict[str, Bundle]) -> Diagnosis:
    """The bundles of the last verdict by their manifests' digests."""
    other = [name for name, sha256 in verdict.bundles.items() if name in bundles and bundles[name].sha256 != sha256]
    gone = [name for name in verdict.bundles if name not in bundles]
    if not (other or gone):
        return Diagnosis("running bundles", "ok", f"{', '.join(verdict.bundles) or 'none'}: as they lie there")
    found = f"the daemon runs other ones than lie there: {', '.join(other + gone)}"
    return Diagnosis("running bundles", "warning", found, f"they were changed since the start: {process.restart(line)}")


def _around(line: Line) -> list[Diagnosis]:
    """Certificate, file and clock: what the next start, and every verdict's time, needs."""
    rows = [permissions.line_file(line.path)]
    if line.config.require_certificate:
        certificate = attempt("certificate", rows, certified, line)
        if certificate:
            found = f"{line.config.certificate} of {certificate.date} is a PASS of this line"
            rows.append(Diagnosis("certificate", "ok", found))
    return [*rows, clock.clock(ROOT, clock.kernel_state(), time.time(), clock.written_at()), clock.clock_source(ROOT)]
