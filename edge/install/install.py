"""`edge install` from end to end: check, plan, put in place, say what is to be done next. Nothing is started."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edge.install.checks import PROGRAM, REAL, notes, problems, systemd_version, verified_bundles
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
    return Installed(
        notes=notes(ask, systemd_version()), files=place(puts, root, force, dry_run), next=_start(ask, root)
    )


def remove(ask: Ask, root: Path, force: bool, dry_run: bool) -> Installed:
    """The unit, its drop-ins and the line's file; bundles, keys and what the line wrote stay.

    Raises ConfigError, DataError.
    """
    enabled = [unit for unit, link in _links(ask.name) if (root / link).is_symlink()]
    if enabled:
        at = "" if root == REAL else f"--root={root} "
        return Installed(problems=[f"{unit} is enabled: systemctl {at}disable --now {unit} first" for unit in enabled])
    shared = [Put(UNITS / name, shipped(name), "goes last") for name in SHARED]
    drop_ins = [
        Put(UNITS / f"{service}@{ask.name}.service.d" / f"{name}.conf", data, "goes")
        for service in SERVICES
        for name, data in (
            *((gpu, shipped(f"{gpu}.conf")) for gpu in ("gpu", "openvino-gpu")),
            ("user", BANNER.encode()),
        )
    ]
    mine = plan(ask, [])
    kept = [Put(credential(ask.name), b"", "stays")]
    puts = {put.path: put for put in (*reversed(mine), *drop_ins, *shared, *kept)}.values()
    placed = take_away(list(puts), root, _other_lines(root, ask.name), force, dry_run)
    there = [file for file in placed if file.state != "not there"]
    stays = f"/var/lib/edge/{ask.name} (journal, self checks), /var/cache/edge and the bundles stay"
    return Installed(notes=[stays], files=there, next=["systemctl daemon-reload"] if root == REAL else [])


def _links(name: str) -> list[tuple[str, str]]:
    """The units that may be enabled, and the link that says so."""
    wanted = {f"edge@{name}.service": "multi-user.target", f"edge-selfbench@{name}.timer": "timers.target"}
    return [(unit, f"etc/systemd/system/{target}.wants/{unit}") for unit, target in wanted.items()]


def _other_lines(root: Path, name: str) -> list[str]:
    """The names of the box's other lines; one whose file has a mistake is a line all the same."""
    paths = sorted((root / CONFIGS.relative_to("/")).glob("*.toml"))
    return [path.stem for path in paths if path.stem != name and A_LINE.search(path.read_bytes())]


def _start(ask: Ask, root: Path) -> list[str]:
    if root != REAL:
        return [f"systemctl --root={root} enable edge@{ask.name}"]
    timer = [f"systemctl enable --now edge-selfbench@{ask.name}.timer"] if ask.selfbench else []
    return [
        *(["systemd-sysusers"] if ask.user == USER else []),
        "systemctl daemon-reload",
        f"systemctl enable --now edge@{ask.name}",
        *timer,
        f"{PROGRAM} doctor --live --config {config_place(ask.name)}",
    ]
