"""A latency figure that a box signed: what was measured, on which box, of which files, against which targets.

What is signed is the certificate's canonical JSON without its signature: keys sorted, no spaces, UTF-8.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edge.bundle import Bundle
from edge.config import JudgeConfig, LineConfig, RegionConfig
from edge.engines.choose import package_versions
from edge.engines.processor import INT8_FEATURES, features, info
from edge.errors import BundleError, DataError
from edge.signing import public_bytes, verifies

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT_VERSION = 1
COMMAND = "edge-bench certify"
MUST_BE_EQUAL = ("machine", "cpu", "vnni", "logical_cores")
Answer = Literal["PASS", "FAIL", "INSUFFICIENT"]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the certificate's tables: a key that nobody signed is refused."""


class Host(Strict, frozen=True):
    """A box. machine: a digest of its machine-id, empty where it has none. versions: of edge and the engines here."""

    machine: str
    cpu: str
    vnni: bool
    logical_cores: int
    memory_mib: int
    kernel: str
    versions: dict[str, str]


class RanGraph(Strict, frozen=True):
    """A graph that was timed, and on what it really ran. files: the SHA-256 of the graph's, and of its weights'."""

    files: dict[str, str]
    engine: str
    device: str
    precision: str


class CertifiedBundle(Strict, frozen=True):
    """sha256: of the manifest, which itself names every file's digest."""

    name: str
    sha256: str
    graphs: list[RanGraph]


class Target(Strict, frozen=True):
    """A stage's bound on a percentile of its milliseconds. upper_ms: what the true percentile does not exceed with
    this confidence; None: too few samples. samples_needed: the fewest that can confirm it."""

    stage: str
    target_ms: float
    percentile: float
    confidence: float
    samples: int
    samples_needed: int
    estimate_ms: float | None
    upper_ms: float | None
    answer: Answer


class Certificate(Strict, frozen=True, kw_only=True):
    """date: UTC. settings_sha256: of a line's settings that its latency depends on; None for a bundle. frames: what was
    shown. timed: how many frames each stage was timed for. public_key, signature: hexadecimal, of the box."""

    format: int
    date: str
    subject: str
    kind: str
    settings_sha256: str | None
    scenario: str
    threads: int
    device: str
    frames: str
    timed: dict[str, int]
    host: Host
    bundles: list[CertifiedBundle]
    targets: list[Target]
    answer: Answer
    public_key: str
    signature: str


class Defence(msgspec.Struct, frozen=True):
    """One line of defence. holds: None where it was not tried."""

    line: str
    holds: bool | None
    found: str


class Subject(msgspec.Struct, frozen=True):
    """What a certificate is asked about, as it lies here. settings_sha256: None for a bundle."""

    bundles: list[Bundle]
    settings_sha256: str | None = None


def this_host(root: Path = Path("/")) -> Host:
    """root: where /proc and /etc are."""
    return Host(
        machine=_machine(root),
        cpu=info(root).get("model name", platform.processor()),
        vnni=any(name in INT8_FEATURES for name in features(root)),
        logical_cores=os.cpu_count() or 0,
        memory_mib=_memory_mib(root),
        kernel=platform.release(),
        versions=package_versions(),
    )


def _machine(root: Path) -> str:
    """Digested under a word of ours: machine-id(5) asks that the id itself be shown to nobody."""
    try:
        found = (root / "etc/machine-id").read_text(errors="replace").strip()
    except OSError:
        return ""
    return hashlib.sha256(f"edge certificate {found}".encode()).hexdigest() if found else ""


def _memory_mib(root: Path) -> int:
    try:
        words = (root / "proc/meminfo").read_text(errors="replace").split()
    except OSError:
        return 0
    return int(words[1]) // 1024 if words[:1] == ["MemTotal:"] else 0


def settings_sha256(config: LineConfig) -> str:
    """Of what a line's latency depends on besides its bundles; thresholds, addresses and limits do not count. Nor
    does awake: it is measured back to back, when no core sleeps."""
    judges = {
        surface: [judge.bundle, judge.mode, judge.kinds, [[region.boxes, region.bundle] for region in _regions(judge)]]
        for surface, judge in config.judges.items()
    }
    settings = [config.gate, config.engine, config.device, config.threads, judges]
    return hashlib.sha256(canonical(settings)).hexdigest()


def _regions(judge: JudgeConfig) -> list[RegionConfig]:
    return [region for _, region in sorted(judge.regions.items())]


def canonical(data: Any) -> bytes:
    return msgspec.json.encode(data, order="sorted")


def signed_bytes(certificate: Certificate) -> bytes:
    fields = msgspec.to_builtins(certificate)
    del fields["signature"]
    return canonical(fields)


def sign(certificate: Certificate, key: Ed25519PrivateKey) -> Certificate:
    replaced = msgspec.structs.replace
    named = replaced(certificate, public_key=public_bytes(key).hex())
    return replaced(named, signature=key.sign(signed_bytes(named)).hex())


def to_json(certificate: Certificate) -> str:
    return msgspec.json.format(msgspec.json.encode(certificate), indent=2).decode()


def read_certificate(path: Path) -> Certificate:
    """Read, not yet believed. Raises DataError where the file is no certificate."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Certificate)
    except OSError as error:
        raise DataError(f"cannot read the certificate {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no certificate that this edge reads: {error}; make one with {COMMAND}") from error


def examine(certificate: Certificate, trusted: bytes | None, here: Host, subject: Subject | None) -> list[Defence]:
    """Every line of defence, one sentence each. trusted: the public key that one believes; subject: None to leave its
    files alone."""
    return [
        _format(certificate),
        _signature(certificate),
        _key(certificate, trusted),
        _host(certificate.host, here),
        _software(certificate.host, here),
        _settings(certificate, subject),
        _bundles(certificate, subject),
        _verdict(certificate),
    ]


def _format(certificate: Certificate) -> Defence:
    given = certificate.format
    if given == FORMAT_VERSION:
        return Defence("format", True, f"it is of format {given}")
    return Defence("format", False, f"it is of format {given}, and this edge reads format {FORMAT_VERSION}")


def _signature(certificate: Certificate) -> Defence:
    try:
        public, signature = bytes.fromhex(certificate.public_key), bytes.fromhex(certificate.signature)
    except ValueError:
        return Defence("signature", False, "its key or signature is not hexadecimal: it was altered")
    plain = signature.hex() == certificate.signature  # fromhex reads spaces and capitals too
    if plain and verifies(public, signature, signed_bytes(certificate)):
        return Defence("signature", True, f"nothing was altered since the key {_short(certificate)} signed it")
    return Defence("signature", False, "its signature is not of what it says: it was altered, or never signed")


def _key(certificate: Certificate, trusted: bytes | None) -> Defence:
    if trusted is None:
        return Defence("key", False, f"nobody said that the key {_short(certificate)} is to be trusted")
    if certificate.public_key == trusted.hex():
        return Defence("key", True, f"the key {_short(certificate)} is the trusted one")
    found = f"it was signed with the key {_short(certificate)}, and the trusted one is {trusted.hex()[:16]}"
    return Defence("key", False, found)


def _short(certificate: Certificate) -> str:
    return certificate.public_key[:16]


def _host(there: Host, here: Host) -> Defence:
    """The kernel may be another: its updates must not stop a line. Memory may differ by what a kernel keeps of it."""
    names = [name for name in MUST_BE_EQUAL if getattr(there, name) != getattr(here, name)]
    if abs(there.memory_mib - here.memory_mib) > 0.05 * here.memory_mib:
        names.append("memory_mib")
    if not names:
        twins = "" if here.machine else ", or of its like: it has no /etc/machine-id"
        return Defence("host", True, f"it is of this box, {here.cpu}{twins}")
    told = "; ".join(f"{name} {getattr(there, name)!r} there, {getattr(here, name)!r} here" for name in names)
    return Defence("host", False, f"it is of another box: {told}")


def _software(there: Host, here: Host) -> Defence:
    names = sorted(there.versions.keys() | here.versions.keys())
    told = [
        f"{name} {there.versions.get(name, 'none')} there, {here.versions.get(name, 'none')} here"
        for name in names
        if there.versions.get(name) != here.versions.get(name)
    ]
    if told:
        return Defence("software", False, f"it is of other versions: {'; '.join(told)}")
    kernel = "" if there.kernel == here.kernel else f", the kernel was {there.kernel} and is {here.kernel}"
    return Defence("software", True, f"edge and the engines are those it was measured with{kernel}")


def _settings(certificate: Certificate, subject: Subject | None) -> Defence:
    if subject is None or subject.settings_sha256 is None:
        return Defence("settings", None, "no line was named to compare its settings with")
    if certificate.settings_sha256 == subject.settings_sha256:
        return Defence("settings", True, "the line's settings are those it was measured with")
    if certificate.settings_sha256 is None:
        return Defence("settings", False, "it is of a bundle alone, not of the line")
    found = "the line's gate, judges, engine, device or threads are not those it was measured with"
    return Defence("settings", False, found)


def _bundles(certificate: Certificate, subject: Subject | None) -> Defence:
    if subject is None:
        return Defence("bundles", None, "no bundle or line was named to compare its files with")
    try:
        for bundle in subject.bundles:
            check_bundle(certificate, bundle)
    except BundleError as error:
        return Defence("bundles", False, str(error))
    return Defence("bundles", True, f"it covers {', '.join(bundle.path.name for bundle in subject.bundles)} to the bit")


def check_bundle(certificate: Certificate, bundle: Bundle) -> None:
    """Raises BundleError where the bundle, as it lies there, is none of the certificate's."""
    certified = next((entry for entry in certificate.bundles if entry.sha256 == bundle.sha256), None)
    if certified is None:
        raise BundleError(f"it does not cover {bundle.path}, whose manifest's SHA-256 is {bundle.sha256[:16]}")
    names = {name for graph in certified.graphs for name in graph.files}
    for graph in bundle.manifest.graph:
        for file in graph.files if graph.file in names else ():
            bundle.read(file)


def _verdict(certificate: Certificate) -> Defence:
    told = "; ".join(map(told_target, certificate.targets))
    return Defence("verdict", certificate.answer == "PASS", f"{certificate.answer}: {told}")


def told_target(target: Target) -> str:
    at = f"{target.stage} p{100 * target.percentile:.6g}"
    if target.answer == "INSUFFICIENT":
        few = f"{target.samples} samples cannot say whether {at} meets {target.target_ms:g} ms"
        return f"{few}, {target.samples_needed} may"
    if target.upper_ms is None:
        bound = f"is {_ms(target.estimate_ms)} in the sample"
    else:
        bound = f"is at most {_ms(target.upper_ms)} with {100 * target.confidence:g} % confidence"
    missed = "" if target.answer == "PASS" else ", which is too slow"
    return f"{at} {bound} ({target.samples} samples), target {target.target_ms:g} ms{missed}"


def _ms(milliseconds: float | None) -> str:
    return "unknown" if milliseconds is None else f"{milliseconds:.4g} ms"


def failed(rows: Sequence[Defence]) -> list[Defence]:
    return [row for row in rows if row.holds is False]
