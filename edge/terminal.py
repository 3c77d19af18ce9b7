"""What people see on a terminal: verdict rows, summary lines, tables."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge.records import Alarm, Evaluation, PartVerdict, Verdict

STYLES = {
    Evaluation.OK: "green",
    Evaluation.NOT_OK: "bold red",
    Evaluation.NOT_DECIDABLE: "yellow",
    Evaluation.UNDEFINED: "magenta",
}
NAMES = {
    Evaluation.OK: "OK",
    Evaluation.NOT_OK: "NotOK",
    Evaluation.NOT_DECIDABLE: "NotDecidable",
    Evaluation.UNDEFINED: "Undefined",
}
HEADINGS = f"{'part':<22} {'surface':<15} {'evaluation':<13} {'score':>7} {'defects':>7} {'ms':>7}  why"
WIDE = 200


def screen() -> Console:
    """Standard output. A file or a pipe is WIDE, so that little in it is wrapped, unless COLUMNS says otherwise."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=WIDE if piped else None)


def row_of(message: Verdict | PartVerdict | Alarm) -> Text:
    """One line of whatever a line publishes."""
    if isinstance(message, Alarm):
        return alarm_row(message)
    return part_row(message) if isinstance(message, PartVerdict) else verdict_row(message)


def verdict_row(verdict: Verdict, milliseconds: float | None = None) -> Text:
    """One line: part, surface, evaluation, score, defects, milliseconds (the daemon's own where not given), reason."""
    if milliseconds is None:
        milliseconds = verdict.times_ns.get("total", 0) / 1e6
    name = (verdict.part_id or verdict.trigger_id or "-")[-22:]  # what tells parts apart stands at the end
    row = Text(f"{name:<22} {verdict.surface or '-':<15} ")
    return _decided(row, verdict, f"{len(verdict.defects)}", milliseconds)


def part_row(verdict: PartVerdict) -> Text:
    """One line below its frames': part, surface, evaluation, the worst frame's score, frames that came, milliseconds
    since the first of them, reason."""
    row = Text(f"{'= ' + (verdict.part_id or '-'):<22.22} {verdict.surface or '-':<15} ", "bold")
    return _decided(row, verdict, f"{len(verdict.frames)}/{verdict.expected}", verdict.span_ns / 1e6)


def _decided(row: Text, verdict: Verdict | PartVerdict, counted: str, milliseconds: float) -> Text:
    """The row with what was decided, and why."""
    evaluation = Evaluation(verdict.evaluation)
    score = "-" if verdict.score is None else f"{verdict.score:.3g}"
    why = verdict.detail or ("" if verdict.reason == "ok" else verdict.reason.replace("_", " "))
    row.append(f"{NAMES[evaluation]:<13}", STYLES[evaluation])
    row.append(f" {score:>7} {counted:>7} {milliseconds:>7.1f}  {why}")
    return row


def alarm_row(alarm: Alarm) -> Text:
    """One line between those of the frames: camera, surface, whether it has begun or is over, why."""
    row = Text(f"{'! ' + alarm.camera:<22.22} {alarm.surface:<15} ", "bold")
    row.append(f"{'alarm' if alarm.raised else 'over':<13}", "bold yellow" if alarm.raised else "green")
    row.append(f" {'':>7} {'':>7} {'':>7}  {alarm.detail}")
    return row


@dataclass
class Tally:
    """Running totals of a stream of verdicts."""

    evaluations: Counter[Evaluation] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, verdict: Verdict, milliseconds: float) -> None:
        self.evaluations[Evaluation(verdict.evaluation)] += 1
        self.milliseconds.append(milliseconds)

    @property
    def parts(self) -> int:
        return self.evaluations.total()

    def percentile(self, percent: float) -> float:
        """Milliseconds; 0 before the first verdict."""
        return float(np.percentile(self.milliseconds, percent)) if self.milliseconds else 0.0

    def line(self) -> Text:
        text = Text(f"{self.parts} parts  ")
        for evaluation in STYLES:
            text.append(f"{NAMES[evaluation]} {self.evaluations[evaluation]}  ", STYLES[evaluation])
        text.append(f"p50 {self.percentile(50):.1f} ms  p99 {self.percentile(99):.1f} ms")
        return text

    def table(self, title: str) -> Table:
        table = Table(title=title)
        for heading in ("parts", *NAMES.values(), "p50 ms", "p99 ms"):
            table.add_column(heading, justify="right")
        counts = [str(self.evaluations[evaluation]) for evaluation in NAMES]
        table.add_row(str(self.parts), *counts, f"{self.percentile(50):.1f}", f"{self.percentile(99):.1f}")
        return table
