"""Which files make a line a service, as plain data: nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from edge.bundle import MANIFEST, Bundle
from edge.bundle_signature import SIGNATURE
from edge.config import Line
from edge.errors import ConfigError
from edge.install.shipped import shipped

CONFIGS = PurePosixPath("/etc/edge")
UNITS = PurePosixPath("/etc/systemd/system")
SYSUSERS = PurePosixPath("/etc/sysusers.d/edge.conf")
CREDENTIALS = PurePosixPath("/etc/credstore")
USER = "edge"
CORES = "cores.conf"
BANNER = "# Written by `edge install`.\n"
READABLE, SECRET = 0o644, 0o600

# What becomes of it when the line is removed: it goes; it goes with the box's last line; it stays.
Fate = Literal["goes", "goes last", "stays"]
Gpu = Literal["gpu", "openvino-gpu"]


@dataclass(frozen=True)
class Ask:
    """What is wanted. gpu: which drop-in, None for a CPU. key: the daemon's secret key, to be made a credential. cores:
    its own, as `0-2,5`; None: all of the box, shared evenly with the other lines.

    bundles: the folder that they are copied from; None: they lie where the line looks for them already.
    """

    line: Line
    name: str
    user: str = USER
    gpu: Gpu | None = None
    selfbench: bool = False
    key: Path | None = None
    bundles: Path | None = None
    cores: str | None = None


@dataclass(frozen=True)
class Put:
    """One file. path: on the box, from its root."""

    path: PurePosixPath
    data: bytes
    fate: Fate
    mode: int = READABLE


def plan(ask: Ask, bundles: Iterable[Bundle]) -> list[Put]:
    """Every file, those that need others last. bundles: verified ones, to be copied.

    Raises ConfigError where a file that the line names cannot be brought along.
    """
    puts = [Put(SYSUSERS, shipped("edge.sysusers"), "goes last")] if ask.user == USER else []
    puts += [put for bundle in bundles for put in _bundle(bundle, bundles_place(ask.line))]
    # Another line may name them too.
    puts += [Put(CONFIGS / name, data, "goes last") for name, data in _beside(ask.line)]
    if ask.key:
        puts.append(Put(credential(ask.name), ask.key.read_bytes(), "stays", SECRET))
    puts.append(Put(config_place(ask.name), ask.line.path.read_bytes(), "goes"))
    for service in ["edge"] + ["edge-selfbench"] * ask.selfbench:
        puts.append(Put(UNITS / f"{service}@.service", shipped(f"{service}@.service"), "goes last"))
        puts += _drop_ins(ask, UNITS / f"{service}@{ask.name}.service.d")
    if ask.selfbench:
        puts.append(Put(UNITS / "edge-selfbench@.timer", shipped("edge-selfbench@.timer"), "goes last"))
    return puts


def config_place(name: str) -> PurePosixPath:
    return CONFIGS / f"{name}.toml"


def credential(name: str) -> PurePosixPath:
    """Where systemd looks for the unit's LoadCredential=%i.key."""
    return CREDENTIALS / f"{name}.key"


def bundles_place(line: Line) -> PurePosixPath:
    """Where the service looks for the bundles, as its config lies in /etc/edge."""
    return CONFIGS / line.config.bundles


def _drop_ins(ask: Ask, folder: PurePosixPath) -> list[Put]:
    puts = [Put(folder / f"{ask.gpu}.conf", shipped(f"{ask.gpu}.conf"), "goes")] if ask.gpu else []
    if ask.user != USER:
        # A cache of its own: systemd gives a cache folder to the user of whichever line was started last.
        lines = [f"User={ask.user}", f"Group={ask.user}", "CacheDirectory=", f"CacheDirectory=edge-{ask.user}"]
        puts.append(Put(folder / "user.conf", _service(lines), "goes"))
    if ask.cores:
        puts.append(Put(folder / CORES, _service([f"AllowedCPUs={ask.cores}"]), "goes"))
    return puts


def _service(lines: list[str]) -> bytes:
    return "\n".join([f"{BANNER}[Service]", *lines, ""]).encode()


def _beside(line: Line) -> list[tuple[str, bytes]]:
    """The files that the line names beside itself, with their names. Not the keys that are let in: one that was revoked
    on the box would come back."""
    config, security = line.config, line.config.security
    names = [config.drift.reference if config.drift else None, config.certificate, config.certificate_key]
    names += security.bundle_keys if security else ()
    found = []
    for name in dict.fromkeys(filter(None, names)):
        if PurePosixPath(name).is_absolute():
            continue
        if ".." in PurePosixPath(name).parts:
            raise ConfigError(f"{line.path}: {name} lies above the line's folder; name it absolute, or put it beside")
        try:
            found.append((name, (line.path.parent / name).read_bytes()))
        except OSError as error:
            raise ConfigError(f"{line.path} names {name}: {error.strerror}; put it beside the line's file") from error
    return found


def _bundle(bundle: Bundle, place: PurePosixPath) -> list[Put]:
    """The manifest last: what it names is there before it; but what is another bundle's comes with that one."""
    own = [entry.file for entry in bundle.files if entry.bundle in (None, bundle.path.name)]
    own += [SIGNATURE] if (bundle.path / SIGNATURE).is_file() else []
    files = dict.fromkeys([*own, MANIFEST])
    return [Put(place / bundle.path.name / name, (bundle.path / name).read_bytes(), "stays") for name in files]
