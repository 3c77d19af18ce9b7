"""Options that `edge-bench run` and `edge-bench certify` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.command import PATHS

if TYPE_CHECKING:
    from edge.bench.scenarios import Plan, Scenario

SECONDS = 60.0
INTERRUPTED = 130
ABOVE_ZERO = click.FloatRange(min=0, min_open=True)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

OPTIONS = (
    click.argument("subject", type=PATHS, metavar="SUBJECT"),
    click.option(
        "--runs", type=click.IntRange(min=1), help="End after as many frames of each.  [default: what it needs]"
    ),
    click.option("--seconds", type=ABOVE_ZERO, help=f"End after this time.  [default: {SECONDS:g}, or --runs alone]"),
    click.option("--images", type=FOLDER, help="Real frames, at most 64 of a folder's, instead of golden ones."),
    click.option(
        "--scenario",
        type=click.Choice(["single", "multi", "server", "offline", "line"]),
        default="single",
        show_default=True,
        help="How frames come; `edge-bench run --help` explains them.",
    ),
    click.option("--rate", type=ABOVE_ZERO, help="server, line: frames a second."),
    click.option("--cameras", type=click.IntRange(1, 64), help="multi: one frame from each at once.  [default: 2]"),
    click.option(
        "--jitter-ms", type=click.FloatRange(min=0), help="line: standard deviation of arrivals.  [default: 0]"
    ),
    click.option("--burst", type=click.IntRange(1, 1024), help="line: frames that come at once.  [default: 1]"),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the arrivals."),
)


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Both commands' options, in the order above."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def make_plan(
    scenario: Scenario,
    rate: float | None,
    cameras: int | None,
    jitter_ms: float | None,
    burst: int | None,
    seed: int,
) -> Plan:
    """Raises click.UsageError for an option that the scenario lacks, or has no use for."""
    from edge.bench.scenarios import Plan

    if scenario in ("server", "line") and rate is None:
        raise click.UsageError(f"--scenario {scenario} needs --rate, the frames a second that come")
    given: dict[str, tuple[Any, tuple[str, ...]]] = {
        "--rate": (rate, ("server", "line")),
        "--cameras": (cameras, ("multi",)),
        "--jitter-ms": (jitter_ms, ("line",)),
        "--burst": (burst, ("line",)),
    }
    for option, (value, used) in given.items():
        if value is not None and scenario not in used:
            raise click.UsageError(f"{option} is for --scenario {' and '.join(used)}, not for {scenario}")
    several = cameras or 2 if scenario == "multi" else 1
    return Plan(scenario, rate or 0.0, jitter_ms or 0.0, burst or 1, several, seed)
