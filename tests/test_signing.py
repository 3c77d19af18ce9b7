"""The box's key: made once, for its owner's eyes, readable by openssl; wrong files end in a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import signing
from edge.errors import DataError

pytest.importorskip("cryptography", reason="cryptography is not here (extra `certify`)")


def quiet(_: str) -> None:
    pass


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path, told = tmp_path / "new" / "bench.key", list[str]()
    old = os.umask(0)
    try:
        first = signing.box_key(path, told.append)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600 and signing.public_path(path).stat().st_mode & 0o777 == 0o644
    data = path.read_bytes()
    again = signing.box_key(path, told.append)
    assert path.read_bytes() == data and signing.public_bytes(again) == signing.public_bytes(first)
    assert len(told) == 1 and str(path) in told[0]
    assert signing.read_public(signing.public_path(path)) == signing.public_bytes(first)
    assert sorted(file.name for file in path.parent.iterdir()) == ["bench.key", "bench.key.pub"]


def test_a_lost_public_key_is_written_anew_and_a_strange_one_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bench.key"
    signing.box_key(path, quiet)
    beside = signing.public_path(path)
    pem = beside.read_bytes()
    beside.unlink()
    signing.box_key(path, quiet)
    assert beside.read_bytes() == pem
    signing.box_key(tmp_path / "other.key", quiet)
    strange = signing.public_path(tmp_path / "other.key").read_bytes()
    beside.write_bytes(strange)
    with pytest.raises(DataError, match="not the public key of"):
        signing.box_key(path, quiet)
    assert beside.read_bytes() == strange


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bench.key"
    signing.box_key(path, quiet)
    path.chmod(0o640)
    with pytest.raises(DataError, match="chmod 600"):
        signing.box_key(path, quiet)


@pytest.mark.parametrize("data", [b"", b"noise", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_named_and_never_overwritten(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bench.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(DataError, match=r"bench\.key is no private key"):
        signing.box_key(path, quiet)
    with pytest.raises(DataError, match=r"bench\.key is no public key"):
        signing.read_public(path)
    assert path.read_bytes() == data


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key, path = X25519PrivateKey.generate(), tmp_path / "x.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(DataError, match="no Ed25519 key"):
        signing.box_key(path, quiet)
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(DataError, match="no Ed25519 public key"):
        signing.read_public(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="--key"):
        signing.box_key(tmp_path / "file" / "bench.key", quiet)


@settings(max_examples=50)
@given(st.binary(max_size=64), st.binary(max_size=64), st.binary(max_size=40), st.binary(max_size=70))
def test_a_signature_is_of_its_data_and_its_key_alone(data: bytes, other: bytes, key: bytes, noise: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    own = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = signing.public_bytes(own), own.sign(data)
    assert signing.verifies(public, signature, data)
    assert signing.verifies(public, signature, other) == (data == other)
    assert not signing.verifies(key, signature, data) and not signing.verifies(public, noise, data)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_openssl_reads_both_files(tmp_path: Path) -> None:
    path = tmp_path / "bench.key"
    signing.box_key(path, quiet)
    private = subprocess.run(["openssl", "pkey", "-in", path, "-pubout"], capture_output=True, check=True)
    assert private.stdout == signing.public_path(path).read_bytes()
