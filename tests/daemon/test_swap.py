"""Engines changed while the line runs: no trigger missed, nothing that was not tried, and back where it fails."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from edge.bundle import MANIFEST
from edge.bus.camera import Camera
from edge.bus.control import Request, ask_reload, ask_status
from edge.bus.verdicts import VerdictInlet
from edge.config import Line
from edge.errors import BusError
from edge.records import Evaluation, Verdict
from tests.lines import called, daemon_on, edit, write_line

pytestmark = pytest.mark.usefixtures("own_cache")
GOOD = np.full((64, 64), 51, np.uint8)
SPOTTED = GOOD.copy()
SPOTTED[20:28, 30:38] = 255
CONTROL = 'control = "ipc://{}/control"\nlimits = {{ waiting = 1000 }}\n'
JUDGES = '[judges]\ndark = { bundle = "smoother" }\n'


class Plant:
    """A real daemon, a camera that goes on sending, a subscriber that takes down what comes."""

    def __init__(self, folder: Path, camera: Camera, inlet: VerdictInlet) -> None:
        self.folder, self.camera, self.inlet = folder, camera, inlet
        self.verdicts: list[Verdict] = []
        self._stop = Event()
        self._thread = Thread(target=self._go, daemon=True)

    @property
    def control(self) -> str:
        return f"ipc://{self.folder}/control"

    @contextmanager
    def busy(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _go(self) -> None:
        while not self._stop.is_set():
            self.camera.send(GOOD if self.camera.sent % 4 else SPOTTED, f"t{self.camera.sent}")
            time.sleep(0.002)
            while self.inlet.poll(0):
                self.verdicts.append(self.inlet.receive())
        while len(self.verdicts) < self.camera.sent and self.inlet.poll(5000):
            self.verdicts.append(self.inlet.receive())

    def reload(self, frames: int = 10, seconds: float = 5, disagree: float = 0.0) -> tuple[bool, str]:
        answer = ask_reload(self.control, Request("reload", frames=frames, seconds=seconds, disagree=disagree), 60)
        return answer.done, answer.said


@pytest.fixture
def plant(small_line: Line, tmp_path: Path) -> Iterator[Plant]:
    shutil.copytree(small_line.bundles, tmp_path / "models")
    path = write_line(tmp_path, "models", CONTROL.format(tmp_path), JUDGES)
    with (
        closing(VerdictInlet(f"ipc://{tmp_path}/verdicts", "small")) as inlet,
        daemon_on(path),
        closing(Camera(f"ipc://{tmp_path}/frames", "small", "cam0")) as camera,
    ):
        time.sleep(0.3)  # the subscription travels as well
        yield Plant(tmp_path, camera, inlet)


def test_a_line_changes_over_under_load_and_every_trigger_has_one_verdict_of_one_file(plant: Plant) -> None:
    before = ask_status(plant.control, 10)
    with plant.busy():
        time.sleep(0.2)
        edit(plant.folder / "line.toml", '"smoother" }', '"smoother", threshold = 0.0501 }')
        done, said = plant.reload()
        time.sleep(0.2)
    after = ask_status(plant.control, 10)
    assert done and said == "0 of 10 live frames came out otherwise"
    found = {v.trigger_id: v.evaluation for v in plant.verdicts}
    assert len(found) == len(plant.verdicts) == plant.camera.sent
    assert found == {
        f"t{number}": Evaluation.OK if number % 4 else Evaluation.NOT_OK for number in range(plant.camera.sent)
    }
    files = [v.config_sha256 for v in plant.verdicts]
    assert list(dict.fromkeys(files)) == [before.config_sha256, after.config_sha256], "one change, between two frames"
    assert all(v.thresholds["score"] == 0.0501 for v in plant.verdicts if v.config_sha256 == after.config_sha256)


def test_what_disagrees_with_the_running_line_is_refused_unless_that_is_meant(plant: Plant) -> None:
    edit(plant.folder / "line.toml", '"smoother" }', '"smoother", threshold = 1000.0 }')
    with plant.busy():
        refused = plant.reload(frames=8)
        assert not refused[0] and re.fullmatch(
            r"refused: [1-8] of 8 live frames came out otherwise, over 0%", refused[1]
        )
        assert plant.reload(frames=8, disagree=1.0)[0]
    assert plant.verdicts[-1].thresholds["score"] == 1000


def test_a_bundle_that_is_broken_or_a_file_that_cannot_be_changed_is_refused_and_the_line_goes_on(
    plant: Plant,
) -> None:
    edit(plant.folder / "line.toml", "threads = 1", "threads = 1\ndeadline_ms = 50")
    done, said = plant.reload()
    assert not done and "deadline_ms changed; start the line again" in said
    edit(plant.folder / "line.toml", "\ndeadline_ms = 50", "")
    with (plant.folder / "models" / "smoother" / "model.onnx").open("ab") as graph:
        graph.write(b"\0")
    done, said = plant.reload()
    assert not done and "smoother" in said
    plant.camera.send(GOOD, "still")
    assert plant.inlet.receive().evaluation == Evaluation.OK


def test_a_bundle_that_changes_on_the_disk_is_tried_by_itself(plant: Plant) -> None:
    before = ask_status(plant.control, 10).bundles["smoother"]
    edit(plant.folder / "models" / "smoother" / MANIFEST, "by hand", "by foot")
    until = time.monotonic() + 30
    with plant.busy():
        while ask_status(plant.control, 10).bundles["smoother"] == before:
            assert time.monotonic() < until, "nothing happened"
            time.sleep(0.2)
    assert {v.evaluation for v in plant.verdicts} == {Evaluation.OK, Evaluation.NOT_OK}


def test_a_bundle_that_changes_while_it_is_tried_is_tried_once_more(plant: Plant) -> None:
    before = ask_status(plant.control, 10).bundles["smoother"]
    with ThreadPoolExecutor(1) as asking:
        asked = asking.submit(plant.reload, seconds=2)
        time.sleep(1)  # it has been read, and no frame comes to compare it by
        edit(plant.folder / "models" / "smoother" / MANIFEST, "by hand", "by foot")
        assert asked.result() == (True, "0 of 0 live frames came out otherwise")
    assert ask_status(plant.control, 10).bundles["smoother"] == before
    until = time.monotonic() + 30
    with plant.busy():
        while ask_status(plant.control, 10).bundles["smoother"] == before:
            assert time.monotonic() < until, "nothing happened"
            time.sleep(0.2)


def test_the_command_says_how_it_went(plant: Plant) -> None:
    code, said, _ = called("reload", "--config", plant.folder / "line.toml", "--seconds", 0.2)
    assert code == 0 and said == "done: 0 of 0 live frames came out otherwise\n"
    edit(plant.folder / "line.toml", "threads = 1", "threads = 1\nmetrics_port = 1")
    code, said, _ = called("reload", "--config", plant.folder / "line.toml", "--seconds", 0.2)
    assert code == 1 and said.startswith("refused: ")
    edit(plant.folder / "line.toml", f'control = "{plant.control}"\n', "")
    code, _, told = called("reload", "--config", plant.folder / "line.toml")
    assert code == 10 and "no control address" in told


def test_a_request_that_is_none_is_answered_with_what_is_wrong(plant: Plant) -> None:
    with pytest.raises(BusError, match="answers: Invalid enum value 'nonsense'"):
        ask_status_badly(plant.control)


def ask_status_badly(address: str) -> None:
    from edge.bus.control import Status, _ask

    _ask(address, Request("nonsense"), Status, 5, None)  # type: ignore[arg-type]  # what the test is about
