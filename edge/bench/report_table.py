"""A report on the terminal: its table, and a sentence for whatever speaks against it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from edge.bench.report import LAST_STAGES, Report, Row, short
from edge.bench.scenarios import Plan
from edge.bench.statistics import Answer
from edge.engines.choose import cache_folder

STYLES: dict[Answer, str] = {"PASS": "green", "FAIL": "bold red", "INSUFFICIENT": "yellow"}


def print_report(report: Report, console: Console) -> None:
    """The table, which fits 80 columns, then what it says in sentences."""
    table = Table(box=None, padding=(0, 0, 0, 1), title=f"{report.subject} ({report.kind}), {report.threads} threads")
    table.add_column("stage, ms", no_wrap=True)
    for heading in ("n", "p50", "p90", "p95", "p99", "at most", "target"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in report.rows:
        _add_row(table, row)
    console.print(table)
    if len(report.rows) > 1:
        stars = {"graph": "decides", "line": "is what the line would run"}
        star = stars.get(report.kind, "is what a line of this bundle alone would run")
        console.print(f"* {star}. Cases took turns in one run.")
    for row in report.rows:
        if row.frames:
            console.print(
                f"{row.name}: {_came(row, report.plan)}", style="bold red" if row.failed else "", markup=False
            )
    for ratio in report.ratios:
        figures = f"{ratio.ratio:.2f} times as long as {ratio.row} ({ratio.low:.2f} to {ratio.high:.2f})"
        console.print(f"{ratio.other} takes {figures}", markup=False)
    for row in report.rows:
        _print_remarks(row, console)
    _print_faster(report.rows, console)
    _print_machine(report, console)
    if report.plan.scenario == "offline":
        console.print("offline is throughput alone; no target is compared")
    elif report.answer is None:
        console.print("no target: give --target-ms, or [targets] in the manifest", markup=False)


def _print_machine(report: Report, console: Console) -> None:
    machine, ceiling = report.machine, report.ceiling
    watts = "" if machine.watts is None else f", {machine.watts:g} W"
    int8 = "" if ceiling.int8_gops is None else f", {ceiling.int8_gops:.0f} in INT8"
    watts += "" if machine.gpu_watts is None else f", GPU {machine.gpu_watts:g} W"
    told = f"{machine.memory_mb:.0f} MB, at most {machine.peak_mb:.0f}{watts}"
    console.print(f"{told}; this machine's ceiling: {ceiling.fp32_gflops:.0f} Gop/s in FP32{int8}", markup=False)
    for row in report.rows:
        if row.gops and "run" in row.stages:
            reached = row.gops / row.stages["run"].p50_ms * 1e3
            int8_ran = bool(row.graphs) and row.graphs[0].precision == "int8"
            roof = ceiling.int8_gops if int8_ran else ceiling.fp32_gflops
            share = f", {reached / roof:.0%} of it" if roof else ""
            console.print(f"{row.name}: {row.gops:.3g} Gop, {reached:.0f} Gop/s{share}", markup=False)
    for remark in machine.remarks:
        console.print(remark, style="yellow", markup=False)


def _came(row: Row, plan: Plan) -> str:
    """How the row's frames came and what became of them, in one line."""
    at_once = f", {row.batch} at once" if plan.scenario == "offline" else ""
    told = [f"{plan.described}{at_once}", f"{row.throughput:.4g} frames/s"]
    if row.rate:
        told += ["rate kept" if row.rate_kept else "RATE NOT KEPT: a frame takes longer than the rate allows"]
        told += [f"{row.missed} of {row.frames} missed", f"longest queue {row.queue}"]
    if row.level == "bus":
        told += [f"{row.lost} lost", f"{row.refused} refused"]
    return "; ".join(told)


def _ms(value: float | None) -> str:
    return "-" if value is None else short(value)


def _add_row(table: Table, row: Row) -> None:
    table.add_row(f"[bold]{row.name}{' *' if row.chosen else ''}", *[""] * 8)
    if not row.stages:
        table.add_row("  could not run")
    checks = {check.stage: check for check in row.checks}
    first = sorted(stage for stage in row.stages if stage not in LAST_STAGES)
    for stage in (*first, *(stage for stage in LAST_STAGES if stage in row.stages)):
        figures, check = row.stages[stage], checks.get(stage)
        numbers = (figures.p50_ms, figures.p90_ms, figures.p95_ms, figures.p99_ms, figures.p99_upper_ms)
        target = f"{check.target_ms:g}" if check else ""
        answer = f"[{STYLES[check.answer]}]{check.answer}" if check else ""
        table.add_row(f"  {stage}", str(figures.samples), *(_ms(number) for number in numbers), target, answer)


def _print_remarks(row: Row, console: Console) -> None:
    if row.why:
        console.print(f"{row.name}: {row.why}", style="yellow", markup=False)
    for remark in row.remarks:
        console.print(f"{row.name}: {remark}", style="yellow", markup=False)
    if row.frames and not row.steady:
        console.print(f"{row.name}: not steady after {row.warm_up} frames of warm-up; is the box busy?", style="yellow")
    for check in row.checks:
        if check.answer == "INSUFFICIENT":
            console.print(
                f"{row.name}: {check.samples} samples of {check.stage} cannot confirm {check.target_ms:g} ms "
                f"at p{100 * check.percentile:.6g}, {check.samples_needed} may: give more --seconds or --runs",
                style="yellow",
            )


def _print_faster(rows: list[Row], console: Console) -> None:
    """Say so where the choice that the box keeps is not the fastest of this run."""
    medians = {
        row.name: row.stages["frame"].p50_ms for row in rows if "frame" in row.stages and row.level == "pipeline"
    }
    chosen = next((medians[row.name] for row in rows if row.chosen and row.name in medians), None)
    best = min(medians, key=lambda name: medians[name], default="")
    if chosen is not None and medians[best] < 0.8 * chosen:
        told = f"{best} was {chosen / medians[best]:.1f} times as fast here as what the line would run"
        console.print(f"{told}; delete {cache_folder()} to have the choice measured anew", style="yellow")
