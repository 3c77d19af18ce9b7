"""What would keep the service from running, found before anything is put in place."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from edge.address import is_local
from edge.bundle import Bundle
from edge.bus.keys import read_pair
from edge.inspection.assemble import line_bundles
from edge.install.cores import cores_problems
from edge.install.plan import CONFIGS, CREDENTIALS, USER, Ask, bundles_place, credential

PROGRAM = PurePosixPath("/opt/edge/bin/edge")
IPC = "ipc://"
CREDSTORE_SINCE = 252
# ProtectHome=yes hides these from the service, PrivateTmp=yes gives it others in their place.
HIDDEN = tuple(map(PurePosixPath, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))
REAL = Path("/")
FITS_A_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def verified_bundles(ask: Ask, root: Path) -> list[Bundle]:
    """Those that the line names, every file compared with its manifest: from where they are copied, or where the
    service will find them. Raises BundleError, ConfigError, MissingExtra."""
    place = ask.bundles or root / bundles_place(ask.line).relative_to("/")
    bundles = list(line_bundles(msgspec.structs.replace(ask.line, bundles=place.resolve())).values())
    for bundle in bundles:
        for entry in bundle.files:
            bundle.read(entry)
    return bundles


def problems(ask: Ask, root: Path, dry_run: bool) -> list[str]:
    """A sentence each, with what to do. A folder that an image is made in may lack what the box will have."""
    return [*_line(ask, root), *(_box(ask, dry_run) if root == REAL else ())]


def _box(ask: Ask, dry_run: bool) -> Iterator[str]:
    if not Path("/run/systemd/system").is_dir():
        yield "systemd does not run this box; start `edge run` by what does, or give --root for an image"
    if not Path(PROGRAM).exists():
        where = f"this edge is in {sys.prefix}"
        yield f"the unit starts {PROGRAM}, which is not there ({where}): make the environment in /opt/edge"
    if os.geteuid() and not dry_run:
        yield f"only root may change /etc: sudo {' '.join([str(PROGRAM), *sys.argv[1:]])}"
    if ask.user != USER and ask.user not in {entry.pw_name for entry in pwd.getpwall()}:
        yield f"there is no user {ask.user}: useradd --system {ask.user}, or leave --user out"


def _line(ask: Ask, root: Path) -> Iterator[str]:
    config, path = ask.line.config, ask.line.path
    run, state = PurePosixPath("/run/edge") / ask.name, PurePosixPath("/var/lib/edge") / ask.name
    sockets = {"frames": config.frames, "verdicts": config.verdicts}
    sockets |= {"journal.replay": config.journal.replay} if config.journal and config.journal.replay else {}
    for key, address in sockets.items():
        if address.startswith(IPC) and not PurePosixPath(address.removeprefix(IPC)).is_relative_to(run):
            yield f"{path}: {key} = {address}: the service may write its sockets to {run} alone; put it there"
    if config.journal and not (CONFIGS / config.journal.folder).is_relative_to(state):
        yield f"{path}: journal.folder = {config.journal.folder}: the service may write to {state} alone; put it there"
    place = PurePosixPath(os.path.normpath(bundles_place(ask.line)))
    if any(place.is_relative_to(hidden) for hidden in HIDDEN):
        yield f"{path}: bundles = {config.bundles}: the service does not see {place}; write /opt/edge/models"
    if config.awake and ask.selfbench:
        yield f"{path}: awake = true leaves the self check no time on the line's cores; leave out the one or the other"
    yield from names(ask)
    yield from cores_problems(ask, root)
    yield from _key(ask, root)


def names(ask: Ask) -> Iterator[str]:
    """They are parts of paths and of units."""
    for name in (ask.name, ask.user):
        if not FITS_A_UNIT.fullmatch(name):
            yield f"{name!r} is no name for a service or its user: letters, digits, _ . and - alone"


def systemd_version() -> int | None:
    """None where it does not say."""
    found = re.match(r"systemd (\d+)", _systemctl("--version"))
    return int(found[1]) if found else None


def is_active(unit: str) -> bool:
    return _systemctl("is-active", unit).strip() in ("active", "activating", "reloading", "deactivating")


def _systemctl(*arguments: str) -> str:
    """What it says; nothing where it is not here."""
    try:
        done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _key(ask: Ask, root: Path) -> Iterator[str]:
    """Raises DataError where --key is none."""
    security, path = ask.line.config.security, ask.line.path
    if security is None:
        if ask.key:
            yield f'{path} has no [security], so nobody would read --key {ask.key}; add key = "{ask.key.name}"'
        return
    named_so = security.key == credential(ask.name).name
    if ask.key:
        read_pair(ask.key)
        if not named_so:
            yield f"{path}: security.key = {security.key}: the unit's credential is named {ask.name}.key; write that"
        return
    places = [CONFIGS / security.key, *([credential(ask.name)] if named_so else [])]
    given = [root / place.relative_to("/") for place in places]
    if not any(file.exists() for file in given):
        yield f"{path} has [security], and its secret key is not on the box: edge keys new {ask.name}, then give --key"


def notes(ask: Ask, systemd: int | None) -> list[str]:
    """What the service needs besides, as it cannot be told from here. systemd: its version."""
    config = ask.line.config
    addresses = [config.frames, config.verdicts, *([config.journal.replay] if config.journal else [])]
    far = [address for address in addresses if address and not is_local(address)]
    told = []
    if far:
        told.append(
            f"{', '.join(far)} leaves this box, which the unit forbids: systemctl edit edge@{ask.name}, then "
            "[Service] IPAddressAllow= with its peers' addresses"
        )
    if config.security:
        allow = f"edge keys allow NAME.pub --config {CONFIGS / ask.name}.toml --as camera|subscriber"
        told.append(f"who may speak to the line is said on the box: {allow}")
    if ask.key and systemd is not None and systemd < CREDSTORE_SINCE:
        at = f"LoadCredential={credential(ask.name).name}:{credential(ask.name)}"
        told.append(
            f"systemd {systemd} does not look into {CREDENTIALS}: systemctl edit edge@{ask.name}, [Service] {at}"
        )
    if ask.gpu is None and config.device == "gpu":
        told.append('device = "gpu", and the unit hides all graphics: give --gpu (NVIDIA) or --openvino-gpu (Intel)')
    return told
