"""What the timed bundles were measured to see, from their manifests, beside the milliseconds of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.bench.given import Given, GivenRow
from edge.bench.statistics import percentile
from edge.bundle import Bundle, open_bundle
from edge.errors import BundleError


@dataclass(frozen=True)
class Point:
    """One row of one bundle. accuracy: image AUROC, 0..1."""

    bundle: str
    row: str
    accuracy: float
    p50_ms: float
    p99_ms: float


def bundle_of(report: Given, beside: Path) -> Bundle | None:
    """The bundle that was timed, if it lies where its report says or beside the report; None where it does not."""
    for folder in (Path(report.subject), beside / report.subject):
        try:
            bundle = open_bundle(folder)
        except BundleError:
            continue
        if any(ran.sha256 == bundle.sha256 for row in report.rows for ran in row.graphs):
            return bundle
    return None


def points(report: Given, bundle: Bundle) -> list[Point]:
    """One for each row that ran, none where the manifest has no image AUROC (a gate's, one never measured)."""
    found = []
    for row in report.rows:
        accuracy = accuracy_of(row, bundle)
        if accuracy is not None and row.frame_ms:
            p50, p99 = (percentile(row.frame_ms, q) for q in (0.5, 0.99))
            found.append(Point(bundle.manifest.name, row.name, accuracy, p50, p99))
    return found


def accuracy_of(row: GivenRow, bundle: Bundle) -> float | None:
    """Its precision's own figure where the manifest has it, the bundle's otherwise."""
    measured = bundle.manifest.measured
    precision = row.graphs[0].precision if row.graphs else ""
    found = measured.get(f"image_auroc_{precision}", measured.get("image_auroc"))
    return float(found) if isinstance(found, int | float) else None


def front(given: Sequence[Point]) -> list[Point]:
    """Pareto's: those that no other is both as accurate and as fast as, and better in one of the two."""

    def beaten(point: Point) -> bool:
        return any(
            other.accuracy >= point.accuracy
            and other.p50_ms <= point.p50_ms
            and (other.accuracy, other.p50_ms) != (point.accuracy, point.p50_ms)
            for other in given
        )

    return [point for point in given if not beaten(point)]
