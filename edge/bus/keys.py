"""CURVE keys as files that pyzmq and czmq read too: NAME.key has both halves, NAME.pub the public one alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import zmq

from edge.errors import DataError
from edge.signing import PRIVATE, PUBLIC, write_new

SECRET_ENDS, PUBLIC_ENDS = ".key", ".pub"
MOST_BYTES = 4096
HALF = r'^\s*{}-key\s*=\s*"([^"\n]*)"\s*$'
SECRET_BANNER = "# Secret ZeroMQ CURVE key, made by `edge keys`. Whoever reads it can speak in its owner's name.\n"
PUBLIC_BANNER = "# Public ZeroMQ CURVE key, made by `edge keys`.\n"


class KeyPair(NamedTuple):
    """Both halves in Z85, 40 characters each."""

    public: bytes
    secret: bytes


def make_pair(name: str, folder: Path) -> tuple[Path, Path]:
    """Write NAME.key, for its owner's eyes alone, and NAME.pub. Raises DataError where either is there already."""
    paths = folder / f"{name}{SECRET_ENDS}", folder / f"{name}{PUBLIC_ENDS}"
    for path in paths:
        if path.exists():
            raise DataError(f"{path} is there already, and a key is never overwritten; give another name or folder")
    public, secret = (half.decode() for half in zmq.curve_keypair())
    halves = f'curve\n    public-key = "{public}"\n'
    texts = f'{SECRET_BANNER}{halves}    secret-key = "{secret}"\n', f"{PUBLIC_BANNER}{halves}"
    for path, text, mode in zip(paths, texts, (PRIVATE, PUBLIC), strict=True):
        if not write_new(path, text.encode(), mode):
            raise DataError(f"{path} was made by somebody else meanwhile; give another name or folder")
    return paths


def read_pair(path: Path) -> KeyPair:
    """Raises DataError naming the file where it lacks a half, or the halves are not of one pair."""
    text = _read(path)
    pair = KeyPair(_half(text, "public", path), _half(text, "secret", path))
    if zmq.curve_public(pair.secret) != pair.public:
        raise DataError(f"{path}: its public key is not that of its secret key; make a new pair: edge keys new")
    return pair


def read_public(path: Path) -> bytes:
    """The public half, in Z85. Raises DataError naming the file where it has none, or a secret one beside it."""
    text = _read(path)
    if re.search(HALF.format("secret"), text, re.MULTILINE):
        raise DataError(f"{path} holds a secret key; give the {PUBLIC_ENDS} file, and let the secret never travel")
    return _half(text, "public", path)


def _half(text: str, kind: str, path: Path) -> bytes:
    found = re.findall(HALF.format(kind), text, re.MULTILINE)
    if len(found) != 1:
        raise DataError(f"{path} has no {kind} CURVE key; make one: edge keys new NAME")
    key: bytes = found[0].encode()
    try:
        zmq.curve_public(key)  # of a public key this makes no sense, and says whether it is 32 bytes of Z85
    except (ValueError, zmq.ZMQError) as error:
        raise DataError(f"{path}: its {kind} key is not 32 bytes in Z85; it is damaged, bring it anew") from error
    return key


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode()
    except OSError as error:
        raise DataError(f"cannot read the key {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no CURVE key; make one: edge keys new NAME") from error
