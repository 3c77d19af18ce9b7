"""Ed25519: a box's own key, what it signed, and whom one believes. Keys are PEM files, as openssl writes them.

The package `cryptography` (extra `certify`) is imported where it is used: a line that demands no certificate needs it
not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import DataError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SYSTEM = Path("/etc/edge/bench.key")
OWN = Path("~/.config/edge/bench.key")
PRIVATE, PUBLIC = 0o600, 0o644


def default_key() -> Path:
    """The box's for root and whoever may write beside it, the user's own otherwise."""
    return SYSTEM if os.geteuid() == 0 or os.access(SYSTEM.parent, os.W_OK) else OWN.expanduser()


def default_public() -> Path | None:
    """The public key that this box signs with, where it has one yet."""
    paths = [public_path(SYSTEM), public_path(OWN.expanduser())]
    return next((path for path in paths if path.is_file()), None)


def public_path(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def box_key(path: Path, say: Callable[[str], None]) -> Ed25519PrivateKey:
    """The private key in this file, made where there is none, its public key beside it; neither is ever overwritten.

    say: told where a key was made. Raises DataError naming the file.
    """
    if not path.exists():
        _make(path)
        say(f"made this box's key {path}; its public key is {public_path(path)}")
    key = _read_private(path)
    beside = public_path(path)
    if not beside.exists():
        write_new(beside, _public_pem(key), PUBLIC)
    if read_public(beside) != public_bytes(key):
        raise DataError(f"{beside} is not the public key of {path}; move it away, and it is written anew")
    return key


def _make(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new(path, pem, PRIVATE)


def write_new(path: Path, data: bytes, mode: int) -> bool:
    """A file that was not there before, whole or not at all: two that make it at once end with one key.

    Whether this is the one. Raises DataError naming the file.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            return False  # another made it meanwhile: theirs holds
        finally:
            partial.unlink()
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror}; give a folder of yours (-o), a file in it (--key)"
        ) from error
    return True


def _read_private(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise DataError(f"others may read or change the private key {path}: chmod 600, or make a new one elsewhere")
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is no private key without a password; give another file with --key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError(f"{path} is no Ed25519 key; give another file with --key, and one is made there")
    return key


def read_public(path: Path) -> bytes:
    """The 32 bytes of an Ed25519 public key's PEM file. Raises DataError naming the file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DataError(f"{path} is no public key; give the .pub file that lies beside the box's key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise DataError(f"{path} is no Ed25519 public key; give the .pub file that lies beside the box's key")
    return key.public_bytes_raw()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the key {path}: {error.strerror}") from error


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def verifies(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the owner of the public key (32 bytes) signed exactly this data. Raises nothing."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
