"""The daemon's log as people, systemd's journal and machines read it: real records through the real formatters."""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from edge.bus.camera import Camera
from edge.config import Line
from edge.daemon.logs import Form, about, formatter, set_up
from edge.records import PartVerdict
from tests.daemon.test_metrics import alarm, verdict
from tests.lines import called, ended, start, write_line

pytestmark = pytest.mark.usefixtures("own_cache")
SAID = 'a "quoted" line\nand a second one, 10 µm'


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.getLogger("edge.test")
    yield logger
    logging.basicConfig(force=True)


def shown(form: Form, journal: bool, level: int, message: str, **more: object) -> str:
    record = logging.getLogger("edge.test").makeRecord("edge", level, __file__, 1, message, (), None, extra=more)
    return formatter(form, "small", journal).format(record)


def test_a_record_is_one_json_object_a_line() -> None:
    text = shown("json", False, logging.WARNING, SAID, **about(verdict(trigger_id="t1", part_id="p1")))
    assert "\n" not in text
    told = json.loads(text)
    assert abs(datetime.fromisoformat(told.pop("time")).timestamp() - time.time()) < 60
    assert told == {
        "level": "warning",
        "line": "small",
        "message": SAID,
        "camera": "cam0",
        "surface": "dark",
        "trigger_id": "t1",
        "part_id": "p1",
        "verdict_id": "s-0",
        "reason": "ok",
    }


def test_what_a_record_is_not_about_is_left_out() -> None:
    assert set(json.loads(shown("json", False, logging.INFO, "up"))) == {"time", "level", "line", "message"}
    assert about(alarm(True)) == {"camera": "cam0", "surface": "dark", "reason": "light"}
    part = PartVerdict(
        verdict_id="s-part-0",
        seq=0,
        session="s",
        line="small",
        part_id=None,
        evaluation=0,
        reason="no_part_id",
        fail_safe=True,
        frames=(),
        expected=2,
    )
    assert about(part) == {"verdict_id": "s-part-0", "reason": "no_part_id"}


def test_a_traceback_stays_in_its_object(log: logging.Logger, capfd: pytest.CaptureFixture[str]) -> None:
    set_up("json", "small")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it %s", "failed")
    (row,) = capfd.readouterr().err.splitlines()
    told = json.loads(row)
    assert told["message"] == "it failed" and told["level"] == "error"
    assert told["error"].startswith("Traceback") and "broken" in told["error"]


@pytest.mark.parametrize(("level", "priority"), [(10, 7), (20, 6), (30, 4), (40, 3), (50, 2), (25, 6)])
def test_each_line_in_the_journal_has_its_priority(level: int, priority: int) -> None:
    assert shown("text", True, level, "one\ntwo") == f"<{priority}>one\n<{priority}>two"


def test_text_for_people_has_the_time_and_the_level() -> None:
    text = shown("text", False, logging.WARNING, "cam0 t1: late")
    assert text[:4].isdigit() and text.endswith(" WARNING cam0 t1: late")


def test_the_journal_is_known_by_the_file_behind_stderr(
    log: logging.Logger, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = os.fstat(2)
    monkeypatch.setattr(sys, "stderr", open(2, "w", closefd=False))  # noqa: SIM115  # pytest's own has no number
    monkeypatch.setenv("JOURNAL_STREAM", f"{behind.st_dev}:{behind.st_ino}")
    set_up("text", "small")
    log.warning("hot")
    monkeypatch.setenv("JOURNAL_STREAM", f"{behind.st_dev}:{behind.st_ino + 1}")  # inherited: stderr goes elsewhere
    set_up("text", "small")
    log.warning("cold")
    hot, cold = capfd.readouterr().err.splitlines()
    assert hot == "<4>hot" and cold.endswith("WARNING cold")


def test_the_daemon_writes_objects_only(small_line: Line, tmp_path: Path) -> None:
    config = write_line(tmp_path, small_line.bundles)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        daemon = start("run", "--config", config, "--log", "json", NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert systemd.recv(4096).startswith(b"READY=1")
        with closing(Camera(f"ipc://{tmp_path}/frames", "small", "cam0", patience_s=60)) as camera:
            camera.send(np.full((64, 64), 51, np.uint8), "late", deadline_ms=0.0001)
        time.sleep(0.5)
        daemon.terminate()
        code, _, said = ended(daemon)
    assert code == 0
    told = [json.loads(row) for row in said.splitlines()]
    assert told and all(row["line"] == "small" for row in told)
    assert [row["message"] for row in told if row["level"] == "warning"], said


UNREAD = """
import logging
from edge.daemon.logs import set_up
set_up("json", "small")
for number in range(10_000):
    logging.getLogger("edge").warning("line %d", number)
print("done", flush=True)
input()
logging.getLogger("edge").warning("the last")
"""


def test_a_log_that_nobody_reads_stops_nothing_and_says_what_it_left_out() -> None:
    command = [sys.executable, "-c", UNREAD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        assert select.select([process.stdout], [], [], 20)[0], "it waits for who reads its log"
        kept = os.read(process.stderr.fileno(), 1 << 20).count(b"\n")
        said = process.communicate(b"\n", timeout=20)[1]
    *_, told, last = [json.loads(row)["message"] for row in said.splitlines()]
    assert 100 < kept < 10_000 and process.returncode == 0
    assert (told, last) == (f"{10_000 - kept} log lines that nobody read are left out", "the last")


def test_another_form_is_refused(small_line: Line) -> None:
    assert called("run", "--config", small_line.path, "--log", "xml")[0] == 2
