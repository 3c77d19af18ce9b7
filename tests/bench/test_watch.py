"""What the machine did meanwhile: of this box for real, and of boxes whose /proc and /sys lie in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.bench.watch import Machine, judge, read

STAT = "cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\n"


def box(root: Path, user: int, idle: int, steal: int = 0, throttled: int = 0, energy: int = 0) -> Path:
    files = {
        "proc/stat": STAT.format(user=user, idle=idle, steal=steal),
        "proc/self/status": "VmHWM:\t  200000 kB\nVmRSS:\t  100000 kB\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": str(throttled),
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
        "sys/class/powercap/intel-rapl:0/energy_uj": str(energy),
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "1000000000",
    }
    for name, words in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{words}\n")
    return root


def between(root: Path, **later: int) -> Machine:
    before = read(box(root, user=1000, idle=1000, energy=999_000_000))
    after = read(box(root, **{"user": 1000, "idle": 2000, **later}))
    return judge(before, after, root)


def test_a_quiet_box_has_nothing_to_say_but_its_governor(tmp_path: Path) -> None:
    found = between(tmp_path)
    assert (found.stolen, found.neighbours, found.throttled) == (0.0, 0.0, 0)
    assert (found.memory_mb, found.peak_mb) == (102.4, 204.8)
    assert [remark.split(":")[0] for remark in found.remarks] == ["frequency governor"]


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ({"steal": 50}, "the host took 4.8%"),
        ({"user": 1500}, "other processes took 33.3%"),
        ({"throttled": 3}, "heat slowed a core 3 times"),
    ],
)
def test_what_speaks_against_the_figures_is_said_with_how_much(
    later: dict[str, int], words: str, tmp_path: Path
) -> None:
    assert any(remark.startswith(words) for remark in between(tmp_path, **later).remarks)


def test_a_counter_of_energy_that_begins_anew_goes_on(tmp_path: Path) -> None:
    found = between(tmp_path, energy=4_000_000)
    assert found.watts == pytest.approx(5.0 / found.seconds, rel=0.6)  # 1 J to the end of its range, 4 from zero


def test_a_box_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    found = judge(read(tmp_path), read(tmp_path), tmp_path)
    assert found.throttled is None and found.watts is None and found.remarks == []


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="no /proc")
def test_a_busy_neighbour_is_found_on_this_box_and_a_child_of_our_own_is_none() -> None:
    spin = "import time; end = time.monotonic() + 1.2\nwhile time.monotonic() < end: pass"
    before = read()
    child = subprocess.Popen([sys.executable, "-c", spin])
    time.sleep(1.0)
    after = read()
    child.wait()
    own = (after.own - before.own) / os.sysconf("SC_CLK_TCK")
    assert own > 0.1
    assert judge(before, after).neighbours < 1.0
