"""A line's cameras beside its reference, inspected by a real pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray
from prometheus_client import generate_latest

from edge.bus.sockets import open_socket
from edge.bus.verdicts import VerdictOutlet, alarm_topic, message, read_alarm
from edge.config import DriftConfig, Line, read_line
from edge.daemon.deadline import CaptureClock
from edge.daemon.inspector import Inspector
from edge.daemon.metrics import Metrics
from edge.daemon.publisher import Publisher
from edge.daemon.ticket import Belt
from edge.drift.drift import Drift, open_drift, usable
from edge.drift.reference import make_reference, read_reference
from edge.errors import ConfigError
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Inspection, Pipeline
from edge.offline.reference import to_toml
from edge.records import Alarm, Evaluation, Frame
from tests.drift.test_watch import good
from tests.lines import DARK, edit, write_line

pytestmark = pytest.mark.usefixtures("own_cache")
LEARN = 60


@pytest.fixture(scope="module")
def pipeline(small_line: Line, own_cache: Path) -> Iterator[Pipeline]:
    opened = open_pipeline(small_line)
    yield opened
    opened.close()


class Camera:
    """Frames of dark parts, each a little different, and what the line makes of them."""

    def __init__(self, pipeline: Pipeline, drift: Drift, name: str = "cam0") -> None:
        self.pipeline, self.drift, self.name = pipeline, drift, name
        self.rng = np.random.default_rng(5)

    def picture(self, level: float) -> NDArray[np.uint8]:
        grain = self.rng.normal(0, 1, (64, 64)) + self.rng.normal(0, 0.5)
        return np.clip(level + grain, 1, 255).astype(np.uint8)

    def show(self, frames: int, level: float = 51.0) -> list[Alarm]:
        found = []
        for _ in range(frames):
            frame = Frame(self.picture(level), 255)
            found += self.drift.see(self.name, frame, self.pipeline.inspect(frame))
        return found


def learning(window: int = 50) -> Drift:
    return Drift("small", DriftConfig(learn=LEARN, window=window), {})


def test_a_line_learns_from_its_first_frames_and_says_when_the_light_changes(pipeline: Pipeline) -> None:
    camera = Camera(pipeline, learning())
    assert not camera.show(LEARN + 300)
    (alarm,) = camera.show(300, level=41)
    assert (alarm.line, alarm.camera, alarm.surface, alarm.raised) == ("small", "cam0", "dark", True)
    assert alarm.reason == "light" and alarm.value < alarm.usual == pytest.approx(0.2, rel=0.05)
    assert alarm.rank < 0.3 and 0 < alarm.since_ns < alarm.t_alarm_ns
    assert alarm.detail.startswith("cam0, dark: light has changed: ")
    (over,) = camera.show(300)
    assert not over.raised and over.reason == "light" and over.detail == "cam0, dark: light is as it was"


def test_each_camera_has_a_reference_of_its_own(pipeline: Pipeline) -> None:
    drift = learning()
    bright, dim = Camera(pipeline, drift, "bright"), Camera(pipeline, drift, "dim")
    for _ in range(LEARN + 200):
        assert not bright.show(1, 56) and not dim.show(1, 46)
    assert [alarm.camera for alarm in dim.show(200, 56)] == ["dim"]


def test_nothing_is_learnt_from_frames_that_are_not_ok(pipeline: Pipeline) -> None:
    camera = Camera(pipeline, learning())
    for _ in range(LEARN):
        frame = Frame(camera.picture(51), 255)
        frame.pixels[20:28, 30:38] = 255
        inspection = pipeline.inspect(frame)
        assert inspection.evaluation is Evaluation.NOT_OK and not camera.drift.see("cam0", frame, inspection)
    assert not camera.show(LEARN + 200), "the spotted ones are not in the reference"


def test_where_no_frame_is_seen_any_more_the_last_surface_has_the_alarm(pipeline: Pipeline) -> None:
    camera = Camera(pipeline, learning())
    camera.show(LEARN + 50)
    frame = Frame(camera.picture(120), 255)
    assert pipeline.inspect(frame).surface is None
    alarms = camera.show(100, level=120)
    assert [(alarm.surface, alarm.raised) for alarm in alarms] == [("dark", True)]


def test_a_frame_that_told_nothing_is_passed_over() -> None:
    assert not learning().see("cam0", Frame(np.zeros((1, 1), np.uint8), 255), Inspection())


def test_frames_of_any_size_do_not_stop_it(pipeline: Pipeline) -> None:
    camera = Camera(pipeline, learning())
    camera.show(LEARN)
    for shape in ((1, 1), (2, 500), (64, 64, 3), (500, 3)):
        frame = Frame(np.full(shape, 51, np.uint8), 255)
        assert not camera.drift.see("cam0", frame, pipeline.inspect(frame))


def write_reference(folder: Path, pipeline: Pipeline, **bundles: str) -> Path:
    """Of invented frames, for the surface `dark` of this pipeline's bundles."""
    from edge.drift.reference import Reference

    known = {model.manifest.name: model.bundle.sha256 for model in pipeline.models} | bundles
    surfaces = {"dark": make_reference(good(np.random.default_rng(2), 100))}
    made = Reference(line="small", made="2026-11-23", version="0", bundles=known, surfaces=surfaces)
    path = folder / "reference.toml"
    path.write_text(to_toml(made))
    assert read_reference(path) == made
    return path


def test_a_reference_goes_by_its_file_and_speaks_of_surfaces_that_it_lacks(
    small_line: Line, pipeline: Pipeline, tmp_path: Path
) -> None:
    write_reference(tmp_path, pipeline)
    table = '[drift]\nreference = "reference.toml"\n'
    said: list[str] = []
    drift = open_drift(read_line(write_line(tmp_path, small_line.bundles, DARK, table)), pipeline.models, said.append)
    assert drift is not None and not said
    alarms = Camera(pipeline, drift).show(400)
    assert len(alarms) == 1 and alarms[0].surface == "dark", "these frames are unlike the invented ones"
    both = f'{DARK}light = {{ bundle = "brittle" }}\n'
    line = read_line(write_line(tmp_path, small_line.bundles, both, table))
    assert open_drift(line, pipeline.models, said.append) and "has no light" in said[0]
    assert open_drift(small_line, pipeline.models, said.append) is None


def test_after_a_bundle_has_changed_pictures_alone_are_watched(pipeline: Pipeline, tmp_path: Path) -> None:
    said: list[str] = []
    path = write_reference(tmp_path, pipeline, smoother="0" * 64)
    surfaces = usable(read_reference(path), path, pipeline.models, said.append)
    assert set(surfaces["dark"].features) == {"brightness", "black", "white", "focus"}
    assert "another smoother" in said[0]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("format = 1", "format = 2", "format 2"),
        ("frames = 100", "frames = 10", "frames"),
        ("focus", "fokus", "fokus"),
        ("mean = ", "median = ", "median"),
        ("quantiles = [", "quantiles = [1e9, ", "rise"),
        ("[bundles]", "[bundles", "TOML"),
    ],
)
def test_a_wrong_reference_is_named(pipeline: Pipeline, tmp_path: Path, old: str, new: str, why: str) -> None:
    path = edit(write_reference(tmp_path, pipeline), old, new)
    with pytest.raises(ConfigError, match=why) as told:
        read_reference(path)
    assert str(path) in str(told.value)
    path.unlink()
    with pytest.raises(ConfigError, match="edge reference"):
        read_reference(path)


@pytest.mark.parametrize("table", ["[drift]\n", '[drift]\nlearn = 500\nreference = "r.toml"\n', "[drift]\nlearn = 9\n"])
def test_a_line_says_what_it_goes_by(small_line: Line, tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigError, match="drift"):
        read_line(write_line(tmp_path, small_line.bundles, DARK, table))


def test_an_alarm_travels_on_the_verdict_socket(pipeline: Pipeline, tmp_path: Path) -> None:
    camera = Camera(pipeline, learning())
    camera.show(LEARN + 100)
    (alarm,) = camera.show(300, level=41)
    outlet = VerdictOutlet(f"ipc://{tmp_path}/verdicts")
    inlet = open_socket(zmq.SUB, f"ipc://{tmp_path}/verdicts", bind=False)
    inlet.subscribe("alarm/small/")
    try:
        for _ in range(100):  # the subscription travels as well
            outlet.publish(*message(alarm))
            if inlet.poll(50):
                break
        topic, body = inlet.recv_multipart()
    finally:
        inlet.close(0)
        outlet.close()
    assert topic == alarm_topic(alarm) == b"alarm/small/cam0" and read_alarm(body) == alarm
    assert msgspec.msgpack.decode(body)["v"] == 1


def test_alarms_that_stand_are_over_when_the_line_goes_by_another_reference(
    pipeline: Pipeline, small_line: Line, tmp_path: Path
) -> None:
    line = read_line(write_line(tmp_path, small_line.bundles))
    camera, metrics = Camera(pipeline, learning()), Metrics()
    camera.show(LEARN + 100)
    (raised,) = camera.show(300, level=41)
    metrics.alarm(raised)
    address = f"ipc://{tmp_path}/verdicts"
    with closing(VerdictOutlet(address)) as outlet, open_socket(zmq.SUB, address, bind=False) as ear:
        ear.subscribe(b"alarm/")
        assert not ear.poll(300)  # the subscription travels as well
        belt = Belt(64, lambda: None, Inspector(line, pipeline))
        publisher = Publisher(line, belt, outlet, CaptureClock(), metrics, camera.drift)
        publisher.adopt(line, learning())
        assert ear.poll(5000)
        over = read_alarm(ear.recv_multipart()[1])
        assert not ear.poll(100), "once"
    assert (over.raised, over.reason, over.camera, over.surface) == (False, "light", "cam0", "dark")
    assert over.detail == "cam0, dark: light is watched anew" and over.t_alarm_ns > raised.t_alarm_ns
    shown = generate_latest(metrics.registry).decode()
    assert 'edge_drift_alarm{camera="cam0",reason="light",surface="dark"} 0.0' in shown
