"""A line's nightly check of itself: are its golden frames what they were, is it as fast as it was on this box?

All nights are compared with one, the baseline: the first calm one of the same graphs, or the one that was accepted
since. Were each compared with the night before, a line could become slower by a little every night and nobody told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.bench.compare import BUSY, MOST_UNREST, Comparison, as_turns, compare, spread
from edge.bench.given import Given, GivenRow
from edge.bench.load import Asked, Case, Say
from edge.bench.measure import How, measure, open_subject, raise_what_failed
from edge.bench.report import Report
from edge.errors import DataError
from edge.golden import check_golden

Answer = Literal["BASELINE", "SAME", "FASTER", "SLOWER", "UNSURE", "CHANGED"]
EXIT_CODES: dict[Answer, int] = {"BASELINE": 0, "SAME": 0, "FASTER": 0, "SLOWER": 1, "CHANGED": 1, "UNSURE": 3}
# Share of the outputs' range. Engines repeat themselves to the bit, or nearly; what moves further is another result.
MOST_MOVED = 0.002
KEPT = 90  # nights, and every baseline
FEWEST_TURNS = 8


class Night(Given, frozen=True, kw_only=True):
    """One night's file: a report that `edge-bench compare` reads too, and what was made of it. golden: how far each
    graph is from its golden outputs, as a share of their range."""

    date: str
    config_sha256: str
    golden: dict[str, float]
    verdict: Answer
    told: list[str]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """baseline: the file of the night that it was compared with; None for the first."""

    file: str
    verdict: Answer
    told: list[str]
    golden: dict[str, float]
    baseline: str | None = None
    comparison: Comparison | None = None


def selfcheck(config: Path, into: Path, allow: float, accept: bool, how: How, say: Say) -> Checked | None:
    """Open the line's engines anew, run every golden frame, time them, write the night's file; None where it was
    interrupted. accept: this night is the baseline from now on.

    Raises BundleError where a golden frame is wrong by more than its bundle allows; ConfigError, DataError,
    EngineError, MissingExtra.
    """
    opened = open_subject(config, Asked(), None, say)
    assert opened.line is not None  # of a line's TOML file
    golden = golden_errors(opened.cases)
    report = measure(config, opened, how, say)
    raise_what_failed(report)
    if report.interrupted:
        return None
    now = as_given(report)
    found = None if accept else baseline(nights(into), now)
    compared = compare(found[1], now, allow) if found else None
    moved = golden_moved(found[1].golden, golden) if found else []
    verdict, told = answer(now, compared, moved, accept)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    night = msgspec.to_builtins(report) | {"date": date, "config_sha256": opened.line.sha256, "golden": golden}
    path = into / f"{date.replace(':', '').replace('+0000', 'Z')}.json"
    keep(path, night | {"verdict": verdict, "told": told})
    return Checked(
        file=str(path),
        verdict=verdict,
        told=told,
        golden=golden,
        baseline=str(found[0]) if found else None,
        comparison=compared,
    )


def golden_errors(cases: Iterable[Case]) -> dict[str, float]:
    """By bundle and graph. Raises BundleError, EngineError."""
    models = {f"{m.bundle.path.name}/{m.graph.file}": m for case in cases for m in case.models}
    return {name: check_golden(m.bundle, m.graph, m.session) for name, m in models.items()}


def golden_moved(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """The graphs whose golden outputs are not what they were, in a sentence each."""
    moved = [name for name in after if abs(after[name] - before.get(name, after[name])) > MOST_MOVED]
    return [f"{name}: its golden frame was off by {before[name]:.2%}, and is by {after[name]:.2%}" for name in moved]


def answer(
    now: Given, compared: Comparison | None, moved: Sequence[str], accept: bool = False
) -> tuple[Answer, list[str]]:
    """What the night says. compared: None where there is no baseline yet, or another one is to be made."""
    if moved:
        return "CHANGED", list(moved)
    if compared:
        return compared.verdict, [pair.why for pair in compared.pairs if pair.why] + compared.differences
    if all(map(calm, now.rows)):
        return "BASELINE", ["the nights to come are compared with this one" + (", as you said" if accept else "")]
    return "UNSURE", [BUSY]


def calm(row: GivenRow) -> bool:
    """Whether later nights can be compared with it."""
    turns = as_turns(row.frame_ms, 8)
    return len(turns) >= FEWEST_TURNS and spread(turns).turns_vary <= MOST_UNREST


def baseline(found: Sequence[tuple[Path, Night]], now: Given) -> tuple[Path, Night] | None:
    """The last one of the same graphs and threads. Another edge, kernel or engine is compared, and told."""
    same = [
        (path, night)
        for path, night in found
        if night.verdict == "BASELINE" and night.threads == now.threads and _ran(night) == _ran(now)
    ]
    return same[-1] if same else None


def _ran(given: Given) -> dict[str, list[Any]]:
    return {row.name: sorted(row.graphs, key=lambda ran: ran.bundle) for row in given.rows}


def nights(folder: Path) -> list[tuple[Path, Night]]:
    """Those that can be read, the oldest first; a file of another edge's kind is passed over."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append((path, msgspec.json.decode(path.read_bytes(), type=Night)))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return found


def as_given(report: Report) -> Given:
    """As it is read back, with all its decimals."""
    return msgspec.convert(msgspec.to_builtins(report), Given)


def keep(path: Path, night: dict[str, Any]) -> None:
    """Write one, whole or not at all; delete the oldest above KEPT that are no baseline. Raises DataError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(night), indent=1))
        partial.replace(path)
        plain = [old for old, read in nights(path.parent) if read.verdict != "BASELINE"]
        for old in plain[:-KEPT]:
            old.unlink()
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; give --into a folder of yours") from error
