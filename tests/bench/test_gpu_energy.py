"""A card's energy by NVML: of this box, and of two cards that a compiled stand-in for the driver's library has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.bench.gpu_energy import millijoules
from edge.bench.watch import judge, read

pytest.importorskip("pynvml")

DRIVER = """
#include <stdio.h>
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned number, void **card) { *card = (void *)(number + 1ul); return 0; }
int nvmlDeviceGetUUID(void *card, char *name, unsigned size) {
    return snprintf(name, size, "GPU-%lu", (unsigned long)card) < 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *spent) {
    *spent = 1000ull * (unsigned long)card; return ANSWER; }
"""
ASK = "import json; from edge.bench.gpu_energy import millijoules; print(json.dumps(millijoules()))"


def ask(folder: Path, answer: int) -> dict[str, int]:
    """In a process that finds the stand-in first."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "driver.c").write_text(DRIVER)
    library = str(folder / "libnvidia-ml.so.1")
    subprocess.run(
        [compiler, "-shared", "-fPIC", f"-DANSWER={answer}", "-o", library, str(folder / "driver.c")], check=True
    )
    around = os.environ | {"LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", ASK], env=around, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_each_card_is_counted(tmp_path: Path) -> None:
    assert ask(tmp_path, answer=0) == {"GPU-1": 1000, "GPU-2": 2000}


def test_a_card_that_does_not_count_is_no_error(tmp_path: Path) -> None:
    assert ask(tmp_path, answer=3) == {}  # NVML_ERROR_NOT_SUPPORTED


def test_watts_are_what_all_cards_spent_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = iter([{"a": 1000, "b": 5000}, {"a": 3000, "b": 6000}])
    monkeypatch.setattr("edge.bench.gpu_energy.millijoules", lambda: next(counted))
    before = read()
    time.sleep(0.1)
    found = judge(before, read())
    assert found.gpu_watts == pytest.approx(3.0 / found.seconds, rel=0.02)  # the seconds are rounded


@pytest.mark.skipif(bool(list(Path("/dev").glob("nvidia[0-9]*"))), reason="this box has a card")
def test_a_box_without_a_card_tells_nothing() -> None:
    assert millijoules() == {}
    assert judge(read(), read()).gpu_watts is None
