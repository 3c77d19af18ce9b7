"""From samples to a report: plain typed data, its JSON, its table."""

from __future__ import annotations

import platform

import msgspec
from rich.console import Console
from rich.table import Table

from edge import __version__
from edge.bench.load import Level
from edge.bench.sampling import SINGLE, Samples
from edge.bench.scenarios import TURN, Plan, Scenario
from edge.bench.statistics import CONFIDENCE, PERCENTILES, Answer, compare, percentile, samples_needed, upper_bound
from edge.engines.choose import box_fingerprint, cache_folder

STYLES: dict[Answer, str] = {"PASS": "green", "FAIL": "bold red", "INSUFFICIENT": "yellow"}
EXIT_CODES: dict[Answer | None, int] = {"PASS": 0, None: 0, "FAIL": 1, "INSUFFICIENT": 3}
TARGET_PERCENTILE = 0.99
# Shown in this order, a line's own stages before them.
LAST_STAGES = ("prepare", "run", "score", "publish", "patch", "frame", "latency")


class Ran(msgspec.Struct, frozen=True):
    """A graph that ran, and on what it really ran."""

    bundle: str
    sha256: str
    file: str
    engine: str
    device: str
    precision: str


class Stage(msgspec.Struct, frozen=True):
    """Milliseconds. p99_upper_ms: what the true p99 does not exceed with 99 % confidence; None: too few samples."""

    samples: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    p99_upper_ms: float | None


class Check(msgspec.Struct, frozen=True):
    """A stage against its target at a percentile, 0..1. samples_needed: the fewest that can confirm it. estimate_ms,
    upper_ms: that percentile of the sample, and what the true one does not exceed; None: too few samples."""

    stage: str
    target_ms: float
    answer: Answer
    samples: int
    samples_needed: int
    percentile: float
    estimate_ms: float | None
    upper_ms: float | None


class Row(msgspec.Struct, frozen=True):
    """One case. chosen: it is what the line would run, and its checks decide the report's answer. steady: the warm-up
    settled before its cap. at_s, frame_ms: every frame in order, seconds since the report's first one, and how long it
    took; in closed loops a turn is TURN of them. why: set where the case could not run, or not to the end.

    level: the networks alone, the pipeline, or the daemon through the bus. scenario, rate (frames a second that came, 0
    in closed loops), rate_kept, missed (began after the next arrival, or never), lost, refused, queue (the most frames
    that waited), throughput (frames a second), batch: as Samples has them. latency_ms: every frame's, in open loops.
    Where the rate was not kept, or frames were lost or refused, its answer is FAIL, whatever the times are."""

    name: str
    chosen: bool
    level: Level
    scenario: Scenario
    rate: float
    rate_kept: bool
    missed: int
    lost: int
    refused: int
    queue: int
    throughput: float
    batch: int
    graphs: list[Ran]
    warm_up: int
    steady: bool
    frames: int
    patches: int
    stages: dict[str, Stage]
    checks: list[Check]
    at_s: list[float]
    frame_ms: list[float]
    latency_ms: list[float]
    why: str

    @property
    def failed(self) -> bool:
        return not self.rate_kept or bool(self.lost or self.refused)


class Ratio(msgspec.Struct, frozen=True):
    """INT8 beside FP32 on one engine: medians of the network's own time in milliseconds, and FP32 / INT8."""

    engine: str
    fp32_ms: float
    int8_ms: float
    ratio: float
    chosen: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """plan: how the frames came. interrupted: by Ctrl-C. answer: of the chosen case's checks, the worst; None where
    there is no target."""

    subject: str
    kind: str
    version: str = __version__
    box: str
    system: str
    threads: int
    images: int
    plan: Plan
    turn: int = TURN
    confidence: float = CONFIDENCE
    rows: list[Row]
    ratios: list[Ratio]
    interrupted: bool
    answer: Answer | None


def make_report(
    subject: str,
    kind: str,
    threads: int,
    images: int,
    taken: list[Samples],
    q: float = TARGET_PERCENTILE,
    plan: Plan = SINGLE,
) -> Report:
    """q: the percentile, 0..1, that targets are compared at."""
    began = min((samples.at[0] for samples in taken if samples.at), default=0)
    rows = [_row(samples, began, q) for samples in taken]
    return Report(
        subject=subject,
        kind=kind,
        box=box_fingerprint(),
        system=platform.platform(),
        threads=threads,
        images=images,
        plan=plan,
        rows=rows,
        ratios=_ratios(rows) if kind != "line" else [],
        interrupted=any(samples.interrupted for samples in taken),
        answer=_worst([answer for row in rows if row.chosen for answer in _answers(row)]),
    )


def _answers(row: Row) -> list[Answer]:
    return ["FAIL"] if row.failed else [check.answer for check in row.checks]


def _row(samples: Samples, began: int, q: float) -> Row:
    case = samples.case
    milliseconds = {stage: [spent / 1e6 for spent in values] for stage, values in samples.stages.items()}
    if case.patches and "run" in milliseconds:
        milliseconds["patch"] = [spent / case.patches for spent in milliseconds["run"]]
    return Row(
        name=case.name,
        chosen=case.chosen,
        level=case.level,
        scenario=samples.scenario,
        rate=samples.rate,
        rate_kept=samples.rate_kept,
        missed=samples.missed,
        lost=samples.lost,
        refused=samples.refused,
        queue=samples.queue,
        throughput=round(samples.throughput, 3),
        batch=samples.batch,
        graphs=[
            Ran(m.manifest.name, m.bundle.sha256, m.graph.file, m.session.engine, m.session.device, m.graph.precision)
            for m in case.models
        ],
        warm_up=samples.warm_up,
        steady=samples.steady,
        frames=samples.frames,
        patches=case.patches,
        stages={stage: _stage(values) for stage, values in milliseconds.items() if values},
        checks=_checks(samples, milliseconds, q),
        at_s=[round((at - began) / 1e9, 6) for at in samples.at],
        frame_ms=[round(spent, 5) for spent in milliseconds.get("frame", [])],
        latency_ms=[round(spent, 5) for spent in milliseconds.get("latency", [])],
        why=samples.why or samples.detail,
    )


def _stage(values: list[float]) -> Stage:
    p50, p90, p95, p99 = (percentile(values, q) for q in PERCENTILES)
    return Stage(len(values), p50, p90, p95, p99, upper_bound(values, TARGET_PERCENTILE))


def _checks(samples: Samples, milliseconds: dict[str, list[float]], q: float) -> list[Check]:
    """A frame's target is its latency's where there is one. Throughput alone has no percentile to compare."""
    if samples.scenario == "offline":
        return []
    checked = {"frame": "latency"} if milliseconds.get("latency") else {}
    named = [(checked.get(stage, stage), target) for stage, target in samples.case.targets.items()]
    return [_check(stage, milliseconds.get(stage, []), target, q) for stage, target in named]


def _check(stage: str, values: list[float], target: float, q: float) -> Check:
    estimate = percentile(values, q) if values else None
    bound = upper_bound(values, q)
    return Check(stage, target, compare(values, q, target), len(values), samples_needed(q), q, estimate, bound)


def _worst(answers: list[Answer]) -> Answer | None:
    order: tuple[Answer, ...] = ("FAIL", "INSUFFICIENT", "PASS")
    return next((answer for answer in order if answer in answers), None)


def _ratios(rows: list[Row]) -> list[Ratio]:
    """For each engine that ran both precisions; the fastest graph where it ran several of one."""
    ms: dict[tuple[str, str], float] = {}
    chosen = {row.graphs[0].engine for row in rows if row.chosen and row.graphs}
    for row in rows:
        if "run" in row.stages and row.graphs:
            key = row.graphs[0].engine, row.graphs[0].precision
            ms[key] = min(row.stages["run"].p50_ms, ms.get(key, float("inf")))
    engines = [engine for engine, precision in ms if precision == "int8" and (engine, "fp32") in ms]
    return [
        Ratio(engine, ms[engine, "fp32"], ms[engine, "int8"], ms[engine, "fp32"] / ms[engine, "int8"], engine in chosen)
        for engine in engines
    ]


def to_json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


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
        console.print("* is what the line would run. Cases took turns in one run.")
    for row in report.rows:
        if row.frames:
            console.print(
                f"{row.name}: {_came(row, report.plan)}", style="bold red" if row.failed else "", markup=False
            )
    for ratio in report.ratios:
        star = " *" if ratio.chosen else ""
        figures = f"INT8 {_ms(ratio.int8_ms)} ms, FP32 {_ms(ratio.fp32_ms)} ms"
        console.print(f"{ratio.engine}{star}: {figures}: {ratio.ratio:.2f} times as fast")
    for row in report.rows:
        _print_remarks(row, console)
    _print_faster(report.rows, console)
    if report.plan.scenario == "offline":
        console.print("offline is throughput alone; no target is compared")
    elif report.answer is None:
        console.print("no target: give --target-ms, or [targets] in the manifest", markup=False)


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
    """Three digits that count."""
    return "-" if value is None else f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


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
