"""From samples to a report: plain typed data and its JSON."""

from __future__ import annotations

import platform

import msgspec

from edge import __version__
from edge.bench.ceiling import Ceiling
from edge.bench.load import Level
from edge.bench.sampling import Samples
from edge.bench.scenarios import TURN, Plan, Scenario
from edge.bench.statistics import (
    CONFIDENCE,
    PERCENTILES,
    Answer,
    autocorrelation,
    compare,
    drift,
    percentile,
    ratio_of_turns,
    samples_needed,
    turns_of,
)
from edge.bench.watch import Machine
from edge.binomial import upper_bound
from edge.engines.choose import box_fingerprint

EXIT_CODES: dict[Answer | None, int] = {"PASS": 0, None: 0, "FAIL": 1, "INSUFFICIENT": 3}
TARGET_PERCENTILE = 0.99
MOST_DRIFT, MOST_ALIKE = 0.05, 0.3
# Shown in this order, a line's own stages before them.
LAST_STAGES = ("prepare", "run", "stitch", "score", "boxes", "publish", "patch", "frame", "part", "latency")


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
    Where the rate was not kept, or frames were lost or refused, its answer is FAIL, whatever the times are.

    gops: 10^9 operations of what the stage `run` is; None where nobody counted. remarks: what speaks against the
    figures."""

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
    gops: float | None
    remarks: list[str]
    why: str

    @property
    def failed(self) -> bool:
        return not self.rate_kept or bool(self.lost or self.refused)


class Ratio(msgspec.Struct, frozen=True):
    """One row beside another: how many times as long the other's frames take as the first row's, turn by turn, with the
    interval at 95 % confidence."""

    row: str
    other: str
    ratio: float
    low: float
    high: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """plan: how the frames came. ratios: of the first chosen row that ran to each other one. machine: what it did
    meanwhile. ceiling: what it can do. interrupted: by Ctrl-C. answer: of the chosen cases' checks, the worst; None
    where there is no target."""

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
    machine: Machine
    ceiling: Ceiling
    interrupted: bool
    answer: Answer | None


def make_report(
    subject: str,
    kind: str,
    threads: int,
    images: int,
    taken: list[Samples],
    q: float,
    plan: Plan,
    machine: Machine,
    ceiling: Ceiling,
) -> Report:
    """q: the percentile, 0..1, that targets are compared at."""
    began = min((samples.at[0] for samples in taken if samples.at), default=0)
    rows = [_row(samples, began, q, plan) for samples in taken]
    return Report(
        subject=subject,
        kind=kind,
        box=box_fingerprint(),
        system=platform.platform(),
        threads=threads,
        images=images,
        plan=plan,
        rows=rows,
        ratios=_ratios(rows),
        machine=machine,
        ceiling=ceiling,
        interrupted=any(samples.interrupted for samples in taken),
        answer=_worst([answer for row in rows if row.chosen for answer in _answers(row)]),
    )


def _answers(row: Row) -> list[Answer]:
    return ["FAIL"] if row.failed else [check.answer for check in row.checks]


def _row(samples: Samples, began: int, q: float, plan: Plan) -> Row:
    case = samples.case
    milliseconds = {stage: [spent / 1e6 for spent in values] for stage, values in samples.stages.items()}
    if case.patches and "run" in milliseconds:
        milliseconds["patch"] = [spent / case.patches for spent in milliseconds["run"]]
    if case.part_frames and case.at_once == samples.batch == 1:
        milliseconds["part"] = sums(milliseconds.get("frame", []), case.part_frames)
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
        batch=max(samples.batch, case.at_once),
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
        gops=case.gops,
        remarks=_unrest(milliseconds.get("frame", []), plan),
        why=samples.why or samples.detail,
    )


def sums(values: list[float], size: int) -> list[float]:
    """Of so many that follow each other; the last ones are left out where they are fewer."""
    return [sum(values[first : first + size]) for first in range(0, len(values) - size + 1, size)]


def _stage(values: list[float]) -> Stage:
    p50, p90, p95, p99 = (percentile(values, q) for q in PERCENTILES)
    return Stage(len(values), p50, p90, p95, p99, upper_bound(values, TARGET_PERCENTILE, CONFIDENCE))


def _checks(samples: Samples, milliseconds: dict[str, list[float]], q: float) -> list[Check]:
    """A frame's target is its latency's where there is one. Throughput alone has no percentile to compare."""
    if samples.scenario == "offline":
        return []
    checked = {"frame": "latency"} if milliseconds.get("latency") else {}
    named = [(checked.get(stage, stage), target) for stage, target in samples.case.targets.items()]
    return [_check(stage, milliseconds.get(stage, []), target, q) for stage, target in named]


def _check(stage: str, values: list[float], target: float, q: float) -> Check:
    estimate = percentile(values, q) if values else None
    bound = upper_bound(values, q, CONFIDENCE)
    return Check(stage, target, compare(values, q, target), len(values), samples_needed(q), q, estimate, bound)


def _worst(answers: list[Answer]) -> Answer | None:
    order: tuple[Answer, ...] = ("FAIL", "INSUFFICIENT", "PASS")
    return next((answer for answer in order if answer in answers), None)


def _unrest(frame_ms: list[float], plan: Plan) -> list[str]:
    """The bounds suppose that frames are independent, of one and the same machine: what says that they are not."""
    if plan.open_loop:
        return []
    told, moved, alike = [], drift(turns_of(frame_ms, TURN)), autocorrelation(frame_ms)
    if moved is not None and abs(moved - 1) > MOST_DRIFT:
        told.append(f"the second half took {moved:.2f} times as long as the first: the machine drifted")
    if alike > max(MOST_ALIKE, 3 / max(len(frame_ms), 1) ** 0.5):
        told.append(
            f"neighbouring frames are alike (autocorrelation {alike:.2f}): the bound supposes that they are not"
        )
    return told


def _ratios(rows: list[Row]) -> list[Ratio]:
    """Where frames come one after the other: then a turn of one case is beside the same turn of the next."""
    ran = [row for row in rows if row.frame_ms and row.scenario == "single"]
    star = next((row for row in ran if row.chosen), None)
    if star is None:
        return []
    found = [(row, ratio_of_turns(turns_of(row.frame_ms, TURN), turns_of(star.frame_ms, TURN))) for row in ran]
    return [Ratio(star.name, row.name, *ratio) for row, ratio in found if ratio and row is not star]


def to_json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def short(value: float) -> str:
    """Three digits that count."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"
