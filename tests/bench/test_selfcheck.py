"""`edge-bench selfcheck`: one night on a real line, many nights on reports whose course is known."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.bench.cli import main
from edge.bench.compare import compare
from edge.bench.given import Given
from edge.bench.selfcheck import KEPT, Night, answer, baseline, golden_moved, keep, nights
from edge.bundle import open_bundle
from edge.config import Line
from tests.bench.made_report import course, report, row
from tests.lines import daemon_on, edit, write_line
from tests.small_line import npz

pytestmark = pytest.mark.usefixtures("own_cache")


def called(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["selfcheck", *map(str, arguments)], catch_exceptions=False)


def test_a_night_beside_the_running_daemon_is_kept_and_the_next_is_compared_with_it(
    small_line: Line, tmp_path: Path
) -> None:
    config = write_line(tmp_path, small_line.bundles)
    into = tmp_path / "new" / "selfbench"
    with daemon_on(config):
        first = called(config, "--into", into, "--runs", 200, "--accept", "--json")
        second = called(config, "--into", into, "--runs", 200, "--json")
    told = json.loads(first.stdout)
    assert told["verdict"] in ("BASELINE", "UNSURE") and set(told["golden"]) == {
        "gate/model.onnx",
        "smoother/model.onnx",
    }
    ((path, night), *_) = nights(into)
    assert str(path) == told["file"] and night.rows[0].frames >= 200 and night.config_sha256
    if told["verdict"] == "BASELINE":
        again = json.loads(second.stdout)
        assert again["baseline"] == str(path) and again["comparison"]["pairs"] and second.exit_code in (0, 1, 3)


def test_a_wrong_golden_frame_ends_it(small_line: Line, tmp_path: Path) -> None:
    shutil.copytree(small_line.bundles, tmp_path / "models")
    config = write_line(tmp_path, "models")
    folder = tmp_path / "models" / "smoother"
    bundle = open_bundle(folder)
    arrays = bundle.read_arrays(bundle.manifest.golden)
    data = npz(**{name: array if name == "frame" else np.flip(array, -1) for name, array in arrays.items()})
    (folder / "golden.npz").write_bytes(data)
    edit(folder / "manifest.toml", bundle.manifest.golden.sha256, hashlib.sha256(data).hexdigest())
    done = called(config, "--into", tmp_path / "into", "--runs", 50)
    assert done.exit_code in (11, 12) and "golden frame" in done.output and not (tmp_path / "into").exists()


def night(seed: int, base: float = 10.0, verdict: str = "BASELINE", graph: str = "a", **fields: Any) -> Night:
    ran = {"bundle": "b", "sha256": graph, "file": "f", "engine": "onnx", "device": "cpu", "precision": "fp32"}
    made = report(row("auto", course(seed, base=base), graphs=[ran], chosen=True))
    same = {"date": "-", "config_sha256": "-", "golden": {"b/f": 0.001}, "verdict": verdict, "told": []}
    return msgspec.convert(made | same | fields, Night)


def test_a_line_that_creeps_by_a_little_every_night_is_told_one_day() -> None:
    kept = [(Path("0"), night(0))]
    verdicts = []
    for number in range(1, 8):
        now = night(number, base=10.0 * 1.04**number)
        found = baseline(kept, now)
        assert found and found[0] == Path("0")
        verdict, _ = answer(now, compare(found[1], now, 0.15), [])
        verdicts.append(verdict)
        kept.append((Path(str(number)), msgspec.structs.replace(now, verdict=verdict)))
    assert verdicts[0] == "SAME" and verdicts[-1] == "SLOWER"


def test_other_graphs_and_other_threads_begin_anew_and_an_accepted_night_counts() -> None:
    kept = [(Path("0"), night(0)), (Path("1"), night(1, verdict="SLOWER")), (Path("2"), night(2))]
    assert baseline(kept, night(3)) == kept[2]
    assert baseline(kept[:2], night(3)) == kept[0]
    assert baseline(kept, night(3, graph="other")) is None
    assert baseline(kept, night(3, threads=4)) is None


def test_a_busy_night_is_no_baseline() -> None:
    quiet = msgspec.convert(report(row("auto", course(0))), Given)
    busy = msgspec.convert(report(row("auto", course(0, ar=0.6))), Given)
    short = msgspec.convert(report(row("auto", course(0, turns=4))), Given)
    assert [answer(now, None, [])[0] for now in (quiet, busy, short)] == ["BASELINE", "UNSURE", "UNSURE"]


def test_a_golden_frame_that_moved_is_told_before_any_time() -> None:
    moved = golden_moved({"b/f": 0.0, "b/g": 0.01}, {"b/f": 0.005, "b/g": 0.0101, "b/h": 0.1})
    assert moved == ["b/f: its golden frame was off by 0.00%, and is by 0.50%"]
    now = night(1)
    assert answer(now, compare(night(0), now, 0.15), moved)[0] == "CHANGED"


def test_nights_are_kept_for_so_long_and_baselines_for_good(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        verdict = "BASELINE" if number == 0 else "SAME"
        keep(tmp_path / f"{number:03}.json", msgspec.to_builtins(night(number % 3, verdict=verdict)))
    left = [path.name for path, _ in nights(tmp_path)]
    assert len(left) == KEPT + 1 and left[0] == "000.json" and left[1] == "005.json"
    (tmp_path / "other.json").write_text("{}")
    assert len(nights(tmp_path)) == len(left)
