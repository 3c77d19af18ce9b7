"""The demo: its pieces, what it does when something is missing, and a short real run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import pytest

from edge.bench.child import Ended, daemon, wait_ready, write_line
from edge.config import read_line
from edge.records import Evaluation, Verdict
from edge.vision.files import read_image
from tools.demo_parts import CROP, SOLAR, Label, Part, cut_unseen, mix, unseen_among
from tools.demo_run import Record

CELLS = [Part(Path(f"cell{number}.png"), "solar_mono", "good") for number in range(40)]
UNSEEN = [Part(Path(f"brick{number}.png"), "brick", "unseen") for number in range(5)]


@pytest.fixture
def demo(repository: Path) -> list[str]:
    return [sys.executable, str(repository / "tools" / "demo"), "--no-environment"]


@pytest.fixture
def ready(exported_models: Path) -> None:
    """What a real run needs besides this Python's packages."""
    if find_spec("elpv_dataset") is None:
        pytest.skip("elpv-dataset is not installed; it is in the extra `demo`")
    line = tomllib.loads((exported_models / "line.toml").read_text())
    needed = [line["gate"], *(line["judges"][surface]["bundle"] for surface in SOLAR)]
    missing = [name for name in needed if not (exported_models / name / "manifest.toml").is_file()]
    if missing:
        pytest.skip(f"exported_models has no {', '.join(missing)}")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo's own temporary folder comes to lie."""
    folder = tmp_path / "t"  # a socket's path has at most 107 characters
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def verdict(frame: int, evaluation: Evaluation, seq: int | None = None) -> Verdict:
    return Verdict(
        verdict_id=f"s-{frame}",
        seq=frame if seq is None else seq,
        session="s",
        line="demo",
        camera="cam0",
        frame_seq=frame,
        evaluation=evaluation,
        reason="ok",
        fail_safe=False,
    )


def test_help_needs_nothing_but_python(repository: Path) -> None:
    command = [sys.executable, "-S", str(repository / "tools" / "demo"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--parts" in done.stdout
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("wrong", [["--parts", "0"], ["--rate", "0"], ["--rate", "nan"], ["--engine", "steam"]])
def test_wrong_usage_is_seen_before_anything_is_made(demo: list[str], wrong: list[str]) -> None:
    assert subprocess.run([*demo, *wrong], capture_output=True, timeout=60).returncode == 2


def test_the_seed_alone_decides_which_parts_come() -> None:
    first = mix(CELLS, UNSEEN, 45, seed=3)
    assert first == mix(CELLS, UNSEEN, 45, seed=3)
    assert first != mix(CELLS, UNSEEN, 45, seed=4)
    assert set(first) == {*CELLS, *UNSEEN}


def test_cells_come_again_only_after_all_have_been() -> None:
    counted = Counter(mix(CELLS, UNSEEN, 105, seed=3))
    assert [counted[part] for part in UNSEEN] == [1] * len(UNSEEN)
    assert {counted[part] for part in CELLS} == {2, 3}


@pytest.mark.parametrize(("parts", "unseen"), [(1, 0), (4, 0), (5, 1), (50, 5), (200, 20)])
def test_one_in_ten_is_unseen(parts: int, unseen: int) -> None:
    assert unseen_among(parts) == unseen


def test_crops_are_where_the_seed_says_and_differ(tmp_path: Path) -> None:
    picture = tmp_path / "brick.png"
    cv2.imwrite(str(picture), np.random.default_rng(5).integers(0, 256, (512, 400), np.uint8))
    crops = [read_image(part.path) for part in cut_unseen([picture], 4, seed=5, into=tmp_path)]
    assert {crop.shape for crop in crops} == {(CROP, CROP)}
    assert len({crop.tobytes() for crop in crops}) == 4


@pytest.mark.parametrize(
    ("label", "hit"),
    [("good", Evaluation.OK), ("defect", Evaluation.NOT_OK), ("unseen", Evaluation.NOT_DECIDABLE)],
)
def test_a_hit_is_what_the_label_asks_for(label: Label, hit: Evaluation) -> None:
    record = Record([Part(Path("a.png"), "solar_mono", label)] * len(Evaluation))
    for evaluation in Evaluation:
        record.add(verdict(int(evaluation), evaluation), 2.0)
    figures = record.figures()
    assert figures["hits"] == 1
    assert record.exact
    assert record.answers[int(hit)].evaluation == hit == record.parts[0].expected
    assert (figures["p50_ms"], figures["p99_ms"]) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("frames", "seqs"),
    [((0, 1), (0, 1)), ((0, 1, 1), (0, 1, 2)), ((0, 1, 2), (0, 1, 3)), ((0, 1, 7), (0, 1, 2))],
    ids=["unanswered", "repeated", "lost", "never sent"],
)
def test_anything_but_one_verdict_a_frame_is_told(frames: tuple[int, ...], seqs: tuple[int, ...]) -> None:
    record = Record(CELLS[:3])
    for frame, seq in zip(frames, seqs, strict=True):
        record.add(verdict(frame, Evaluation.OK, seq), 1.0)
    assert not record.exact


def test_its_line_keeps_all_but_addresses_and_other_judges(tmp_path: Path) -> None:
    given = tmp_path / "given.toml"
    given.write_text(
        'line = "a"\nframes = "ipc:///f"\nverdicts = "ipc:///v"\nbundles = "b"\ngate = "g"\ndeadline_ms = 80.5\n'
        '[judges.solar_mono]\nbundle = "m"\nthreshold = 0.25\n[judges.screw]\nbundle = "s"\n[limits]\npixels = 9\n'
    )
    line = read_line(given)
    own = read_line(write_line(line, tmp_path, ["solar_mono"], "onnx")).config
    assert own.frames == f"ipc://{tmp_path}/frames"
    assert own.bundles == str(tmp_path / "b")
    assert own.judges == {"solar_mono": line.config.judges["solar_mono"]}
    assert (own.gate, own.engine, own.deadline_ms, own.limits) == ("g", "onnx", 80.5, line.config.limits)


def test_a_daemon_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    config = tmp_path / "line.toml"
    config.write_text('line = "a"\nframes = "ipc:///f"\nverdicts = "ipc:///v"\nbundels = "b"\n[judges]\n')
    with daemon(config, tmp_path) as (child, notified), pytest.raises(Ended, match="bundels") as caught:
        wait_ready(child, notified, print)
    assert caught.value.exit_code == 10


@pytest.mark.usefixtures("ready")
def test_a_real_run(demo: list[str], tmp_path: Path, temporary: Path) -> None:
    out = tmp_path / "pictures"
    arguments = ["--parts", "20", "--rate", "10", "--pictures", "2", "--out", str(out), "--json"]
    done = subprocess.run([*demo, *arguments], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    groups = figures["groups"].values()
    assert figures["parts"] == sum(figures["evaluations"].values()) == sum(group["parts"] for group in groups) == 20
    assert figures["hits"] == sum(group["hits"] for group in groups)
    assert figures["groups"]["unseen"]["parts"] == 2
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    pictures = list(out.glob("*.png"))
    assert len(pictures) == figures["pictures"] == min(2, figures["evaluations"]["NotOK"])
    assert all(cv2.imread(str(picture)) is not None for picture in pictures)
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("ready")
def test_ctrl_c_leaves_nothing_behind(demo: list[str], temporary: Path) -> None:
    with subprocess.Popen([*demo, "--rate", "2"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # stdout=PIPE
        assert next(rows(process.stdout))
        assert processes_of(temporary)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not processes_of(temporary)
    assert not list(temporary.iterdir())


def rows(output: IO[str]) -> Iterator[str]:
    return (line for line in output if line.startswith("cell"))


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended meanwhile
    return [command for command in found if f"{folder}{os.sep}" in command]
