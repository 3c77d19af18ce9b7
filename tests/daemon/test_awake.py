"""A line that is to stay awake keeps its cores busy when nobody else wants them, and only then."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

from edge.config import Line
from edge.daemon.awake import Awake
from tests.lines import daemon_on, edit, write_line


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


def test_there_is_one_on_each_core_below_all_others_and_it_never_sleeps() -> None:
    with closing(Awake()) as awake:
        numbers = [thread.native_id or 0 for thread in awake.threads]
        assert [os.sched_getaffinity(number) for number in numbers] == [{c} for c in sorted(os.sched_getaffinity(0))]
        assert {os.sched_getscheduler(number) for number in numbers} == {os.SCHED_IDLE}
        assert never_sleep(os.getpid(), numbers)
    assert not any(thread.is_alive() for thread in awake.threads)


def test_a_line_that_is_awake_is_so_while_no_frame_comes_and_ends_as_any_other(
    small_line: Line, tmp_path: Path
) -> None:
    config = edit(write_line(tmp_path, small_line.bundles), "threads = 1\n", "threads = 1\nawake = true\n")
    with daemon_on(config) as daemon:
        threads = [int(path.name) for path in Path(f"/proc/{daemon.pid}/task").iterdir()]
        idle = [number for number in threads if os.sched_getscheduler(number) == os.SCHED_IDLE]
        assert len(idle) == len(os.sched_getaffinity(daemon.pid))
        assert never_sleep(daemon.pid, idle)
