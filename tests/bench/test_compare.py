"""edge-bench compare on simulated runs whose change and whose unrest are known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bench.cli import main
from edge.bench.compare import as_turns, block_length, change, compare, judge, t_quantile
from edge.bench.given import read_given
from tests.bench.made_report import TURN, course, report, row, write

UNREST: tuple[dict[str, Any], ...] = (
    {},
    {"ar": 0.05},
    {"ar": 0.05, "phi": 0.5},
    {"ar": 0.05, "phi": 0.8},
    {"step": 0.05},
    {"step": 0.1},
    {"step": 0.1, "ar": 0.02, "phi": 0.5},
    {"ar": 0.02, "phi": 0.9},
)


def verdicts(old: list[float], new: list[float], allow: float = 0.05) -> set[str]:
    return {item.verdict for item in change(as_turns(old, TURN), as_turns(new, TURN), allow) if item}


def called(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)], catch_exceptions=False)


def test_without_a_change_slower_and_faster_are_rare() -> None:
    """200 pairs of runs over white noise, autocorrelated turns and a machine that steps on its own by up to 10 %."""
    wrong: Counter[str] = Counter()
    for seed in range(200):
        unrest = UNREST[seed % len(UNREST)]
        found = verdicts(course(2 * seed, **unrest), course(2 * seed + 1, **unrest))
        if found & {"SLOWER", "FASTER"}:
            wrong[str(unrest)] += 1
    assert wrong.total() <= 10, wrong


@pytest.mark.parametrize("unrest", [{"frame": 0.05}, {"ar": 0.05, "phi": 0.5}])
def test_a_fifth_slower_is_found_in_eighty_turns_with_noise_of_five_percent(unrest: dict[str, Any]) -> None:
    found = [verdicts(course(2 * seed, 80, **unrest), course(2 * seed + 1, 80, 12.0, **unrest)) for seed in range(100)]
    assert sum("SLOWER" in each for each in found) >= 95
    assert not any("FASTER" in each for each in found)


def test_the_interval_of_the_median_holds_as_often_as_it_claims() -> None:
    """Turns of an AR(1) of 0.7: single frames taken for independent would hold in every third run."""
    held = 0
    for seed in range(100):
        old, new = (course(7000 + 2 * seed + which, ar=0.05, phi=0.7) for which in (0, 1))
        p50 = change(as_turns(old, TURN), as_turns(new, TURN), 0.0)[0]
        assert p50
        held += p50.low <= 1 <= p50.high
    assert held >= 89  # 95 on average; less than 89 has a chance below 1 %


def test_a_quiet_machine_is_the_same_and_a_faster_model_faster() -> None:
    assert verdicts(course(1, frame=0.01), course(2, frame=0.01)) == {"SAME"}
    assert verdicts(course(1, frame=0.01), course(2, frame=0.01, base=8.0)) == {"FASTER"}


def test_only_a_tail_that_grew_is_slower() -> None:
    old, new = course(1, 200), course(2, 200)
    new[::40] = [2 * ms for ms in new[::40]]
    p50, p99 = change(as_turns(old, TURN), as_turns(new, TURN), 0.05)
    assert p50 and p50.verdict == "SAME"
    assert p99 and p99.verdict == "SLOWER" and p99.ratio > 1.5


@pytest.mark.parametrize(("phi", "least", "most"), [(0.0, 1, 4), (0.5, 4, 9), (0.8, 8, 25)])
def test_blocks_are_as_long_as_turns_stay_alike(phi: float, least: int, most: int) -> None:
    found = [block_length(as_turns(course(seed, 200, ar=0.1, phi=phi, frame=0.01), TURN)) for seed in range(20)]
    assert least <= np.median(found) <= most


def test_a_constant_run_has_blocks_of_one_turn() -> None:
    assert block_length(as_turns([3.0] * 80, TURN)) == 1
    assert verdicts([3.0] * 800, [3.0] * 800) == {"SAME"}


# Values of printed tables of Student's t.
@pytest.mark.parametrize(("nu", "value"), [(3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (1e6, 1.960)])
def test_t_quantiles_are_the_tables(nu: float, value: float) -> None:
    assert t_quantile(0.975, nu) == pytest.approx(value, rel=0.01)


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(1, 10), st.floats(0, 0.9))
def test_swapped_runs_have_the_opposite_verdict(low: float, width: float, allow: float) -> None:
    opposite = {"SLOWER": "FASTER", "FASTER": "SLOWER", "SAME": "SAME", "UNSURE": "UNSURE"}
    high = low * width
    edges = {1 + allow, 1 / (1 + allow)}
    if not any(abs(bound / edge - 1) < 1e-9 for bound in (low, high) for edge in edges):
        assert judge(1 / high, 1 / low, allow) == opposite[judge(low, high, allow)]


def test_exit_codes_are_of_the_verdict(tmp_path: Path) -> None:
    quiet = write(tmp_path / "a.json", report(row("onnx", course(1, frame=0.01))))
    again = write(tmp_path / "b.json", report(row("onnx", course(2, frame=0.01))))
    slow = write(tmp_path / "c.json", report(row("onnx", course(3, frame=0.01, base=12))))
    wild = write(tmp_path / "d.json", report(row("onnx", course(4, ar=0.3, phi=0.8))))
    wilder = write(tmp_path / "e.json", report(row("onnx", course(5, ar=0.3, phi=0.8))))
    pairs = ((quiet, again), (quiet, slow), (wild, wilder))
    assert [called(*pair).exit_code for pair in pairs] == [0, 1, 3]
    assert called(slow, quiet).exit_code == 0
    assert called(quiet, slow, "--allow", "30%").exit_code == 0
    assert called(quiet, slow, "--allow", "much").exit_code == 2


def test_the_table_says_what_the_ratio_is_and_what_it_rests_on(tmp_path: Path) -> None:
    old = write(tmp_path / "a.json", report(row("onnx", course(1, frame=0.01)), row("litert", course(5))))
    new = write(tmp_path / "b.json", report(row("onnx", course(3, frame=0.01, base=12)), row("[red]", course(5))))
    told = called(old, new).stdout
    assert "1.20" in told and "SLOWER" in told and "turns vary by" in told
    assert "litert: only in the old run" in told and "[red]: only in the new run" in told
    found = json.loads(called(old, new, "--json").stdout)
    (pair,) = found["pairs"]
    assert pair["p50"]["low"] < 1.2 < pair["p50"]["high"] and pair["new"]["turns"] == 84
    assert (found["verdict"], found["only_old"], found["only_new"]) == ("SLOWER", ["litert"], ["[red]"])


def test_a_row_that_went_away_leaves_it_unsure(tmp_path: Path) -> None:
    both = write(tmp_path / "a.json", report(row("onnx", course(1, frame=0.01)), row("litert", course(5))))
    one = write(tmp_path / "b.json", report(row("onnx", course(2, frame=0.01))))
    assert called(both, one).exit_code == 3
    assert called(one, both).exit_code == 0


def test_too_few_frames_are_unsure_and_said(tmp_path: Path) -> None:
    few = write(tmp_path / "a.json", report(row("onnx", course(1, 4))))
    some = write(tmp_path / "b.json", report(row("onnx", course(1, 40, frame=0.01))))
    assert called(few, few).exit_code == 3
    done = called(some, some)
    assert done.exit_code == 3
    assert "p99 needs 662 frames" in done.stdout.replace("\n", " ")


def test_two_boxes_are_called_two_boxes(tmp_path: Path) -> None:
    ran = {"bundle": "b", "sha256": "1", "file": "m", "engine": "onnx", "device": "cpu", "precision": "fp32"}
    old = report(row("onnx", course(1), graphs=[ran]))
    new = report(row("onnx", course(1), graphs=[ran | {"sha256": "2"}]), box="another", threads=4, scenario="server")
    paths = write(tmp_path / "a.json", old), write(tmp_path / "b.json", new)
    found = compare(read_given(paths[0]), read_given(paths[1]), 0.05)
    assert found.differences == ["box: a box / another", "threads: 2 / 4", "scenario: None / server"]
    assert found.pairs[0].differences == ["b sha256: 1 / 2"]
    assert "two boxes" in called(*paths).stdout


def test_what_is_no_report_is_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good.json", report(row("onnx", course(1))) | {"certificate": {"new": 1}})
    assert read_given(good).rows[0].name == "onnx"
    short = report(row("onnx", [1.0, 2.0]) | {"at_s": [0.0]})
    below = report(row("onnx", [1.0, -2.0]))
    for number, made in enumerate(({}, short, below)):
        bad = write(tmp_path / f"bad{number}.json", made)
        done = called(good, bad)
        assert done.exit_code == 16 and bad.name in done.stderr
    (tmp_path / "noise.json").write_bytes(b"\xff\x00")
    assert called(tmp_path / "noise.json", good).exit_code == 16
    assert called(tmp_path / "nowhere.json", good).exit_code == 2


def test_on_a_box_whose_turns_vary_by_more_than_a_quarter_it_is_unsure_and_said_why(tmp_path: Path) -> None:
    """Three times as slow for nothing: so a busy box makes it look."""
    old = write(tmp_path / "a.json", report(row("onnx", course(1, ar=0.4))))
    new = write(tmp_path / "b.json", report(row("onnx", course(2, ar=0.4, base=30))))
    done = called(old, new)
    assert done.exit_code == 3
    assert "the box was busy" in done.stdout.replace("\n", " ")
