"""`edge threshold`: the promise holds on distributions whose truth is known, and the command keeps to it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edge.bundle import MANIFEST
from edge.cli import main
from edge.config import Line, read_line
from edge.errors import ConfigError
from edge.offline.threshold import Limit, Proposal, Wanted, beside, propose
from edge.offline.threshold_line import with_threshold
from tests.lines import DARK, edit, write_line
from tests.small_blur import blur, write_blur

pytestmark = pytest.mark.usefixtures("own_cache")
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

# Scores of good parts, and the share of them above a threshold, both known.
NORMAL = np.sort(np.random.default_rng(0).standard_normal(2_000_000))
STEPS: list[tuple[float, float]] = [(round(i / 10, 1), 0.05 if i in (0, 10) else 0.1) for i in range(11)]
SCORES: dict[str, tuple[Draw, Callable[[float], float]]] = {
    "even": (lambda rng, n: rng.random(n), lambda t: 1 - t),
    "long tail": (lambda rng, n: rng.pareto(1.1, n), lambda t: (1 + t) ** -1.1),
    "normal": (
        lambda rng, n: rng.standard_normal(n),
        lambda t: 1 - float(np.searchsorted(NORMAL, t)) / len(NORMAL),
    ),
    "two kinds": (
        lambda rng, n: np.where(rng.random(n) < 0.01, 5 + rng.random(n), rng.random(n)),
        lambda t: 0.01 * (6 - t) if t >= 5 else 0.01 + 0.99 * (1 - t),
    ),
    "in steps": (lambda rng, n: np.round(rng.random(n), 1), lambda t: sum(w for s, w in STEPS if s > t)),
}


@pytest.mark.parametrize(
    ("name", "share", "n"),
    [*[(name, 0.05, 200) for name in SCORES], ("even", 0.05, 59), ("two kinds", 0.01, 299), ("long tail", 0.01, 700)],
)
def test_the_promise_is_broken_in_one_run_of_twenty_at_most(name: str, share: float, n: int) -> None:
    draw, above = SCORES[name]
    rng = np.random.default_rng(n)
    runs, broken = 2000, 0
    for _ in range(runs):
        limit = propose(draw(rng, n).tolist(), Wanted(share, 0.95))
        assert limit is not None and limit.at_most <= share + 1e-9
        broken += above(limit.threshold) > share
    # 5 % at most on average; three deviations of slack for the simulation itself.
    assert broken <= 0.05 * runs + 3 * (0.05 * 0.95 * runs) ** 0.5


def test_it_is_the_lowest_of_the_scores_that_keeps_the_promise() -> None:
    scores = list(range(1000))
    limit = propose(scores, Wanted(0.01, 0.95))
    assert limit is not None and limit.at_most <= 0.01 < beside(scores, limit.threshold - 1, 0.95).at_most


def test_too_few_good_parts_promise_nothing() -> None:
    assert propose(range(298), Wanted(0.01, 0.95)) is None
    limit = propose(range(299), Wanted(0.01, 0.95))
    assert limit is not None and (limit.threshold, limit.rejected) == (298, 0) and limit.at_most <= 0.01


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 good parts with grain, some with a faint spot; and one of them twice."""
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(4)
    for number in range(120):
        part = rng.integers(46, 57, (64, 64)).astype(np.uint8)
        part[30:34, 30:34] += np.uint8(number // 4)
        cv2.imwrite(str(folder / f"{number:03d}.png"), part)
    cv2.imwrite(str(folder / "again.png"), part)
    return folder


def threshold(bundle: Path, *words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["threshold", str(bundle), *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output if done.exit_code else done.stdout


def told(bundle: Path, *words: object) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, ["threshold", str(bundle), *map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def config(small_line: Line, tmp_path: Path) -> Path:
    table = '\n[judges.dark]\n# kept as it is\nbundle = "smoother"\n\n[limits]\nframe_bytes = 100000\n'
    return write_line(tmp_path, small_line.bundles, table)


def test_it_proposes_says_what_today_promises_and_writes(small_line: Line, config: Path, images: Path) -> None:
    bundle = small_line.bundles / "smoother"
    code, found = told(bundle, images, "--config", config, "--false-rejects", "1/30", "--write")
    assert code == 0
    proposed, today = found["proposed"], found["today"]
    assert (found["surface"], found["bundle"], found["graph"]) == ("dark", "smoother", "onnx/cpu/fp32")
    assert (found["images"], found["repeated"], found["unseen"], found["more"]) == (120, 1, 0, 0)
    assert proposed["rejected"] <= 4 and proposed["at_most"] <= 1 / 30
    assert today["threshold"] == 0.05 and found["quantiles"]["1"] >= proposed["threshold"]
    line = read_line(config)
    assert line.config.judges["dark"].threshold == proposed["threshold"]
    assert "# kept as it is" in config.read_text() and "edge threshold, 2" in config.read_text()
    code, again = told(bundle, images, "--config", config, "--false-rejects", "1/30")
    assert code == 0 and again["today"] == proposed, "the line goes by it now"


def test_a_written_threshold_rejects_what_lies_above_it_and_nothing_else(
    small_line: Line, config: Path, images: Path
) -> None:
    _, found = told(small_line.bundles / "smoother", images, "--config", config, "--false-rejects", "1/20", "--write")
    done = CliRunner().invoke(main, ["inspect", "--config", str(config), str(images), "--json"])
    verdicts = [json.loads(row) for row in done.stdout.splitlines()]
    again = verdicts[-1]
    rejected = [verdict for verdict in verdicts[:-1] if verdict["evaluation"] == 2]
    assert len(verdicts) == 121 and again["score"] == verdicts[-2]["score"]
    assert len(rejected) == found["proposed"]["rejected"]


def test_too_few_images_end_with_3_say_how_many_more_and_write_nothing(
    small_line: Line, config: Path, images: Path
) -> None:
    before = config.read_bytes()
    code, said = threshold(small_line.bundles / "smoother", images, "--config", config, "--write")
    said = said.replace("\n", " ")
    assert code == 3 and "29836 more good parts are needed" in said and "these promise 0.025 at best" in said
    assert config.read_bytes() == before


def test_a_bundle_alone_is_enough(small_line: Line, images: Path) -> None:
    code, found = told(small_line.bundles / "smoother", images, "--false-rejects", "0.05", "--confidence", "0.9")
    assert code == 0 and found["surface"] == "dark" and found["unseen"] == 0
    assert found["wanted"] == {"false_rejects": 0.05, "confidence": 0.9}


def test_what_the_gate_sends_away_is_said(small_line: Line, config: Path, images: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(120, 130, (64, 64)).astype(np.uint8))
    given = sorted(tmp_path.glob("*.png"))
    code, said = threshold(
        small_line.bundles / "smoother", images, *given, "--config", config, "--false-rejects", "1/20"
    )
    assert code == 0 and "the gate sends 3 of them elsewhere" in said


def test_wrong_usage_is_named(small_line: Line, config: Path, images: Path, tmp_path: Path) -> None:
    bundle = small_line.bundles / "smoother"
    for words, code, why in (
        ([images, "--write"], 2, "--config"),
        ([images, "--false-rejects", "2"], 2, "no share between 0 and 1"),
        ([images, "--false-rejects", "one"], 2, "1/10000"),
        ([images, "--config", config, "--surface", "light"], 10, "no light"),
        ([images, "--surface", "light"], 10, "dark only"),
        ([images.parent, "--config", config], 16, "folder inside"),
    ):
        found, said = threshold(bundle, *words)
        assert found == code and why in said.replace("\n", " "), said
    found, said = threshold(small_line.bundles / "brittle", images, "--config", config)
    assert found == 10 and "judges no surface by" in said
    regions = '[judges.dark]\nbundle = "smoother"\n[judges.dark.regions.rim]\nboxes = [[0, 0, 64, 64]]\n'
    found, said = threshold(bundle, images, "--config", write_line(tmp_path, small_line.bundles, regions))
    assert found == 10 and "by region" in said


def proposal(limit: Limit) -> Proposal:
    return Proposal("dark", "smoother", "-", Wanted(0.1, 0.9), 50, 0, 0, limit, 0, limit, 0.1, {}, ())


@pytest.mark.parametrize(
    "table",
    [
        '[judges.dark]\nbundle = "smoother"\n',
        '[judges.dark]\nthreshold = 0.4 # mine\nbundle = "smoother"\n',
        '[ judges . "dark" ]  # here\nbundle = "smoother"\nmode = "full"\n[limits]\npixels = 9\n',
        '[judges.light]\nbundle = "brittle"\n[judges.dark]\nbundle = "smoother"',
    ],
)
def test_the_threshold_is_put_where_it_belongs_and_all_else_stays(small_line: Line, tmp_path: Path, table: str) -> None:
    line = read_line(write_line(tmp_path, small_line.bundles, table))
    limit = Limit(0.123, 0, 0.05)
    text = with_threshold(line, proposal(limit), limit)
    wanted = tomllib.loads(line.path.read_text())
    wanted["judges"]["dark"]["threshold"] = 0.123
    assert tomllib.loads(text) == wanted
    assert text.count("threshold = ") == 1 and "false rejects at most 0.05, confidence 0.9" in text


def test_a_judge_in_one_line_is_left_to_a_person(small_line: Line, tmp_path: Path) -> None:
    line = read_line(write_line(tmp_path, small_line.bundles, DARK))
    with pytest.raises(ConfigError, match=r"write threshold = 0\.123"):
        with_threshold(line, proposal(Limit(0.123, 0, 0.05)), Limit(0.123, 0, 0.05))


def test_good_parts_of_the_highest_score_leave_no_threshold(images: Path, tmp_path: Path) -> None:
    """A probability of 1 for each: a threshold there would reject nothing, and the line would not open with it."""
    write_blur(tmp_path / "sure", None, blur(constant=100))
    edit(tmp_path / "sure" / MANIFEST, 'answer = "score"', 'answer = "logit"')
    code, said = threshold(tmp_path / "sure", images, "--false-rejects", "1/20")
    assert code == 16 and "good images score too high" in said and "0..1" in said
