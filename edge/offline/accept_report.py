"""What `edge accept` prints: the paper's tables, one surface after the other, and what was left out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge.offline.accept_figures import Acceptance, Rates, SurfaceAcceptance
from edge.offline.report import percent

HEADINGS = ("threshold", "good", "bad", "accuracy", "good kept", "bad rejected", "unsure", "mean ms")
NAMED = 5


def acceptance_tables(report: Acceptance) -> Iterator[Table]:
    for surface, figures in report.surfaces.items():
        rows = {**figures.regions, "place" if figures.place else "": figures.place, "frame": figures.frame}
        yield _table(f"{surface}: 1. regions and frames, per cent", {n: r for n, r in rows.items() if r is not None})
        images = f"{report.frames_per_run} frames" if report.frames_per_run > 1 else "one frame"
        yield _table(f"{surface}: 2. runs, each {images}", {"run": figures.run})
        yield _table(f"{surface}: 3. parts, {report.needed} of {report.runs} runs", {"part": figures.rule})


def _table(title: str, rows: dict[str, Rates]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for name, r in rows.items():
        threshold = "-" if r.threshold is None else f"{r.threshold:.6g}"
        took = "-" if r.mean_ms is None else f"{r.mean_ms:.4g}"
        shares = map(percent, (r.accuracy, r.good_kept, r.bad_rejected))
        table.add_row(name, threshold, str(r.good), str(r.bad), *shares, str(r.unsure), took)
    return table


def remarks(report: Acceptance) -> list[str]:
    """Sentences below the tables: what did not count, and whether the line is accepted."""
    said = list(report.notes)
    for surface, figures in report.surfaces.items():
        said += [f"{surface}: {text}" for text in _left_out(figures, report.runs)]
    if report.accepted is not None:
        bound = f"good kept and bad rejected by the rule at least {percent(report.at_least)} %, no part left out"
        said.append(f"{'accepted' if report.accepted else 'NOT accepted'}: {bound}")
    return said


def _left_out(figures: SurfaceAcceptance, runs: int) -> Iterator[str]:
    if figures.short:
        named = _named([f"{name} ({count})" for name, count in figures.short.items()])
        yield f"{len(figures.short)} of {figures.parts} parts have fewer than {runs} runs and do not count: {named}"
    if figures.mixed:
        yield f"{len(figures.mixed)} parts have good and defective runs and do not count: {_named(figures.mixed)}"
    if figures.spare:
        yield f"{figures.spare} runs beyond the first {runs} of their part do not count by the rule"
    if figures.unlabelled:
        yield f"{figures.unlabelled} defective frames have no mask: their boxes do not count in the regions"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
