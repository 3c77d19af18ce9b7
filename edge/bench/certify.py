"""From a report to a certificate, and what a certificate is asked about."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from edge.bench.measure import Opened
from edge.bench.report import Check, Ran, Report, Row
from edge.bench.scenarios import Plan
from edge.bench.statistics import CONFIDENCE, samples_needed
from edge.bundle import Bundle, open_bundle
from edge.certificate import (
    FORMAT_VERSION,
    Certificate,
    CertifiedBundle,
    RanGraph,
    Subject,
    Target,
    settings_sha256,
    this_host,
)
from edge.config import read_line
from edge.errors import BundleError, DataError
from edge.inspection.certified import line_subject


def check_targets(opened: Opened, plan: Plan) -> None:
    """Raises click.UsageError where there is no target at all, BundleError where one is no time that can be met."""
    if opened.kind == "graph":
        raise click.UsageError("a certificate is of a bundle or a line, whose files' digests it names; not of a graph")
    if plan.scenario == "offline":
        raise click.UsageError("offline is throughput alone: it has no latency to certify")
    targets = {stage: ms for case in opened.cases for stage, ms in case.targets.items()}
    if not targets:
        raise click.UsageError("nothing to certify: give --target-ms, or [targets] in the manifest")
    for stage, ms in targets.items():
        if not (math.isfinite(ms) and ms > 0):
            raise BundleError(f"the target of {stage} is {ms} ms; give a manifest's [targets] in milliseconds above 0")


def say_what_is_needed(runs: int | None, q: float, say: Callable[[str], None]) -> None:
    """So many runs confirm no target at this percentile: it is said before they are made."""
    needed = samples_needed(q)
    if runs is not None and runs < needed:
        say(f"{runs} runs cannot confirm any target at p{100 * q:.6g}: {needed} samples are needed")


def certificate_of(report: Report, opened: Opened, images: Path | None) -> Certificate:
    """Not signed yet. The report is of one case that ran to its end. Raises DataError where a judge never ran."""
    (row,) = report.rows
    assert report.answer is not None  # check_targets
    _check_judged(row, opened)
    return Certificate(
        format=FORMAT_VERSION,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        subject=report.subject,
        kind=report.kind,
        settings_sha256=settings_sha256(opened.line.config) if opened.line else None,
        scenario=report.plan.described,
        threads=report.threads,
        device=opened.device,
        frames=f"{report.images} of {images}" if images else f"{report.images} golden",
        timed={stage: figures.samples for stage, figures in row.stages.items()},
        host=this_host(),
        bundles=[_bundle(bundle, row.graphs) for bundle in opened.bundles],
        targets=[_target(check) for check in row.checks],
        answer=report.answer,
        public_key="",
        signature="",
    )


def _check_judged(row: Row, opened: Opened) -> None:
    """A judge whose surface the gate saw in no frame took no time: that is not the line's latency."""
    surfaces = opened.line.config.judges if opened.line else {}
    unseen = [surface for surface in surfaces if f"judge {surface}" not in row.stages]
    if unseen:
        told = f"no frame showed the line's gate {', '.join(unseen)}, so its judge was not timed"
        raise DataError(f"{told}; give --images with frames of every surface")


def _bundle(bundle: Bundle, ran: list[Ran]) -> CertifiedBundle:
    graphs = [_graph(bundle, graph) for graph in ran if graph.sha256 == bundle.sha256]
    return CertifiedBundle(bundle.path.resolve().name, bundle.sha256, graphs)


def _graph(bundle: Bundle, ran: Ran) -> RanGraph:
    entry = next(graph for graph in bundle.manifest.graph if graph.file == ran.file)
    files = [entry, *([entry.weights] if entry.weights else [])]
    return RanGraph({file.file: file.sha256 for file in files}, ran.engine, ran.device, ran.precision)


def _target(check: Check) -> Target:
    return Target(
        stage=check.stage,
        target_ms=check.target_ms,
        percentile=check.percentile,
        confidence=CONFIDENCE,
        samples=check.samples,
        samples_needed=check.samples_needed,
        estimate_ms=check.estimate_ms,
        upper_ms=check.upper_ms,
        answer=check.answer,
    )


def subject_of(path: Path) -> Subject:
    """A bundle's folder or a line's TOML file. Raises BundleError, ConfigError."""
    return Subject([open_bundle(path)]) if path.is_dir() else line_subject(read_line(path))
