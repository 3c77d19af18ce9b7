"""`edge doctor`, top to bottom: the box, its engines, the line's files, and what measuring says of each bundle."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from edge import __version__
from edge.bundle import Bundle, Graph, open_bundle
from edge.certificate import Certificate
from edge.config import Line, LineConfig, read_line
from edge.doctor import box, clock, engines, gpu, measured, permissions
from edge.doctor.attempt import attempt
from edge.doctor.diagnosis import Diagnosis
from edge.engines.choose import cache_folder, choose, measure_all
from edge.engines.session import Engine
from edge.inspection.assemble import choose_graphs, line_bundles, measure_line
from edge.inspection.certified import certified, check_chosen

THREADS = 2  # where no line says


def examine(config: Path | None, bundles: Iterable[Path], say: Callable[[str], None]) -> list[Diagnosis]:
    """All rows. say: told what is being measured. Raises nothing: a line or bundle that cannot be read is a problem."""
    rows: list[Diagnosis] = []
    line = attempt("line", rows, read_line, config) if config else None
    rows += examine_box(line.config if line else None)
    if line:
        rows += examine_line(line, say)
    for path in bundles:
        name = f"bundle {path.name}"
        bundle = attempt(name, rows, open_bundle, path)
        if bundle:
            rows.append(permissions.bundle_files([bundle]))
            rows += attempt(name, rows, _alone, bundle, line, say) or []
    return rows


def examine_box(config: LineConfig | None, root: Path = Path("/")) -> list[Diagnosis]:
    """What holds for all bundles."""
    versions, answers = engines.packages(), engines.ask_engines()
    seen = {engine: answer for engine, answer in answers.items() if isinstance(answer, list)}
    system = f"edge {__version__}, Python {platform.python_version()} ({sys.executable}), {platform.platform()}"
    return [
        Diagnosis("edge", "ok", system),
        box.cpu(root),
        box.cores(root, config.threads if config else None, bool(config and config.awake)),
        box.governor(root),
        box.stolen(root),
        box.memory(root),
        *gpu.gpu(root, seen, config.device if config else "auto"),
        *engines.engines(versions, answers, config.engine if config else "auto"),
        *engines.conflicts(versions),
        clock.clock(root, clock.kernel_state(), time.time(), clock.written_at()),
        clock.clock_source(root),
        permissions.user(),
        *permissions.cache(cache_folder()),
        permissions.limits(),
    ]


def examine_line(line: Line, say: Callable[[str], None]) -> list[Diagnosis]:
    """The line's file, sockets and bundles, and the graphs that its daemon would run."""
    rows = [permissions.line_file(line.path), *permissions.sockets(line.config)]
    bundles = attempt("bundles", rows, line_bundles, line)
    if not bundles:
        return rows
    rows.append(permissions.bundle_files(bundles.values()))
    certificate = attempt("certificate", rows, certified, line) if line.config.require_certificate else None
    return rows + (attempt("graphs", rows, _together, line, list(bundles.values()), certificate, say) or [])


def _together(
    line: Line, bundles: list[Bundle], certificate: Certificate | None, say: Callable[[str], None]
) -> list[Diagnosis]:
    found, chosen = measure_line(line, bundles, say), choose_graphs(line, bundles, say)
    told = [measured.graphs(bundle, found[bundle.path.name], chosen[bundle.path.name]) for bundle in bundles]
    rows = list(dict.fromkeys(row for rows in told for row in rows))
    return rows + _certificate(line, certificate, bundles, chosen) if certificate else rows


def _certificate(
    line: Line, certificate: Certificate, bundles: list[Bundle], chosen: dict[str, tuple[Engine, Graph]]
) -> list[Diagnosis]:
    """A certificate that holds for the files may still be of other graphs than those that measuring chooses here."""
    rows: list[Diagnosis] = []
    for bundle in bundles:
        attempt("certificate", rows, check_chosen, line, certificate, bundle, *chosen[bundle.path.name])
    found = f"{line.config.certificate} of {certificate.date} is a PASS of this line and of the graphs that it runs"
    return rows or [Diagnosis("certificate", "ok", found)]


def _alone(bundle: Bundle, line: Line | None, say: Callable[[str], None]) -> list[Diagnosis]:
    threads, device = (line.config.threads, line.config.device) if line else (THREADS, "auto")
    rows = measure_all([bundle], threads, device, say)[bundle.sha256]
    return measured.graphs(bundle, rows, choose(bundle, "auto", rows))
