"""manifest.sig: who answers for a bundle. It signs the manifest's exact bytes, which name every file by its SHA-256.

One line: `ed25519`, the SHA-256 of the public key's 32 bytes, the signature's 64 bytes in hex. The package
`cryptography` (extra `certify`) is needed by whoever signs or checks, by nobody else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import BundleError, DataError
from edge.signing import PUBLIC, public_bytes, read_public, verifies, write_new

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE = "manifest.sig"
LINE = re.compile(rb"ed25519 ([0-9a-f]{64}) ([0-9a-f]{128})\n?")
MOST_BYTES = 512
ADVICE = "bring the bundle as it was signed, or sign it again: edge sign"

Trusted = Mapping[str, bytes]  # a public key's 32 bytes by its fingerprint
NOBODY: Trusted = {}


def fingerprint(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()


def read_trusted(paths: Iterable[Path]) -> Trusted:
    """Public keys in PEM files by their fingerprints. Raises DataError naming the file."""
    keys = [read_public(path) for path in paths]
    return {fingerprint(key): key for key in keys}


def sign_manifest(folder: Path, manifest: bytes, key: Ed25519PrivateKey) -> str:
    """Write manifest.sig over these bytes, in place of an older one. Returns the key's fingerprint.

    Raises DataError where it cannot be written.
    """
    who = fingerprint(public_bytes(key))
    path, fresh = folder / SIGNATURE, folder / f"{SIGNATURE}.new"
    fresh.unlink(missing_ok=True)
    write_new(fresh, f"ed25519 {who} {key.sign(manifest).hex()}\n".encode(), PUBLIC)
    try:
        fresh.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error
    return who


def check_signature(folder: Path, manifest: bytes, trusted: Trusted) -> None:
    """Whether one of the trusted keys signed exactly these bytes. Raises BundleError naming the file and the key."""
    path = folder / SIGNATURE
    try:
        with path.open("rb") as file:
            found = LINE.fullmatch(file.read(MOST_BYTES))
    except FileNotFoundError as error:
        raise BundleError(f"{folder} is not signed, and this line opens signed bundles alone: edge sign") from error
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error
    if found is None:
        raise BundleError(f"{path} is no signature of edge; {ADVICE}")
    who, signature = found[1].decode(), bytes.fromhex(found[2].decode())
    if who not in trusted:
        raise BundleError(
            f"{folder} is signed by the key {who[:16]}, which is not among the line's bundle_keys; "
            "add its public key where you trust it, or sign with one of those"
        )
    if not verifies(trusted[who], signature, manifest):
        raise BundleError(f"{folder}: its manifest is not what the key {who[:16]} signed; {ADVICE}")
