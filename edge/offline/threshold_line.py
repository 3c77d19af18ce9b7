"""Which line a threshold is for, and how it gets into line.toml."""

from __future__ import annotations

import datetime
import re
import tomllib
from pathlib import Path

import msgspec

from edge.bundle import open_bundle
from edge.config import JudgeConfig, Line, LineConfig, read_line
from edge.errors import ConfigError
from edge.offline.threshold import Limit, Proposal

TABLE = re.compile(r"\s*\[")


def line_of_bundle(path: Path, surface: str | None) -> tuple[Line, str]:
    """A line of this judge alone, opened as any line would, and its surface. Raises BundleError, ConfigError."""
    manifest = open_bundle(path).manifest
    surface = surface or manifest.surfaces[0]
    if surface not in manifest.surfaces:
        raise ConfigError(f"{path} knows {', '.join(manifest.surfaces)} only; give one of them with --surface")
    where = path.resolve()
    config = LineConfig(
        line="threshold",
        frames="inproc://none",
        verdicts="inproc://nobody",
        judges={surface: JudgeConfig(bundle=where.name)},
    )
    return Line(path, config, where.parent, ""), surface


def surface_of_line(config: Path, bundle: Path, surface: str | None) -> tuple[Line, str]:
    """The line, and the surface that it judges by this bundle. Raises ConfigError where there is none, or several."""
    line = read_line(config)
    judged = [
        name
        for name, judge in line.config.judges.items()
        if (line.bundles / judge.bundle).resolve() == bundle.resolve() and surface in (None, name)
    ]
    if len(judged) != 1:
        found = ", ".join(judged) or f"no {surface or 'surface'}"
        raise ConfigError(f"{config} judges {found} by {bundle}; give one that it does with --surface")
    return line, judged[0]


def with_threshold(line: Line, proposal: Proposal, limit: Limit) -> str:
    """line.toml with the judge's own threshold, all else left as it stands. Raises ConfigError where that cannot be
    done, as in an inline table."""
    text = line.path.read_text()
    judge = msgspec.structs.replace(line.config.judges[proposal.surface], threshold=limit.threshold)
    wanted = msgspec.structs.replace(line.config, judges={**line.config.judges, proposal.surface: judge})
    edited = _put(text, proposal.surface, f"threshold = {limit.threshold!r}  # {how(proposal, limit)}")
    try:
        if msgspec.convert(tomllib.loads(edited), LineConfig) == wanted:
            return edited
    except (tomllib.TOMLDecodeError, msgspec.ValidationError):
        pass
    raise ConfigError(
        f"{line.path} has no table [judges.{proposal.surface}] of its own; write threshold = {limit.threshold!r} into"
        " that judge by hand"
    )


def how(proposal: Proposal, limit: Limit) -> str:
    """Where the threshold is from, for whoever reads the file."""
    return (
        f"edge threshold, {datetime.date.today()}: {proposal.images} good images; false rejects at most"
        f" {limit.at_most:.2g}, confidence {proposal.wanted.confidence:g}"
    )


def _put(text: str, surface: str, entry: str) -> str:
    """Into the surface's table: in place of a threshold that stands there, or first."""
    name = re.escape(surface)
    head = re.compile(rf"""\s*\[\s*judges\s*\.\s*(?:{name}|"{name}"|'{name}')\s*\]\s*(?:#.*)?""")
    rows = text.split("\n")
    first = next((number + 1 for number, row in enumerate(rows) if head.fullmatch(row)), None)
    if first is None:
        return text
    end = next((n for n in range(first, len(rows)) if TABLE.match(rows[n])), len(rows))
    standing = next((n for n in range(first, end) if re.match(r"\s*threshold\s*=", rows[n])), None)
    rows[first if standing is None else standing : first if standing is None else standing + 1] = [entry]
    return "\n".join(rows)
