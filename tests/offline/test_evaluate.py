"""`edge evaluate` on synthetic parts: a small line whose every answer is known, and the bundles that ship."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from rich.console import Console

from edge.cli import main
from edge.config import Line, read_line
from edge.errors import DataError, MissingExtra
from edge.offline import evaluate as module
from edge.offline.evaluate import evaluate
from edge.offline.figures import Report
from edge.offline.report import report_json, tables
from tests.lines import edit, write_line

pytest.importorskip("sklearn", reason="scikit-learn (extra `evaluate`) is not here")

SIDE = 128
SURFACE_KEYS = {
    "image_auroc",
    "image_ap",
    "accuracy_good",
    "accuracy_defect",
    "pixel_auroc",
    "aupro",
    "n_good",
    "n_defect",
}


def draw(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def noisy(level: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(level - 3, level + 4, (SIDE, SIDE)).astype(np.uint8)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dark: taught and judged; bright spots with masks, and parts flooded with light (no mask). light: taught only.
    grey: never taught. Pixels of 2x2, so that halving them is exact."""
    root, rng = tmp_path_factory.mktemp("parts"), np.random.default_rng(5)
    for number in range(4):
        draw(root / f"dark/test/good/{number}.png", noisy(51, rng))
        draw(root / f"light/test/good/{number}.png", noisy(204, rng))
        draw(root / f"grey/test/good/{number}.png", noisy(128, rng))
    for number in range(3):
        part, mask = noisy(51, rng), np.zeros((SIDE, SIDE), np.uint8)
        top, left = (int(2 * v) for v in rng.integers(4, 52, 2))
        part[top : top + 10, left : left + 10] = mask[top : top + 10, left : left + 10] = 255
        draw(root / f"dark/test/spot/{number}.png", part)
        draw(root / f"dark/ground_truth/spot/{number}_mask.png", mask)
    draw(root / "dark/test/flood/0.png", np.full((SIDE, SIDE), 204, np.uint8))
    return root


@pytest.fixture(scope="module")
def report(small_line: Line, parts: Path) -> Report:
    return evaluate(small_line, [parts])


def test_the_gate_is_counted_on_seen_and_on_unseen(report: Report) -> None:
    assert report.gate.seen == pytest.approx(11 / 12)  # 8 dark and 4 light; the flooded one looks light
    assert report.gate.unseen == 1.0
    assert report.gate.harmonic_mean == pytest.approx(2 * (11 / 12) / (11 / 12 + 1))
    assert report.gate.confusion == {"dark": {"dark": 7, "light": 1}, "light": {"light": 4}, "grey": {"unseen": 4}}


def test_a_defect_that_the_gate_sent_away_is_missed_but_not_passed(report: Report) -> None:
    dark = report.surfaces["dark"]
    assert (dark.n_good, dark.n_defect, dark.n_masked, dark.n_unscored) == (4, 4, 3, 0)
    assert dark.accuracy_good == 1.0
    assert dark.accuracy_defect == 0.75
    assert dark.passed_defect == 0.0
    assert dark.not_decided_defect == 0.25
    assert dark.verdicts_defect == {"NOT_OK": 3, "NOT_DECIDABLE": 1}


def test_the_judge_is_scored_on_what_the_gate_kept_from_it_too(report: Report) -> None:
    # It rebuilds an evenly flooded part perfectly, below every noisy good one.
    assert report.surfaces["dark"].image_auroc == pytest.approx(0.75)


def test_pixels_are_counted_where_masks_are(report: Report) -> None:
    assert report.surfaces["dark"].pixel_auroc == pytest.approx(1.0, abs=1e-6)
    assert report.surfaces["dark"].aupro == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("surface", ["light", "grey"])
def test_what_cannot_be_known_is_null(report: Report, surface: str) -> None:
    figures = report.surfaces[surface]
    unknown = (figures.image_auroc, figures.image_ap, figures.accuracy_good, figures.accuracy_defect)
    assert unknown == (None,) * 4
    assert (figures.pixel_auroc, figures.aupro, figures.passed_defect) == (None,) * 3
    assert figures.verdicts_good == {"NOT_DECIDABLE": 4}


def test_stages_leave_the_first_frames_out(report: Report) -> None:
    assert set(report.stages) == {"read", "gate", "judge", "run"}
    assert report.stages["gate"].frames == 16 - 5
    assert all(0 < stage.p50_ms <= stage.p99_ms for stage in report.stages.values())


def test_the_json_has_the_agreed_keys(report: Report) -> None:
    known = json.loads(report_json(report))
    assert set(known) == {"gate", "surfaces", "stages", "about"}
    assert set(known["gate"]) == {"seen", "unseen", "harmonic_mean", "confusion"}
    assert all(set(figures) > SURFACE_KEYS for figures in known["surfaces"].values())
    assert all({"p50_ms", "p99_ms"} <= set(stage) for stage in known["stages"].values())
    assert known["about"]["graphs"] == {"gate": "onnx/cpu/fp32", "smoother": "onnx/cpu/fp32"}


def test_the_tables_can_be_read(report: Report) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    for table in tables(report):
        console.print(table)
    text = console.export_text()
    assert "harmonic mean 95.7 %" in text
    assert "…" not in text
    assert "dark 7, light 1" in text


def test_one_surface_alone_leaves_the_other_half_null(small_line: Line, parts: Path, tmp_path: Path) -> None:
    (tmp_path / "grey").symlink_to(parts / "grey")
    report = evaluate(small_line, [tmp_path], limit=2)
    assert (report.gate.seen, report.gate.unseen, report.gate.harmonic_mean) == (None, 1.0, None)
    assert report.about.frames == 2
    assert report.stages == {}


def test_a_line_without_a_gate_has_no_gate_figures(small_line: Line, parts: Path, tmp_path: Path) -> None:
    path = edit(write_line(tmp_path, small_line.bundles), 'gate = "gate"', "")
    report = evaluate(read_line(path), [parts])
    assert (report.gate.seen, report.gate.unseen, report.gate.confusion) == (None, None, {})
    dark = report.surfaces["dark"]
    assert (dark.accuracy_defect, dark.passed_defect, dark.gate) == (0.75, 0.25, None)
    assert "gate" not in report.stages


def test_an_image_that_cannot_be_read_is_named(small_line: Line, tmp_path: Path) -> None:
    broken = tmp_path / "dark/test/good/0.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png is not an image"):
        evaluate(small_line, [tmp_path])


def test_without_scikit_learn_the_extra_is_named(
    small_line: Line, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="scikit-learn"):
        evaluate(small_line, [parts])


def test_the_command_prints_and_writes_json(small_line: Line, parts: Path, tmp_path: Path) -> None:
    config, out = str(small_line.bundles / "line.toml"), tmp_path / "new" / "figures.json"
    done = CliRunner().invoke(main, ["evaluate", "--config", config, str(parts), "--json", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["surfaces"].keys() == {"dark", "grey", "light"}
    assert json.loads(out.read_text()) == json.loads(done.stdout)


def test_the_command_refuses_a_fold_without_a_table(small_line: Line, parts: Path) -> None:
    config = str(small_line.bundles / "line.toml")
    done = CliRunner().invoke(main, ["evaluate", "--config", config, str(parts), "--fold", "4"])
    assert done.exit_code == DataError.exit_code
    assert "split.csv" in done.stderr


def test_the_bundles_that_ship_are_evaluated(exported_models: Path, parts: Path) -> None:
    """Synthetic parts are none of their surfaces: the gate has to send most away, and nothing may crash."""
    if not (exported_models / "line.toml").is_file():
        pytest.skip(f"{exported_models / 'line.toml'} is not here")
    line = read_line(exported_models / "line.toml")
    report = evaluate(line, [parts])
    assert report.gate.seen is None
    assert report.gate.unseen is not None
    assert report.gate.unseen >= 0.5
    assert not report.about.notes
    assert sum(sum(answers.values()) for answers in report.gate.confusion.values()) == report.about.frames == 16
