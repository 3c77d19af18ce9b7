"""A line that demands a certificate: is the one it names good here, for this line and its bundles as they lie?"""

from __future__ import annotations

from collections.abc import Sequence

from edge.bundle import Bundle, Graph
from edge.certificate import (
    COMMAND,
    Certificate,
    Subject,
    examine,
    failed,
    read_certificate,
    settings_sha256,
    this_host,
)
from edge.command import need
from edge.config import Line
from edge.engines.session import Engine
from edge.errors import BundleError, ConfigError, DataError
from edge.inspection.assemble import line_bundles
from edge.inspection.model import Model
from edge.signing import read_public

UNTIMED = "name the engine in the line, or certify with the daemon's $CACHE_DIRECTORY"


def line_subject(line: Line) -> Subject:
    """All bundles that the line names. Raises BundleError, ConfigError."""
    return Subject(list(line_bundles(line).values()), settings_sha256(line.config))


def certified(line: Line) -> Certificate:
    """The certificate of a line that demands one.

    Raises BundleError where it does not cover the bundles; ConfigError where it is missing, or fails any other line of
    defence; MissingExtra.
    """
    need("certify", "require_certificate = true", "cryptography")
    config = line.config
    assert config.certificate and config.certificate_key  # read_line
    path = line.path.parent / config.certificate
    try:
        certificate, trusted = read_certificate(path), read_public(line.path.parent / config.certificate_key)
    except DataError as error:
        raise ConfigError(_refused(line, str(error))) from error
    rows = failed(examine(certificate, trusted, this_host(), line_subject(line)))
    if rows:
        kind = BundleError if all(row.line == "bundles" for row in rows) else ConfigError
        raise kind(_refused(line, "; ".join(f"{path}: {row.line}: {row.found}" for row in rows)))
    return certificate


def check_running(line: Line, certificate: Certificate, models: Sequence[Model]) -> None:
    """Raises ConfigError where what was opened is not what was timed: another graph, engine, device or bundle."""
    for model in models:
        graph, session = model.graph, model.session
        opened = model.bundle.sha256, graph.file, graph.sha256, session.engine, graph.precision
        if (opened, session.device) not in timed(certificate):
            told = f"{model.bundle.path.name} would run {graph.file} on {model.runs_on}, which was not timed for it"
            raise ConfigError(_refused(line, f"{told}; {UNTIMED}"))


def check_chosen(line: Line, certificate: Certificate, bundle: Bundle, engine: Engine, graph: Graph) -> None:
    """As `check_running`, of what is not open yet, on whatever device."""
    chosen = bundle.sha256, graph.file, graph.sha256, engine, graph.precision
    if chosen not in {opened for opened, _ in timed(certificate)}:
        told = f"{bundle.path.name} would run {graph.file} on {engine}, which was not timed for it"
        raise ConfigError(_refused(line, f"{told}; {UNTIMED}"))


def timed(certificate: Certificate) -> set[tuple[tuple[str, str, str, str, str], str]]:
    """Each graph that was timed: (bundle's digest, file, its digest, engine, precision), device."""
    return {
        ((bundle.sha256, file, sha256, graph.engine, graph.precision), graph.device)
        for bundle in certificate.bundles
        for graph in bundle.graphs
        for file, sha256 in graph.files.items()
    }


def _refused(line: Line, why: str) -> str:
    made = f"{COMMAND} {line.path} --out {line.path.parent / (line.config.certificate or '')}"
    return f"{line.path} demands a certificate (require_certificate): {why}. Make one with: {made}"
