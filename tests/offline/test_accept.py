"""`edge accept` over a kit of parts whose every answer is known: n runs, k of them right, and the paper's rates."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.config import Line, read_line
from edge.errors import DataError
from edge.offline.accept import accept
from edge.offline.accept_figures import Acceptance, SurfaceAcceptance, by_rule, rates
from edge.offline.accept_report import remarks
from edge.offline.runs import By, find_parts, natural
from edge.records import Evaluation
from tests.lines import called, write_line
from tests.strip import FRAMES, REGIONS, parts, regions, strip

OK, BAD, UNSURE = Evaluation.OK, Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE
pytestmark = pytest.mark.usefixtures("own_cache")


def draw(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def mask(vial: int, region: int) -> NDArray[np.uint8]:
    return np.where(strip(vial, region) == 255, np.uint8(255), np.uint8(0))


def kit(root: Path, runs: int = 10) -> Path:
    """Frames of strips, one image a run. Rejected are: of good strip a three runs of ten, of b four; of the strips with
    a spot c nine, and of d six (it hides, yet a mask shows where it is)."""
    for name, rejected in (("a", 3), ("b", 4)):
        for run in range(runs):
            draw(root / f"dark/test/good/{name}_{run}.png", strip(0, 0) if run < rejected else strip())
    for name, rejected in (("c", 9), ("d", 6)):
        for run in range(runs):
            draw(root / f"dark/test/spot/{name}_{run}.png", strip(2, 1) if run < rejected else strip())
            draw(root / f"dark/ground_truth/spot/{name}_{run}_mask.png", mask(2, 1))
    return root


def nothing(*_: object) -> None:
    pass


def accepted(
    line: Line, root: Path, rule: tuple[int, int] = (10, 7), by: By = "name", at_least: float | None = None
) -> Acceptance:
    return accept(line, [root], rule, by, at_least, nothing, nothing)


@pytest.fixture(scope="module")
def line(small_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Line:
    return read_line(write_line(tmp_path_factory.mktemp("line"), small_line.bundles, regions()))


@pytest.fixture(scope="module")
def report(line: Line, tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Acceptance:
    return accepted(line, kit(tmp_path_factory.mktemp("kit")))


@pytest.fixture
def dark(report: Acceptance) -> SurfaceAcceptance:
    return report.surfaces["dark"]


def test_seven_of_ten_keeps_a_good_part_and_six_do_not(dark: SurfaceAcceptance) -> None:
    rule = dark.rule
    assert (rule.good, rule.bad, rule.accuracy, rule.good_kept, rule.bad_rejected) == (2, 2, 0.5, 0.5, 0.5)
    assert rule.unsure == 2 and dark.parts == 4 and not dark.short and not dark.mixed


def test_each_run_counts_once(dark: SurfaceAcceptance) -> None:
    assert (dark.run.good, dark.run.bad) == (20, 20)
    assert (dark.run.good_kept, dark.run.bad_rejected, dark.run.accuracy) == (13 / 20, 15 / 20, 28 / 40)
    assert dark.frame.good_kept == dark.run.good_kept and dark.frame.threshold is None
    assert dark.run.mean_ms is not None and dark.run.mean_ms > 0


def test_each_regions_boxes_count_by_the_mask(dark: SurfaceAcceptance) -> None:
    flag, top = dark.regions["flag"], dark.regions["top"]
    assert list(dark.regions) == list(REGIONS) and flag.threshold == 0.05
    assert (flag.good, flag.bad, flag.good_kept, flag.bad_rejected) == (200, 0, 193 / 200, None)
    assert (top.good, top.bad, top.good_kept, top.bad_rejected) == (180, 20, 1.0, 15 / 20)
    assert top.mean_ms is not None and dark.frame.mean_ms is not None and top.mean_ms < dark.frame.mean_ms / 5


def test_each_place_is_the_column_of_vials(dark: SurfaceAcceptance) -> None:
    assert dark.place is not None
    assert (dark.place.good, dark.place.bad) == (180, 20)
    assert (dark.place.good_kept, dark.place.bad_rejected) == (173 / 180, 15 / 20)


def test_a_part_with_too_few_runs_is_named_and_does_not_count(line: Line, tmp_path: Path) -> None:
    root = kit(tmp_path)
    (root / "dark/test/good/a_9.png").unlink()
    draw(root / "dark/test/good/c_10.png", strip())  # another c: of the good kind
    report = accepted(line, root, at_least=0.0)
    figures = report.surfaces["dark"]
    assert figures.short == {"good/a": 9, "good/c": 1} and figures.rule.good == 1
    assert report.accepted is False
    assert any(
        "2 of 5 parts have fewer than 10 runs" in remark and "good/a (9)" in remark for remark in remarks(report)
    )


def test_runs_beyond_the_first_n_are_told_and_only_the_rule_leaves_them_out(line: Line, tmp_path: Path) -> None:
    figures = accepted(line, kit(tmp_path), (3, 2)).surfaces["dark"]
    assert figures.spare == 4 * 7 and figures.run.good == 20
    assert (figures.rule.good_kept, figures.rule.bad_rejected) == (0.0, 1.0)  # the first three runs of all are rejected


def test_the_rule_is_what_most_runs_agree_on() -> None:
    assert by_rule([OK] * 7 + [BAD] * 3, 7) is OK
    assert by_rule([BAD] * 7 + [OK] * 3, 7) is BAD
    assert by_rule([OK] * 6 + [BAD] * 4, 7) is UNSURE
    assert by_rule([OK] * 6 + [UNSURE] * 4, 7) is UNSURE


def test_what_is_unsure_is_right_for_nobody() -> None:
    found = rates([(False, OK), (False, UNSURE), (True, UNSURE), (True, BAD), (True, OK), (True, Evaluation.UNDEFINED)])
    assert (found.good_kept, found.bad_rejected, found.accuracy, found.unsure) == (1 / 2, 1 / 4, 2 / 6, 3)
    nothing_bad = rates([(False, OK)])
    assert (nothing_bad.good_kept, nothing_bad.bad_rejected) == (1.0, None)


def several(root: Path) -> Path:
    """Two good parts and a spotted one of two runs each; a run has three frames, of which one shows the spot."""
    for part in ("a", "b"):
        for number in range(2 * FRAMES):
            draw(root / f"dark/test/good/{part}/{number + 8}.png", strip())
    for run in ("first", "second"):
        for number in range(FRAMES):
            draw(root / f"dark/test/spot/c/{run}/{number}.png", strip(4, 3) if number == 2 else strip())
            if number == 2:
                draw(root / f"dark/ground_truth/spot/c/{run}/{number}_mask.png", mask(4, 3))
    return root


def test_a_run_of_several_frames_is_the_worst_of_them(small_line: Line, tmp_path: Path) -> None:
    line = read_line(write_line(tmp_path, small_line.bundles, parts(), regions()))
    report = accepted(line, several(tmp_path / "kit"), (2, 2), at_least=1.0)
    figures = report.surfaces["dark"]
    assert report.frames_per_run == FRAMES and report.accepted is True
    assert (figures.run.good, figures.run.bad, figures.run.accuracy) == (4, 2, 1.0)
    assert (figures.frame.good, figures.frame.bad) == (12, 6)
    bottom = figures.regions["bottom"]
    assert (bottom.bad, bottom.bad_rejected, figures.unlabelled) == (2, 1.0, 4)
    (tmp_path / "kit/dark/test/good/a/13.png").unlink()
    figures = accepted(line, tmp_path / "kit", (2, 2)).surfaces["dark"]
    assert (figures.run.unsure, figures.rule.good_kept) == (1, 0.5)  # a run that lacks a frame is Undefined


def test_parts_are_found_by_folder_by_name_and_by_group(tmp_path: Path) -> None:
    for name in ("x_1", "x_10", "x_2", "y-1", "z"):
        draw(tmp_path / f"dark/test/good/{name}.png", strip())
    draw(tmp_path / "dark/test/spot/x_3.png", strip())
    draw(tmp_path / "dark/test/spot/w/1.png", strip())
    found, _ = find_parts([tmp_path], "name", 1)
    assert [part.name for part in found] == ["good/x", "good/y", "good/z", "spot/w", "spot/x"]
    assert [run[0].path.stem for run in found[0].runs] == ["x_1", "x_2", "x_10"]
    with pytest.raises(DataError, match=r"split\.csv"):
        find_parts([tmp_path], "group", 1)
    images = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    with (tmp_path / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "group"), *[(path, Path(path).stem[0]) for path in images[:-1]]])
    with pytest.raises(DataError, match="no group"):
        find_parts([tmp_path], "group", 1)
    with (tmp_path / "split.csv").open("a", newline="") as file:
        csv.writer(file).writerow((images[-1], "x"))
    found, _ = find_parts([tmp_path], "group", 1)
    assert {part.name: (len(part.runs), part.defective) for part in found} == {
        "1": (1, True),
        "x": (4, None),
        "y": (1, False),
        "z": (1, False),
    }
    whole, _ = find_parts([tmp_path], "group", 4)
    assert {part.name: part.defective for part in whole}["x"] is True  # one of its frames shows it


def test_numbers_in_names_sort_as_numbers() -> None:
    assert sorted(["p10", "p2", "p", "q1"], key=natural) == ["p", "p2", "p10", "q1"]


def command(*arguments: object) -> tuple[int, str, str]:
    return called("accept", *arguments, timeout_s=240)


def test_the_command_prints_the_tables_and_says_whether_the_line_is_accepted(line: Line, tmp_path: Path) -> None:
    root = kit(tmp_path)
    code, out, _ = command("--config", line.path, root)
    assert code == 0
    for words in ("1. regions and frames", "liquid", "place", "2. runs, each one frame", "3. parts, 7 of 10 runs"):
        assert words in out
    code, out, _ = command("--config", line.path, root, "--at-least", 0.5, "--json")
    assert code == 0 and json.loads(out)["accepted"] is True
    code, out, _ = command("--config", line.path, root, "--at-least", 0.51)
    assert code == 1 and "NOT accepted" in out


def test_a_rule_that_both_answers_could_meet_and_a_kit_that_is_none_are_refused(line: Line, tmp_path: Path) -> None:
    for needed in (5, 11):
        code, _, err = command("--config", line.path, tmp_path, "--needed", needed)
        assert code == 2 and "more than half" in err
    draw(tmp_path / "light/test/good/a_1.png", strip())
    code, _, err = command("--config", line.path, tmp_path)
    assert code == 16 and "no judge" in err
