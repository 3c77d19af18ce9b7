"""CURVE keys and lists of them: made once, for their owner's eyes; what is allowed is what lies in the folder now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st

from edge.bus import zap
from edge.bus.allowed import read_allowed
from edge.bus.curve import client_keys
from edge.bus.denials import MOST_ADDRESSES, DenialLog
from edge.bus.keys import make_pair, read_pair, read_public
from edge.errors import DataError
from tests.lines import DARK, called
from tests.secured import peer, secure_line


def test_a_pair_is_made_once_and_only_its_owner_may_read_the_secret(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        secret, public = make_pair("cam0", tmp_path)
    finally:
        os.umask(old)
    assert secret.stat().st_mode & 0o777 == 0o600 and public.stat().st_mode & 0o777 == 0o644
    pair = read_pair(secret)
    assert read_public(public) == pair.public and pair.secret.decode() not in public.read_text()
    before = secret.read_bytes()
    with pytest.raises(DataError, match="never overwritten"):
        make_pair("cam0", tmp_path)
    assert secret.read_bytes() == before


def test_pyzmq_reads_our_files_and_we_read_pyzmqs(tmp_path: Path) -> None:
    secret, public = make_pair("ours", tmp_path)
    assert zmq.auth.load_certificate(secret) == tuple(read_pair(secret))
    assert zmq.auth.load_certificate(public) == (read_public(public), None)
    theirs, theirs_secret = zmq.auth.create_certificates(tmp_path, "theirs")
    assert read_pair(Path(theirs_secret)).public == read_public(Path(theirs))


def test_a_secret_is_never_taken_for_a_public_key(tmp_path: Path) -> None:
    secret, public = make_pair("cam0", tmp_path)
    with pytest.raises(DataError, match="never travel"):
        read_public(secret)
    with pytest.raises(DataError, match="no secret CURVE key"):
        read_pair(public)
    with pytest.raises(DataError, match="both"):
        client_keys(secret, None)


@pytest.mark.parametrize("text", ["", "public-key = ", 'public-key = "short"', 'public-key = "' + "~" * 40 + '"'])
def test_what_is_no_key_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.pub"
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.pub"):
        read_public(path)


def test_two_halves_of_different_pairs_are_refused(tmp_path: Path) -> None:
    one, other = make_pair("one", tmp_path)[0], make_pair("other", tmp_path)[1]
    text = one.read_text().replace(read_pair(one).public.decode(), read_public(other).decode())
    one.write_text(text)
    with pytest.raises(DataError, match="not that of its secret key"):
        read_pair(one)


@given(st.binary(max_size=300))
def test_no_bytes_whatever_do_more_than_raise_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.key"
    path.write_bytes(data)
    for read in (read_pair, read_public):
        with pytest.raises(DataError):
            read(path)


def test_what_lies_in_the_folder_now_is_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    assert not read_allowed(folder).names
    make_pair("cam0", tmp_path)
    make_pair("cam1", tmp_path)
    folder.mkdir()
    (folder / "cam0.pub").write_bytes((tmp_path / "cam0.pub").read_bytes())
    first = read_allowed(folder)
    assert list(first.names.values()) == ["cam0"] and read_allowed(folder, first) is first
    (folder / "cam0.pub").write_bytes((tmp_path / "cam1.pub").read_bytes())  # the same name, another key, the same size
    second = read_allowed(folder, first)
    assert set(second.names) == {read_public(tmp_path / "cam1.pub").decode()}
    (folder / "cam0.pub").unlink()
    assert not read_allowed(folder, second).names


def test_a_file_that_others_may_write_or_that_is_no_key_lets_nobody_in_and_is_told(tmp_path: Path) -> None:
    make_pair("cam0", tmp_path)
    (tmp_path / "cam0.pub").chmod(0o666)
    (tmp_path / "noise.pub").write_text("noise")
    (tmp_path / "gone.pub").symlink_to(tmp_path / "nowhere")
    allowed = read_allowed(tmp_path)
    assert not allowed.names and len(allowed.passed_over) == 2
    assert "changed by everyone" in allowed.passed_over[0] and "noise.pub" in allowed.passed_over[1]


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_no_request_whatever_does_more_than_be_none(parts: list[bytes]) -> None:
    assert zap.read_request(parts) is None
    request = zap.read_request([zap.VERSION, b"1", b"frames", b"127.0.0.1", b"", b"CURVE", *parts])
    assert request is not None and (request.key == "" or len(parts) == 1)


def test_the_log_has_one_line_a_minute_for_each_address() -> None:
    said, now = list[str](), [0.0]
    log = DenialLog(said.append, lambda: now[0])
    for _ in range(1000):
        log("frames", "10.0.0.1", "its key is not allowed")
        log("frames", "localhost:0:0:17", "it has no key")
        log("frames", "localhost:0:0:18", "it has no key")
    assert len(said) == 2
    now[0] = 61
    log("frames", "10.0.0.1", "its key is not allowed")
    assert len(said) == 3 and "2998 more" in said[2]
    for number in range(10_000):
        log("frames", f"10.1.0.{number}", "flood")
    assert len(said) <= 3 + MOST_ADDRESSES


def test_the_commands_make_allow_list_and_revoke(tmp_path: Path) -> None:
    config = secure_line(tmp_path, ".", DARK)
    assert called("keys", "new", "cam0", "-o", tmp_path / "own")[0] == 0
    code, _, said = called("keys", "new", "cam0", "-o", tmp_path / "own")
    assert code == 16 and "never overwritten" in said
    code, _, said = called("keys", "allow", tmp_path / "own" / "cam0.key", "--config", config, "--as", "camera")
    assert code == 16 and "secret" in said
    for _ in range(2):  # the same once more changes nothing
        assert called("keys", "allow", tmp_path / "own" / "cam0.pub", "--config", config, "--as", "camera")[0] == 0
    peer(config, "scada", "subscriber")
    code, out, _ = called("keys", "list", "--config", config)
    assert code == 0 and [line.split()[::2] for line in out.splitlines()] == [
        ["camera", "cam0"],
        ["subscriber", "scada"],
    ]
    assert called("keys", "revoke", "cam0", "--config", config)[0] == 0
    code, _, said = called("keys", "revoke", "cam0", "--config", config)
    assert code == 16 and "no key of cam0" in said
    assert called("keys", "list", "--config", config, "--json")[1].count("\n") == 1


@pytest.mark.parametrize("name", ["../cam0", ".cam", "-x", "a/b", "", "a" * 65])
def test_a_name_that_is_no_files_is_refused(tmp_path: Path, name: str) -> None:
    code, _, said = called("keys", "new", "-o", tmp_path, "--", name)
    assert code == 16 and "no name for a key" in said and not list(tmp_path.iterdir())
