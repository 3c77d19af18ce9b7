"""`edge doctor --live` beside a real daemon: healthy, stopped, changed under it, flooded, drifting."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import Line
from edge.doctor.kept import state
from edge.doctor.process import holders, started
from edge.doctor.scrape import Samples, told
from edge.journal.entries import JournalState
from tests.lines import DARK, called, daemon_on, edit, write_line
from tests.secured import peer, secure_line

pytestmark = pytest.mark.usefixtures("own_cache")
Rows = dict[str, dict[str, str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def config(small_line: Line, tmp_path: Path) -> Path:
    """A line with metrics, a journal and bundles of its own."""
    return line_in(tmp_path, small_line)


def line_in(folder: Path, small_line: Line, *more: str) -> Path:
    shutil.copytree(small_line.bundles, folder / "models")
    journal = f'[journal]\nfolder = "journal"\nreplay = "ipc://{folder}/replay"\n'
    return write_line(folder, "models", f"metrics_port = {free_port()}\n", *more, journal, DARK)


def live(config: Path, *more: object) -> tuple[int, Rows]:
    code, out, err = called("doctor", "--live", "--config", config, "--json", *more)
    assert out, err
    return code, {row["check"]: row for row in json.loads(out)}


def show(config: Path, frames: int, level: int = 51, side: int = 64) -> None:
    """That many frames from a camera, a little noise on each; no faster than each of them is looked at."""
    folder = config.with_name(f"frames-{level}-{side}")
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(level)
    for index in range(20):
        pixels = np.clip(rng.normal(level, 2, (side, side)), 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{index:02}.png"), pixels)
    camera = ["camera", "--to", f"ipc://{config.parent}/frames", "--line", "small", "--rate", 250]
    code, _, err = called(*camera, *[folder] * (frames // 20))
    assert code == 0, err


@pytest.fixture
def running(config: Path) -> Iterator[Path]:
    with daemon_on(config):
        show(config, 20)
        yield config


def test_a_healthy_line_has_nothing_to_say(running: Path) -> None:
    code, rows = live(running)
    assert code == 0, rows
    assert {check for check, row in rows.items() if row["state"] == "ok"} >= {
        *("daemon", "heard", "ready", "queues", "engines", "drops", "lost frames", "late verdicts", "journal lag"),
        *("journal", "journal disk", "last verdict", "bundles", "config", "running bundles", "line file"),
    }
    assert "gate on onnx cpu fp32" in rows["engines"]["found"] and "20 verdicts" in rows["journal"]["found"]


def test_the_table_is_for_people(running: Path) -> None:
    code, out, _ = called("doctor", "--live", "--config", running)
    assert code == 0 and "running bundles" in out and "the line is inspected" in out


def test_a_stopped_line_is_a_problem_and_its_files_are_looked_at_all_the_same(config: Path) -> None:
    code, rows = live(config)
    assert code == 1 and rows["daemon"]["state"] == "problem" and "edge run" in rows["daemon"]["advice"]
    with daemon_on(config):
        show(config, 20)
    code, rows = live(config)
    assert code == 1 and rows["daemon"]["found"].startswith("none:")
    assert rows["last verdict"]["state"] == "ok" and rows["bundles"]["state"] == "ok" and "heard" not in rows


def test_looking_takes_no_lock_from_a_daemon_that_starts(config: Path) -> None:
    assert set(holders(read(config).config).values()) == {None}
    with daemon_on(config) as process:
        assert set(holders(read(config).config).values()) == {process.pid}


def read(config: Path) -> Line:
    from edge.config import read_line

    return read_line(config)


def test_a_line_that_was_changed_since_the_start_asks_for_a_restart(running: Path) -> None:
    edit(running, "threads = 1", "threads = 2")
    code, rows = live(running)
    assert code == 0 and rows["config"]["state"] == "warning" and "restart" in rows["config"]["advice"]


def test_without_a_verdict_since_the_start_the_files_ages_tell(config: Path) -> None:
    with daemon_on(config):
        show(config, 20)
    edit(config, "threads = 1", "threads = 2")
    config.with_name("notify").unlink()
    with daemon_on(config) as process:
        assert abs((started(process.pid) or 0) - time.time()) < 60
        _, rows = live(config)
        assert rows["config"]["state"] == "ok" and "running bundles" not in rows, "what ran before is not what runs"
        edit(config, "threads = 2", "threads = 1")
        _, rows = live(config)
        assert rows["config"]["state"] == "warning" and rows["config"]["found"].endswith(f"start: {config}")


def test_an_altered_bundle_is_a_problem_and_a_new_one_asks_for_a_restart(running: Path) -> None:
    bundle = running.parent / "models" / "smoother"
    edit(bundle / "manifest.toml", 'how = "by hand"', 'how = "by another hand"')
    code, rows = live(running)
    assert (
        code == 0 and rows["running bundles"]["state"] == "warning" and "smoother" in rows["running bundles"]["found"]
    )
    with (bundle / "model.onnx").open("ab") as graph:
        graph.write(b"\0")
    code, rows = live(running)
    assert code == 1 and rows["bundles"]["state"] == "problem" and "was altered" in rows["bundles"]["found"]


def test_frames_that_are_not_looked_at_are_told_with_their_reason(small_line: Line, tmp_path: Path) -> None:
    config = line_in(tmp_path, small_line, "[limits]\npixels = 4096\n")
    with daemon_on(config):
        show(config, 20)
        show(config, 20, side=128)
        code, rows = live(config)
    assert code == 0 and rows["drops"]["state"] == "warning"
    assert rows["drops"]["found"] == "20 of 40 frames were not looked at: bad_frame 20"


def test_a_standing_drift_alarm_is_told(small_line: Line, tmp_path: Path) -> None:
    config = line_in(tmp_path, small_line, "[drift]\nlearn = 60\nwindow = 50\n")
    with daemon_on(config):
        show(config, 200)
        _, rows = live(config)
        assert rows["drift"]["state"] == "ok"
        show(config, 400, level=41)
        code, rows = live(config)
    assert code == 0 and rows["drift"]["state"] == "warning" and "cam0 light dark" in rows["drift"]["found"]


@pytest.mark.parametrize(
    ("writing", "lost", "expected"), [(True, 0, "ok"), (True, 3, "warning"), (False, 0, "problem")]
)
def test_a_journal_that_cannot_be_written_is_a_problem(writing: bool, lost: int, expected: str) -> None:
    why = "" if writing else "no space left"
    heard = JournalState(
        line="small", full="reject", writing=writing, why=why, began=0, next=9, durable=7, lost=lost, since_ns=1
    )
    row = state(heard)
    assert row.state == expected and why in row.found


def test_a_line_without_journal_and_metrics_says_what_it_cannot_tell(small_line: Line, tmp_path: Path) -> None:
    config = write_line(tmp_path, small_line.bundles)
    with daemon_on(config):
        code, rows = live(config)
    assert code == 0 and rows["daemon"]["state"] == "ok"
    assert {rows[name]["state"] for name in ("heard", "metrics", "last verdict")} == {"note"}


def test_a_line_with_keys_is_heard_with_a_subscribers_key_alone(small_line: Line, tmp_path: Path) -> None:
    config = secure_line(tmp_path, small_line.bundles, '[journal]\nfolder = "journal"\n', DARK)
    peer(config, "scada", "subscriber")
    with daemon_on(config):
        code, rows = live(config)
        assert code == 0 and rows["heard"]["state"] == "note" and "--server-key" in rows["heard"]["advice"]
        keys = ["--key", tmp_path / "peers" / "scada.key", "--server-key", tmp_path / "daemon.pub"]
        code, rows = live(config, *keys)
        assert code == 0 and rows["heard"]["state"] == "ok" and rows["journal"]["state"] == "ok"
        peer(config, "stranger")
        stranger = ["--key", tmp_path / "peers" / "stranger.key", *keys[2:]]
        code, rows = live(config, *stranger)
        assert code == 1 and rows["heard"]["state"] == "problem"


def test_a_port_that_another_program_has_is_no_daemon(config: Path, running: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        text = config.read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("metrics_port"))
        edit(config, line, f"metrics_port = {other.getsockname()[1]}")
        code, rows = live(config)
    assert code == 1 and rows["metrics"]["state"] == "problem"


def test_what_is_counted_is_weighed(small_line: Line) -> None:
    samples: Samples = {
        "edge_ready": {(): 0.0},
        "edge_queue_depth": {("waiting",): 60.0, ("ready",): 1.0},
        "edge_engine_replacements_total": {(): 2.0},
        "edge_frames_total": {("cam0",): 1000.0},
        "edge_drops_total": {("overload",): 5.0},
        "edge_frames_lost_total": {("cam0", "missing"): 3.0},
        "edge_lateness_seconds_count": {(): 50.0},
    }
    states = {row.check: row.state for row in told(samples, small_line.config)}
    assert states == {
        "ready": "problem",
        "queues": "warning",
        "engines": "warning",
        "drops": "note",
        "lost frames": "warning",
        "late verdicts": "warning",
    }


def test_live_needs_a_line(tmp_path: Path) -> None:
    code, _, err = called("doctor", "--live")
    assert code == 2 and "--config" in err
