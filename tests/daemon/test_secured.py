"""The real daemon on a line with keys: those that are allowed get frames in and verdicts out, all others nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import zmq

from edge.bus.camera import Camera
from edge.bus.curve import CurveClient
from edge.bus.keys import KeyPair
from edge.bus.sockets import open_socket
from edge.bus.verdicts import VerdictInlet
from edge.config import Line
from edge.errors import BusError
from edge.records import Evaluation
from tests.lines import called, daemon_on, edit, write_line
from tests.secured import peer, secure_line, shut_out

GOOD = np.full((64, 64), 51, np.uint8)
NOTHING_MS = 700


@pytest.fixture(scope="module")
def config(small_line: Line, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = secure_line(tmp_path_factory.mktemp("s"), small_line.bundles)
    peer(path, "cam0", "camera")
    peer(path, "scada", "subscriber")
    with daemon_on(path):
        yield path


@pytest.fixture(scope="module")
def scada(config: Path) -> Iterator[VerdictInlet]:
    with closing(VerdictInlet(verdicts(config), "small", peer(config, "scada"))) as inlet:
        yield inlet


@pytest.fixture(scope="module")
def camera(config: Path, scada: VerdictInlet) -> Iterator[Camera]:
    with closing(Camera(frames(config), "small", "cam0", curve=peer(config, "cam0"))) as camera:
        time.sleep(0.5)  # the subscription travels as well
        yield camera


def frames(config: Path) -> str:
    return f"ipc://{config.parent}/frames"


def verdicts(config: Path) -> str:
    return f"ipc://{config.parent}/verdicts"


def ask(camera: Camera, scada: VerdictInlet, what: str) -> None:
    trigger = f"{what} {camera.sent}"
    camera.send(GOOD, trigger)
    assert scada.poll(10_000), "no verdict within 10 s"
    verdict = scada.receive()
    assert (verdict.trigger_id, verdict.evaluation) == (trigger, Evaluation.OK)


def strangers(config: Path) -> dict[str, CurveClient | None]:
    right = peer(config, "cam0")
    public, secret = zmq.curve_keypair()
    return {
        "no key": None,
        "a key that nobody allowed": peer(config, "stranger"),
        "another daemon's key": CurveClient(right.own, public),
        "the allowed public key without its secret": CurveClient(KeyPair(right.own.public, secret), right.server),
    }


STRANGERS = ("no key", "a key that nobody allowed", "another daemon's key", "the allowed public key without its secret")


def test_allowed_keys_get_frames_in_and_verdicts_out(camera: Camera, scada: VerdictInlet) -> None:
    for number in range(20):
        ask(camera, scada, f"t{number}")


@pytest.mark.parametrize("who", STRANGERS)
def test_nothing_of_a_stranger_gets_in(config: Path, camera: Camera, scada: VerdictInlet, who: str) -> None:
    with pytest.raises(BusError, match="no daemon took the frames"):
        Camera(frames(config), "small", "evil", patience_s=1, curve=strangers(config)[who])
    ask(camera, scada, "still here")


def test_a_peer_that_skips_the_handshake_is_cut_off(config: Path, camera: Camera, scada: VerdictInlet) -> None:
    greeting = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    ready = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB"
    message = b"\x01\x10frame/small/evil\x01\x01\x80\x00\x00"
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(config.with_name("frames")))
        raw.settimeout(5)
        raw.sendall(greeting + ready + message)
        with suppress(ConnectionResetError):
            while raw.recv(4096):
                pass
    ask(camera, scada, "still here")


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_hears_nothing(config: Path, camera: Camera, scada: VerdictInlet, who: str) -> None:
    with closing(VerdictInlet(verdicts(config), "small", strangers(config)[who])) as ear:
        time.sleep(0.3)
        ask(camera, scada, "not for you")
        assert not ear.poll(NOTHING_MS)


def test_a_camera_may_not_listen_and_a_subscriber_may_not_send(
    config: Path, camera: Camera, scada: VerdictInlet
) -> None:
    with pytest.raises(BusError):
        Camera(frames(config), "small", "scada", patience_s=1, curve=peer(config, "scada"))
    with closing(VerdictInlet(verdicts(config), "small", peer(config, "cam0"))) as ear:
        time.sleep(0.3)
        ask(camera, scada, "not for cameras")
        assert not ear.poll(NOTHING_MS)


def test_a_revoked_camera_is_shut_out_though_it_is_connected_and_comes_back_when_it_is_allowed(
    config: Path, camera: Camera, scada: VerdictInlet
) -> None:
    with closing(Camera(frames(config), "small", "cam1", curve=peer(config, "cam1", "camera"))) as second:
        ask(second, scada, "before")
        shut_out(config, "cam1")
        time.sleep(1)
        second.send(GOOD, "after")
        assert not scada.poll(NOTHING_MS)
        with pytest.raises(BusError):
            Camera(frames(config), "small", "cam1", patience_s=1, curve=peer(config, "cam1"))
        ask(camera, scada, "still here")
        peer(config, "cam1", "camera")
        time.sleep(1)
        ask(second, scada, "again")


def test_a_revoked_subscriber_hears_no_more_though_it_is_connected_and_the_others_do(
    config: Path, camera: Camera, scada: VerdictInlet
) -> None:
    with closing(VerdictInlet(verdicts(config), "small", peer(config, "mes", "subscriber"))) as second:
        time.sleep(0.5)
        ask(camera, scada, "before")
        assert second.poll(1000) and str(second.receive().trigger_id).startswith("before ")
        shut_out(config, "mes")
        assert not scada.poll(2000)  # a subscriber that listens comes back by itself
        ask(camera, scada, "after")
        assert not second.poll(NOTHING_MS)


def test_a_camera_that_is_allowed_later_needs_no_restart(config: Path, scada: VerdictInlet) -> None:
    keys = peer(config, "cam2")
    knocking = open_socket(zmq.XPUB, frames(config), bind=False, curve=keys)
    with closing(knocking):
        assert not knocking.poll(500)
        peer(config, "cam2", "camera")
        assert knocking.poll(8000)


def test_a_line_ends_though_a_folder_of_keys_does_not_answer(small_line: Line, own_cache: Path, tmp_path: Path) -> None:
    config = secure_line(tmp_path, small_line.bundles)
    peer(config, "cam0", "camera")
    folder = next(path.parent for path in tmp_path.rglob("cam0.pub") if path.parent.name != "peers")
    with daemon_on(config) as daemon:
        os.mkfifo(folder / "silent.pub", 0o600)  # whoever reads it waits, as for a disk
        time.sleep(1.5)
        daemon.terminate()
        assert daemon.wait(10) == 0


def test_a_line_whose_key_others_may_read_or_that_is_missing_does_not_start(small_line: Line, tmp_path: Path) -> None:
    config = secure_line(tmp_path, small_line.bundles)
    (tmp_path / "daemon.key").chmod(0o640)
    code, _, said = called("run", "--config", config)
    assert code == 10 and "chmod 600" in said and "daemon.key" in said
    (tmp_path / "daemon.key").unlink()
    code, _, said = called("run", "--config", config)
    assert code == 10 and "daemon.key" in said


def test_a_line_that_others_may_change_does_not_start(small_line: Line, tmp_path: Path) -> None:
    config = write_line(tmp_path, small_line.bundles)
    config.chmod(0o666)
    code, _, said = called("run", "--config", config)
    assert code == 10 and "may be changed by everyone" in said and str(config) in said
    config.chmod(0o644)
    tmp_path.chmod(0o777)
    code, _, said = called("run", "--config", config)
    assert code == 10 and str(tmp_path) in said
    tmp_path.chmod(0o755)


def test_an_address_that_leaves_the_box_needs_keys(small_line: Line, tmp_path: Path) -> None:
    config = edit(write_line(tmp_path, small_line.bundles), f"ipc://{tmp_path}/frames", "tcp://*:5555")
    code, _, said = called("run", "--config", config)
    assert code == 10 and "edge keys new" in said and "allow_plain" in said
