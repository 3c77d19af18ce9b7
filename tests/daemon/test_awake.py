"""A line that is to stay awake keeps its cores busy when nobody else wants them, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from edge.config import Line
from tests.lines import daemon_on, edit, write_line


def awake_line(folder: Path, small_line: Line) -> Path:
    return edit(write_line(folder, small_line.bundles), "threads = 1\n", "threads = 1\nawake = true\n")


def spent(process: int, threads: list[int]) -> int:
    """The processor's time that they have had, in ticks."""
    stats = [Path(f"/proc/{process}/task/{thread}/stat").read_text() for thread in threads]
    return sum(int(ticks) for stat in stats for ticks in stat.rpartition(")")[2].split()[11:13])


def never_sleep(process: int, threads: list[int]) -> bool:
    """They are given time as soon as there is some to give: these tests may not be alone on the box."""
    before, until = spent(process, threads), time.monotonic() + 30
    while spent(process, threads) == before and time.monotonic() < until:
        time.sleep(0.05)
    return spent(process, threads) > before


def test_a_line_that_is_awake_is_so_while_no_frame_comes_below_all_its_other_threads(
    small_line: Line, tmp_path: Path
) -> None:
    with daemon_on(awake_line(tmp_path, small_line)) as daemon:
        threads = [int(path.name) for path in Path(f"/proc/{daemon.pid}/task").iterdir()]
        idle = [number for number in threads if os.sched_getscheduler(number) == os.SCHED_IDLE]
        cores = [os.sched_getaffinity(number) for number in sorted(idle)]
        assert cores == [{core} for core in sorted(os.sched_getaffinity(daemon.pid))]
        assert never_sleep(daemon.pid, idle)


def test_a_box_that_allows_no_such_thread_says_so_before_any_frame_is_taken(small_line: Line, tmp_path: Path) -> None:
    config = awake_line(tmp_path, small_line)
    program = f"""
from pathlib import Path
import pytest
from edge.config import read_line
from edge.daemon.server import run
from edge.errors import EngineError
patch = pytest.MonkeyPatch()
patch.setattr("os.SCHED_IDLE", 4711)
with pytest.raises(EngineError, match="awake = true: core .* cannot be kept from sleeping: Invalid argument"):
    run(read_line(Path({str(config)!r})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
