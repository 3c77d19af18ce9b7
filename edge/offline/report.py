"""What `edge evaluate` prints: tables on stdout, a progress bar on stderr, JSON for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from edge.errors import DataError
from edge.offline.figures import GateFigures, Report, StageFigures, SurfaceFigures
from edge.offline.progress import Progress
from edge.terminal import screen


def report_json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def write_report(report: Report, path: Path) -> None:
    """As JSON, the folder made where there is none. Raises DataError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report_json(report) + "\n")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; give --out a place that is writable") from error


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr that is gone when the work is done; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("opening", total=None)
        yield lambda description, done, total: bar.update(task, description=description, completed=done, total=total)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """One line a row under the keys of the first."""
    table = Table(*(str(heading) for heading in rows[0])) if rows else Table()
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    screen().print(table)


def print_tables(shown: Iterable[Table], notes: Iterable[str]) -> None:
    console = screen()
    for table in shown:
        console.print(table)
    for note in notes:
        console.print(f"note: {note}", markup=False)


def tables(report: Report) -> list[Table]:
    """Verdicts and scores by surface, the gate (where there is one), the stages; each fits 80 columns."""
    gate = [_gate(report.gate)] if report.gate.confusion else []
    return [_verdicts(report.surfaces), _scores(report.surfaces), *gate, _stages(report.stages)]


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    return table


def _verdicts(surfaces: dict[str, SurfaceFigures]) -> Table:
    headings = ("surface", "good", "bad", "gate right", "good OK", "bad NotOK", "bad OK")
    table = _table("verdicts of the whole pipeline, per cent", *headings)
    for name, f in surfaces.items():
        shares = (f.gate, f.accuracy_good, f.accuracy_defect, f.passed_defect)
        table.add_row(name, str(f.n_good), str(f.n_defect), *map(percent, shares))
    return table


def _scores(surfaces: dict[str, SurfaceFigures]) -> Table:
    table = _table("scores of the judge alone", "surface", "image AUROC", "image AP", "pixel AUROC", "AUPRO")
    for name, f in surfaces.items():
        figures = (f.image_auroc, f.image_ap, f.pixel_auroc, f.aupro)
        if any(value is not None for value in figures):
            table.add_row(name, *map(figure, figures))
    return table


def _gate(gate: GateFigures) -> Table:
    title = f"gate: seen {percent(gate.seen)} %, unseen {percent(gate.unseen)} %, "
    table = _table(f"{title}harmonic mean {percent(gate.harmonic_mean)} %", "surface")
    table.add_column("answers")
    for name, answers in gate.confusion.items():
        ranked = sorted(answers.items(), key=lambda item: -item[1])
        table.add_row(name, ", ".join(f"{answer} {count}" for answer, count in ranked))
    return table


def _stages(stages: dict[str, StageFigures]) -> Table:
    table = _table("milliseconds", "stage", "p50", "p99", "frames")
    for name, stage in stages.items():
        table.add_row(name, f"{stage.p50_ms:.2f}", f"{stage.p99_ms:.2f}", str(stage.frames))
    return table
