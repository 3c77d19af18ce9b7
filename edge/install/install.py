"""`edge install` from end to end: check, plan, put in place, say what is to be done next. Nothing is started."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.install.checks import PROGRAM, REAL, is_active, names, notes, problems, systemd_version, verified_bundles
from edge.install.cores import crowded
from edge.install.place import Placed, place, take_away
from edge.install.plan import BANNER, CONFIGS, UNITS, USER, Ask, Put, config_place, credential, plan
from edge.install.shipped import shipped

A_LINE = re.compile(rb"^\s*verdicts\s*=", re.MULTILINE)  # no other file of /etc/edge has it
SERVICES = ("edge", "edge-selfbench")
SHARED = ("edge@.service", "edge-selfbench@.service", "edge-selfbench@.timer")


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """problems: what keeps the service from running; then nothing was written. next: commands, in their order."""

    problems: list[str] = []
    notes: list[str] = []
    files: list[Placed] = []
    next: list[str] = []

    @property
    def done(self) -> bool:
        return not self.problems and not any(file.state == "differs" for file in self.files)


def install(ask: Ask, root: Path, force: bool, dry_run: bool) -> Installed:
    """root: the box's, or that of an image of one. Raises BundleError, ConfigError, DataError, MissingExtra."""
    found = problems(ask, root, dry_run)
    if found:
        return Installed(problems=found)
    bundles = verified_bundles(ask, root)
    puts = plan(ask, bundles if ask.bundles else [])
    files = place(puts, root, force, dry_run)
    told = notes(ask, systemd_version()) + crowded(ask, root, _other_lines(root, ask.name))
    return Installed(notes=told, files=files, next=_next(ask, root, files))


def remove(ask: Ask, root: Path, force: bool, dry_run: bool) -> Installed:
    """The unit, its drop-ins and the line's file; bundles, keys and what the line wrote stay.

    Raises ConfigError, DataError.
    """
    found = [*names(ask), *_in_use(ask.name, root)]
    if found:
        return Installed(problems=found)
    shared = [Put(UNITS / name, shipped(name), "goes last") for name in SHARED]
    drop_ins = [
        Put(UNITS / f"{service}@{ask.name}.service.d" / f"{name}.conf", data, "goes")
        for service in SERVICES
        for name, data in (
            *((gpu, shipped(f"{gpu}.conf")) for gpu in ("gpu", "openvino-gpu")),
            ("user", BANNER.encode()),
            ("cores", BANNER.encode()),
        )
    ]
    mine = plan(ask, [])
    kept = [Put(credential(ask.name), b"", "stays")]
    puts = {put.path: put for put in (*reversed(mine), *drop_ins, *shared, *kept)}.values()
    placed = take_away(list(puts), root, _other_lines(root, ask.name), force, dry_run)
    there = [file for file in placed if file.state != "not there"]
    stays = f"/var/lib/edge/{ask.name} (journal, self checks), /var/cache/edge and the bundles stay"
    return Installed(notes=[stays], files=there, next=["systemctl daemon-reload"] if root == REAL else [])


def _in_use(name: str, root: Path) -> list[str]:
    """The units that are enabled or run, in a sentence each."""
    targets = {f"edge@{name}.service": "multi-user.target", f"edge-selfbench@{name}.timer": "timers.target"}
    at = "" if root == REAL else f"--root={root} "
    return [
        f"{unit} is enabled, or runs: systemctl {at}disable --now {unit} first"
        for unit, target in targets.items()
        if (root / f"etc/systemd/system/{target}.wants/{unit}").is_symlink() or (root == REAL and is_active(unit))
    ]


def _other_lines(root: Path, name: str) -> list[str]:
    """The names of the box's other lines; one whose file has a mistake is a line all the same."""
    paths = sorted((root / CONFIGS.relative_to("/")).glob("*.toml"))
    return [path.stem for path in paths if path.stem != name and A_LINE.search(path.read_bytes())]


def _next(ask: Ask, root: Path, files: Sequence[Placed]) -> list[str]:
    """What a person does now, in this order. A line that runs already is restarted where something of it was
    replaced."""
    if root != REAL:
        return [f"systemctl --root={root} enable edge@{ask.name}"]
    replaced = any(file.state in ("replaced", "would replace") for file in files)
    return [
        *(["systemd-sysusers"] if ask.user == USER else []),
        "systemctl daemon-reload",
        f"systemctl enable --now edge@{ask.name}",
        *([f"systemctl restart edge@{ask.name}"] if replaced else []),
        *([f"systemctl enable --now edge-selfbench@{ask.name}.timer"] if ask.selfbench else []),
        f"{PROGRAM} doctor --live --config {config_place(ask.name)}",
    ]
