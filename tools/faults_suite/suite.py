"""The faults by name, in the order in which they strike, and the table of what they found."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edge.errors import EdgeError
from tests.small_line import write_small_line
from tools.faults_suite import (
    bombs,
    bundles,
    clock,
    damage,
    disk,
    durable,
    engines,
    headers,
    keys,
    kill,
    late_joiner,
    neighbours,
    overload,
    scores,
    sequence,
    soak,
    stalled,
    stopping,
    stuck_disk,
    swaps,
    unit,
)
from tools.faults_suite.outcome import Outcome, Say, Scale


@dataclass(frozen=True, slots=True)
class Fault:
    """run: models (a folder of the small line's bundles), a short folder of its own, the scale, where to say how far it
    is."""

    what: str
    run: Callable[[Path, Path, Scale, Say], Outcome]


FAULTS = {
    "kill": Fault("SIGKILL at any moment", kill.run),
    "engines": Fault("engines that hang, engine threads that die", engines.run),
    "overload": Fault("more frames than the engines can do", overload.run),
    "sequence": Fault("frames dropped, doubled, swapped, mislabelled", sequence.run),
    "disk": Fault("each of the journal's calls to the disk fails", disk.run),
    "stuck-disk": Fault("a disk that does not answer for seconds", stuck_disk.run),
    "neighbours": Fault("a daemon that is flooded, beside calm ones", neighbours.run),
    "stopping": Fault("SIGTERM in the middle of each fault", stopping.run),
    "swaps": Fault("engines changed under load, again and again", swaps.run),
    "stalled": Fault("twenty subscribers that do not read", stalled.run),
    "late-joiner": Fault("a subscriber that joins after 10,000 verdicts", late_joiner.run),
    "scores": Fault("networks that answer NaN or infinite", scores.run),
    "constant": Fault("networks that answer always the same", scores.constant),
    "clock": Fault("the clock stepped by an hour", clock.run),
    "damage": Fault("a journal cut at each byte, each byte flipped", damage.run),
    "headers": Fault("hostile frame headers", headers.run),
    "bombs": Fault("decompression bombs", bombs.run),
    "bundles": Fault("tampered bundles", bundles.run),
    "keys": Fault("no key, wrong keys, revoked keys", keys.run),
    "unit": Fault("what the service may do, as systemd rates it", unit.run),
    "durable": Fault("what it costs to lose nothing", durable.run),
    "soak": Fault("the line at its own pace for long", soak.run),
}


def run(names: list[str], scale: Scale, as_json: bool) -> int:
    """The exit code. Says on stderr how far it is, prints the table on stdout, also where Ctrl-C ends it."""
    done: dict[str, Outcome] = {}
    took: dict[str, float] = {}
    code = 0
    sys.setswitchinterval(0.0005)  # a subscriber's thread here is not to wait for the camera's
    logging.getLogger("edge").addHandler(logging.NullHandler())  # each cut of a journal would be a line
    try:
        with tempfile.TemporaryDirectory(prefix="f") as temporary:  # short: a socket's path has at most 107 characters
            models = Path(temporary) / "models"
            os.environ["CACHE_DIRECTORY"] = f"{temporary}/cache"
            models.mkdir()
            write_small_line(models)
            for number, name in enumerate(names):
                began = time.monotonic()
                done[name] = _strike(FAULTS[name], models, Path(temporary) / str(number), scale, name)
                took[name] = time.monotonic() - began
    except KeyboardInterrupt:
        code = 130
    except EdgeError as error:
        _tell(str(error))
        code = error.exit_code
    if as_json:
        print(json.dumps(_plain(done, took), indent=2))
    else:
        _show(done, took)
    return code or int(not all(outcome.passed for outcome in done.values()))


def _strike(fault: Fault, models: Path, folder: Path, scale: Scale, name: str) -> Outcome:
    """What a test's own function asserts is a bound too."""
    try:
        return fault.run(models, folder, scale, lambda text: _tell(f"{name}: {text}"))
    except AssertionError as error:
        *_, place = traceback.extract_tb(error.__traceback__)
        return Outcome("-", "-", f"{place.name}: {place.line}", [str(error).split("\n")[0] or "does not hold"])


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _plain(done: dict[str, Outcome], took: dict[str, float]) -> dict[str, Any]:
    rows = {name: asdict(o) | {"passed": o.passed, "seconds": took[name]} for name, o in done.items()}
    return {"load": os.getloadavg(), "faults": rows}


def _show(done: dict[str, Outcome], took: dict[str, float]) -> None:
    table = Table("fault", "how often", "found", "bound", "seconds", "", show_lines=True)
    for name, outcome in done.items():
        verdict = "[green]PASS" if outcome.passed else "[bold red]FAIL"
        found = "\n".join([outcome.found, *(f"[red]{sentence}" for sentence in outcome.missed)])
        table.add_row(name, outcome.times, found, outcome.bound, f"{took[name]:.0f}", verdict)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
