"""A real daemon on a line whose parts have several frames: every frame its verdict, every part its own."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgpack
import numpy as np
import pytest
import zmq

from edge.bus.camera import Camera
from edge.bus.verdicts import part_topic, read_part, read_verdict, verdict_topic
from edge.config import Line
from edge.records import Evaluation, PartVerdict, Verdict
from tests.daemon.test_server import free_port, raw_socket
from tests.lines import called, daemon_on, ended, start, write_line
from tests.strip import FRAMES, REGIONS, VIALS, parts, regions, strip

WITHIN_MS, WAITING = 1500, 8


@dataclass
class Plant:
    """A daemon, a camera on it and a subscriber to frames and parts alike."""

    process: subprocess.Popen[str]
    camera: Camera
    socket: zmq.Socket[bytes]
    port: int
    frames: list[Verdict] = field(default_factory=list)
    parts: list[PartVerdict] = field(default_factory=list)

    def receive(self) -> None:
        """One more verdict of a frame or of a part."""
        assert self.socket.poll(20_000), "no verdict came"
        topic, body = self.socket.recv_multipart()
        if topic.startswith(b"part/"):
            self.parts.append(read_part(body))
            assert topic == part_topic(self.parts[-1])
        else:
            self.frames.append(read_verdict(body))
            assert topic == verdict_topic(self.frames[-1])

    def next_part(self) -> PartVerdict:
        while not self.parts:
            self.receive()
        return self.parts.pop(0)


@contextmanager
def plant_on(config: Path, port: int = 0) -> Iterator[Plant]:
    with daemon_on(config) as process, raw_socket(zmq.SUB) as socket:
        socket.connect(f"ipc://{config.parent}/verdicts")
        socket.subscribe("")
        with closing(Camera(f"ipc://{config.parent}/frames", "small", "cam0")) as camera:
            time.sleep(0.3)  # the subscription travels as well
            yield Plant(process, camera, socket, port)


@pytest.fixture(scope="module")
def running(small_line: Line, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder, port = tmp_path_factory.mktemp("p"), free_port()
    metrics = f"metrics_port = {port}\n"
    with plant_on(write_line(folder, small_line.bundles, metrics, parts(WITHIN_MS, WAITING), regions()), port) as plant:
        yield plant


@pytest.fixture
def plant(running: Plant) -> Plant:
    running.frames.clear()
    running.parts.clear()
    return running


def test_sixty_patches_are_judged_as_one_part(plant: Plant) -> None:
    for _ in range(FRAMES):
        plant.camera.send(strip(), f"t{plant.camera.sent}", "strip-1")
    part = plant.next_part()
    assert (part.evaluation, part.reason, part.part_id, part.surface) == (Evaluation.OK, "ok", "strip-1", "dark")
    assert not part.fail_safe and part.simulated and part.span_ns > 0
    assert part.frames == tuple(verdict.verdict_id for verdict in plant.frames) and part.expected == FRAMES
    assert [verdict.trigger_id for verdict in plant.frames] == [f"t{v.frame_seq}" for v in plant.frames]
    assert all(list(verdict.regions) == list(REGIONS) for verdict in plant.frames)
    assert FRAMES * VIALS * len(REGIONS) == 60


def test_one_rejected_patch_of_sixty_rejects_the_part_and_says_which(plant: Plant) -> None:
    for number in range(FRAMES):
        plant.camera.send(strip(3, 2) if number == 1 else strip(), f"t{plant.camera.sent}", "strip-2")
    part = plant.next_part()
    assert (part.evaluation, part.reason) == (Evaluation.NOT_OK, "defect")
    assert [verdict.evaluation for verdict in plant.frames] == [Evaluation.OK, Evaluation.NOT_OK, Evaluation.OK]
    bad = plant.frames[1]
    assert part.worst == bad.verdict_id and part.score == bad.score
    assert bad.score == bad.regions["liquid"].score > bad.regions["liquid"].threshold == bad.thresholds["score"]
    assert all(bad.regions[name].score <= bad.regions[name].threshold for name in REGIONS if name != "liquid")
    assert {defect.region for defect in bad.defects} == {"liquid"}
    x, y, w, h = bad.defects[0].bbox
    assert 3 * 64 <= x <= 3 * 64 + 21 and 2 * 64 <= y <= 2 * 64 + 21 and x + w <= 4 * 64 and y + h <= 3 * 64


def test_the_wire_holds_plain_maps(plant: Plant) -> None:
    for _ in range(FRAMES):
        plant.camera.send(strip(0, 0), f"t{plant.camera.sent}", "wire")
    for _ in range(FRAMES):
        body = msgpack.unpackb(plant.socket.recv_multipart()[1])
        assert set(body["regions"]["flag"]) == {"score", "threshold", "box"}
        assert body["defects"][0]["region"] == "flag"
    part = msgpack.unpackb(plant.socket.recv_multipart()[1])
    assert part["v"] == 1 and part["part_id"] == "wire" and part["evaluation"] == 2 and len(part["frames"]) == FRAMES


def test_an_unsure_frame_makes_its_part_unsure(plant: Plant) -> None:
    for pixels, evaluation, reason in (
        (np.full_like(strip(), 128), Evaluation.NOT_DECIDABLE, "unseen_surface"),
        (strip()[:, :-1], Evaluation.UNDEFINED, "bad_frame"),
    ):
        for number in range(FRAMES):
            plant.camera.send(pixels if number == 0 else strip(), f"t{plant.camera.sent}", f"unsure-{reason}")
        part = plant.next_part()
        assert (part.evaluation, part.reason) == (evaluation, reason) and part.fail_safe
    assert "region flag" in part.detail


def test_a_part_that_misses_a_frame_is_undefined_when_its_time_has_passed(plant: Plant) -> None:
    started = time.monotonic()
    for _ in range(FRAMES - 1):
        plant.camera.send(strip(), f"t{plant.camera.sent}", "short")
    part = plant.next_part()
    took_ms = 1000 * (time.monotonic() - started)
    assert (part.evaluation, part.reason, part.part_id) == (Evaluation.UNDEFINED, "incomplete", "short")
    assert part.fail_safe and "2 of 3 frames" in part.detail and len(part.frames) == 2
    assert WITHIN_MS <= took_ms < WITHIN_MS + 1000


def test_a_frame_without_a_part_is_answered_as_one(plant: Plant) -> None:
    plant.camera.send(strip(), f"t{plant.camera.sent}")
    part = plant.next_part()
    assert (part.evaluation, part.reason, part.part_id) == (Evaluation.UNDEFINED, "no_part_id", None)
    assert plant.frames[0].evaluation == Evaluation.OK


def test_a_camera_that_never_completes_a_part_is_answered_and_the_daemon_does_not_grow(plant: Plant) -> None:
    def resident_mb() -> float:
        status = Path(f"/proc/{plant.process.pid}/status").read_text()
        return int(next(row for row in status.splitlines() if row.startswith("VmRSS")).split()[1]) / 1024

    before, count = resident_mb(), 300
    for number in range(count):
        plant.camera.send(strip(), f"t{plant.camera.sent}", f"never-{number}")
        while len(plant.frames) <= number:  # at the daemon's pace, so that what its socket holds is not counted
            plant.receive()
    answers = [plant.next_part() for _ in range(count)]
    assert [part.part_id for part in answers] == [f"never-{number}" for number in range(count)]
    assert {part.evaluation for part in answers} == {Evaluation.UNDEFINED}
    assert "too_many_parts" in {part.reason for part in answers} <= {"too_many_parts", "incomplete"}
    assert resident_mb() < before + 10


def test_part_verdicts_are_numbered_and_counted(plant: Plant) -> None:
    for part in ("a", "b"):
        for _ in range(FRAMES):
            plant.camera.send(strip(), f"t{plant.camera.sent}", part)
    first, second = plant.next_part(), plant.next_part()
    assert second.seq == first.seq + 1 and first.session == plant.frames[0].session
    time.sleep(0.1)
    page = urllib.request.urlopen(f"http://127.0.0.1:{plant.port}/metrics").read().decode()
    assert 'edge_parts_total{evaluation="ok",reason="ok"}' in page
    assert 'edge_parts_total{evaluation="undefined",reason="incomplete"}' in page


def test_a_part_that_waits_when_the_line_stops_is_answered(small_line: Line, own_cache: Path, tmp_path: Path) -> None:
    with plant_on(write_line(tmp_path, small_line.bundles, parts(), regions())) as plant:
        plant.camera.send(strip(), f"t{plant.camera.sent}", "last")
        assert read_verdict(plant.socket.recv_multipart()[1]).evaluation == Evaluation.OK
        plant.process.terminate()
        part = plant.next_part()
        assert "part last: 1 of 3 frames" in ended(plant.process)[2]
    assert (part.evaluation, part.part_id) == (Evaluation.UNDEFINED, "last") and "stopped" in part.detail


def test_cameras_and_subscribers_of_the_command_line_speak_of_parts(
    small_line: Line, own_cache: Path, tmp_path: Path
) -> None:
    """Two strips of three frames, the second with a spot: `edge camera` names the parts, `edge watch` prints them."""
    config = write_line(tmp_path, small_line.bundles, parts(), regions())
    for number in range(2 * FRAMES):
        assert cv2.imwrite(str(tmp_path / f"frame{number}.png"), strip(1, 1) if number == 4 else strip())
    watch = [start("watch", "--from", f"ipc://{tmp_path}/verdicts", *more) for more in ([], ["--json"])]
    camera = ["camera", tmp_path, "--to", f"ipc://{tmp_path}/frames", "--line", "small", "--part-frames", 3]
    with daemon_on(config):
        time.sleep(3)
        assert called(*camera)[0] == 0
        time.sleep(1)
        for process in watch:
            process.send_signal(signal.SIGINT)
        table, lines = (ended(process)[1] for process in watch)
    rows = [row.split() for row in table.splitlines() if row.startswith("=")]
    assert [(row[1], row[3], row[5]) for row in rows] == [("frame0", "OK", "3/3"), ("frame3", "NotOK", "3/3")]
    messages = [json.loads(line) for line in lines.splitlines()]
    assert [(m["part_id"], m["evaluation"]) for m in messages if "frames" in m] == [("frame0", 1), ("frame3", 2)]
    assert len([m for m in messages if "frames" not in m]) == 2 * FRAMES
