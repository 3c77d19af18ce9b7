"""The real daemon in a process of its own, a real camera, a real subscriber: every frame gets exactly one verdict."""

from __future__ import annotations

import itertools
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from edge.bus.camera import Camera
from edge.bus.frames import HEADER_BYTES, frame_topic
from edge.bus.verdicts import read_verdict
from edge.config import Line
from edge.records import Evaluation, Verdict
from tests.lines import DARK, called, daemon_on, write_line

LIMITS = "[limits]\nframe_bytes = 100000\n"
JUDGES = f'{DARK}light = {{ bundle = "brittle" }}\n'
SIDE = 64


@dataclass
class Running:
    folder: Path
    port: int

    def address(self, name: str) -> str:
        return f"ipc://{self.folder}/{name}"


def raw_socket(kind: int) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    return socket


def free_port() -> int:
    with raw_socket(zmq.PULL) as probe:
        return probe.bind_to_random_port("tcp://127.0.0.1")


@pytest.fixture(scope="module")
def daemon(small_line: Line, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, port = tmp_path_factory.mktemp("d"), free_port()
    with daemon_on(write_line(folder, small_line.bundles, f"metrics_port = {port}\n", LIMITS, JUDGES)):
        yield Running(folder, port)


@pytest.fixture(scope="module")
def subscriber(daemon: Running) -> Iterator[zmq.Socket[bytes]]:
    with raw_socket(zmq.SUB) as socket:
        socket.connect(daemon.address("verdicts"))
        socket.subscribe("verdict/small/")
        yield socket


@pytest.fixture(scope="module")
def camera(daemon: Running, subscriber: zmq.Socket[bytes]) -> Iterator[Camera]:
    camera = Camera(daemon.address("frames"), "small", "cam0", patience_s=60)
    time.sleep(0.3)  # the subscription travels as well
    yield camera
    camera.close()


def next_verdict(socket: zmq.Socket[bytes]) -> Verdict:
    assert socket.poll(20_000), "no verdict within 20 s"
    return read_verdict(socket.recv_multipart()[1])


def plain(level: int) -> NDArray[np.uint8]:
    return np.full((SIDE, SIDE), level, np.uint8)


def spotted() -> NDArray[np.uint8]:
    part = plain(51)
    part[20:28, 30:38] = 255
    return part


def test_good_defective_and_unseen_parts_are_told_apart(camera: Camera, subscriber: zmq.Socket[bytes]) -> None:
    answers = []
    for number, pixels in enumerate([plain(51), spotted(), plain(128)]):
        camera.send(pixels, f"t{number}", part_id=f"p{number}")
        answers.append(next_verdict(subscriber))
    good, defective, unseen = answers
    assert (good.evaluation, good.reason, good.surface) == (Evaluation.OK, "ok", "dark")
    assert (defective.evaluation, defective.reason) == (Evaluation.NOT_OK, "defect")
    assert (unseen.evaluation, unseen.reason, unseen.surface) == (Evaluation.NOT_DECIDABLE, "unseen_surface", None)
    assert [v.part_id for v in answers] == ["p0", "p1", "p2"] and [v.trigger_id for v in answers] == ["t0", "t1", "t2"]
    assert not good.fail_safe and not defective.fail_safe and unseen.fail_safe
    x, y, w, h = defective.defects[0].bbox
    assert x <= 31 and y <= 21 and x + w >= 37 and y + h >= 27
    assert good.engine == "onnx" and good.graphs == {"gate": "onnx/cpu/fp32", "smoother": "onnx/cpu/fp32"}
    assert good.times_ns["total"] >= good.times_ns["gate"] + good.times_ns["judge"] >= good.times_ns["run"]


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_any_encoding_size_depth_and_colour_is_judged(
    camera: Camera, subscriber: zmq.Socket[bytes], encoding: Any
) -> None:
    for pixels in (spotted(), np.dstack([spotted()] * 3), spotted().astype(np.uint16) * 257, spotted().repeat(2, 0)):
        camera.send(pixels, f"any {camera.sent}", encoding=encoding)
        assert next_verdict(subscriber).evaluation == Evaluation.NOT_OK


def test_a_score_that_is_no_number_is_undefined(camera: Camera, subscriber: zmq.Socket[bytes]) -> None:
    part = plain(220)
    part[:4, :4] = 0
    camera.send(part, "nan")
    verdict = next_verdict(subscriber)
    assert (verdict.evaluation, verdict.reason, verdict.surface) == (Evaluation.UNDEFINED, "bad_score", "light")
    assert verdict.fail_safe and "brittle" in verdict.detail


def test_a_late_frame_is_never_ok(camera: Camera, subscriber: zmq.Socket[bytes]) -> None:
    camera.send(plain(51), "late", deadline_ms=0.0001)
    verdict = next_verdict(subscriber)
    assert (verdict.evaluation, verdict.reason) == (Evaluation.UNDEFINED, "late")


GOOD = {
    "v": 1,
    "session": "evil",
    "seq": 0,
    "trigger_id": "x",
    "shape": [SIDE, SIDE],
    "dtype": "uint8",
    "pixel_format": "Mono8",
    "encoding": "raw",
    "nbytes": SIDE * SIDE,
}
NUMBERS = itertools.count()


def packed(**claims: object) -> bytes:
    """Each is a frame of its own."""
    number = next(NUMBERS)
    return bytes(msgpack.packb({**GOOD, "seq": number, "trigger_id": f"x{number}", **claims}))


PIXELS = plain(51).tobytes()
TOPIC = frame_topic("small", "evil")
BAD_MESSAGES: dict[str, list[bytes]] = {
    "one part": [TOPIC],
    "two parts": [TOPIC, packed()],
    "four parts": [TOPIC, packed(), PIXELS, b"more"],
    "two hundred parts": [TOPIC, *[b"x" * 1000] * 199],
    "no camera in the topic": [b"frame/small/", packed(), PIXELS],
    "a header of noise": [TOPIC, b"\xc1\xff", PIXELS],
    "a header too large": [TOPIC, bytes(HEADER_BYTES + 1), PIXELS],
    "a deep header": [TOPIC, b"\x91" * HEADER_BYTES, PIXELS],
    "a wrong dtype": [TOPIC, packed(dtype="float64"), PIXELS],
    "a lying size": [TOPIC, packed(nbytes=10**9), PIXELS],
    "a lying shape": [TOPIC, packed(shape=[9, 9]), PIXELS],
    "no pixels": [TOPIC, packed(), b""],
    "a deadline that is no number": [TOPIC, packed(deadline_ms=float("nan")), PIXELS],
    "a deadline without end": [TOPIC, packed(deadline_ms=float("inf")), PIXELS],
    "a deadline beyond all clocks": [TOPIC, packed(deadline_ms=1e300), PIXELS],
    "a capture beyond all clocks": [TOPIC, packed(t_capture_ns=2**64 - 1), PIXELS],
    "an image that is none": [TOPIC, packed(encoding="png"), PIXELS],
}


@pytest.mark.parametrize("kind", BAD_MESSAGES)
def test_a_bad_message_gets_an_undefined_verdict_and_the_daemon_stays_up(
    daemon: Running, camera: Camera, subscriber: zmq.Socket[bytes], kind: str
) -> None:
    with raw_socket(zmq.XPUB) as evil:
        evil.connect(daemon.address("frames"))
        assert evil.poll(5000)
        evil.recv()
        evil.send_multipart(BAD_MESSAGES[kind])
        verdict = next_verdict(subscriber)
    assert (verdict.evaluation, verdict.reason) == (Evaluation.UNDEFINED, "bad_frame")
    assert verdict.fail_safe and verdict.detail
    camera.send(plain(51), f"still here {camera.sent}")
    assert next_verdict(subscriber).evaluation == Evaluation.OK


def test_a_part_over_the_limit_cuts_its_sender_off_alone(
    daemon: Running, camera: Camera, subscriber: zmq.Socket[bytes]
) -> None:
    with raw_socket(zmq.XPUB) as evil:
        evil.connect(daemon.address("frames"))
        assert evil.poll(5000)
        evil.recv()
        evil.send_multipart([TOPIC, packed(), bytes(200_000)])
        time.sleep(0.2)
    camera.send(plain(51), trigger := f"still here {camera.sent}")
    assert next_verdict(subscriber).trigger_id == trigger


def test_verdicts_are_numbered_without_a_gap(camera: Camera, subscriber: zmq.Socket[bytes]) -> None:
    for number in range(50):
        camera.send(plain(51), f"n{number}")
    verdicts = [next_verdict(subscriber) for _ in range(50)]
    assert [v.trigger_id for v in verdicts] == [f"n{number}" for number in range(50)]
    assert [v.seq - verdicts[0].seq for v in verdicts] == list(range(50))


def page_of(daemon: Running) -> str:
    return str(urllib.request.urlopen(f"http://127.0.0.1:{daemon.port}/metrics").read().decode())


def test_the_counters_show_what_happened(daemon: Running, camera: Camera, subscriber: zmq.Socket[bytes]) -> None:
    camera.send(plain(51)[:, :10], "counted", encoding="png")
    next_verdict(subscriber)
    camera.sent += 3  # three frames that never left the camera
    camera.send(plain(51), "after a gap")
    assert next_verdict(subscriber).missing == 3
    time.sleep(0.1)
    page = page_of(daemon)
    assert 'edge_verdicts_total{evaluation="undefined",reason="bad_frame",surface="-"}' in page
    assert 'edge_verdicts_total{evaluation="ok",reason="ok",surface="dark"}' in page
    assert 'edge_frames_lost_total{camera="cam0",kind="missing"} 3.0' in page
    assert 'edge_drops_total{reason="bad_frame"}' in page and 'edge_queue_depth{queue="waiting"} 0.0' in page
    assert "edge_ready 1.0" in page


def test_the_same_frame_again_has_no_second_verdict_and_a_mislabelled_one_is_never_ok(
    daemon: Running, subscriber: zmq.Socket[bytes]
) -> None:
    with raw_socket(zmq.XPUB) as other:
        other.connect(daemon.address("frames"))
        assert other.poll(5000)
        other.recv()
        sent = [("one", 0, "a"), ("one", 0, "a"), ("one", 1, "a"), ("one", 0, "b"), ("two", 0, "a"), ("one", 2, "c")]
        for session, seq, trigger in sent:
            claims = packed(session=session, seq=seq, trigger_id=trigger)
            other.send_multipart([frame_topic("small", "doubtful"), claims, PIXELS])
        found = [next_verdict(subscriber) for _ in range(5)]
    assert {(v.frame_session, v.frame_seq, v.trigger_id): (v.reason, v.evaluation) for v in found} == {
        ("one", 0, "a"): ("ok", Evaluation.OK),
        ("one", 1, "a"): ("wrong_trigger", Evaluation.UNDEFINED),
        ("one", 0, "b"): ("wrong_trigger", Evaluation.UNDEFINED),
        ("two", 0, "a"): ("ok", Evaluation.OK),
        ("one", 2, "c"): ("old_session", Evaluation.UNDEFINED),
    }
    assert 'edge_frames_lost_total{camera="doubtful",kind="repeated"} 1.0' in page_of(daemon)


def test_a_second_daemon_on_the_same_address_says_so_and_the_first_goes_on(
    daemon: Running, camera: Camera, subscriber: zmq.Socket[bytes], tmp_path: Path
) -> None:
    code, _, said = called("run", "--config", daemon.folder / "line.toml")
    assert code == 13 and "in use" in said
    camera.send(plain(51), "first goes on")
    assert next_verdict(subscriber).trigger_id == "first goes on"


def test_a_metrics_port_in_use_is_named(daemon: Running, small_line: Line, tmp_path: Path) -> None:
    config = write_line(tmp_path, small_line.bundles, f"metrics_port = {daemon.port}\n", DARK)
    code, _, said = called("run", "--config", config)
    assert code == 13 and f"metrics_port {daemon.port}" in said
