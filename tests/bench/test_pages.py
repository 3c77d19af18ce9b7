"""edge-bench report: the page stands alone, says everything, and its plots are pictures."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from edge.bench.accuracy import Point, front
from edge.bench.cli import main
from edge.config import Line
from tests.bench.made_report import course, report, row, write

pytest.importorskip("matplotlib", reason="matplotlib, which draws the plots, is not here (extra `report`)")
pytestmark = [pytest.mark.usefixtures("own_cache"), pytest.mark.filterwarnings("error:constrained_layout")]
HOSTILE = '<script>alert(1)</script>"& $x_1$ \\frac'
STAGE = {"samples": 800, "p50_ms": 10.0, "p90_ms": 11.0, "p95_ms": 11.0, "p99_ms": 12.0, "p99_upper_ms": None}
CHECK: dict[str, object] = {
    "stage": "frame",
    "target_ms": 11.5,
    "answer": "FAIL",
    "samples": 800,
    "samples_needed": 662,
}
CHECK |= {"percentile": 0.99, "estimate_ms": 11.6, "upper_ms": 11.9}
RAN = {"bundle": "b", "sha256": "1", "file": "m", "engine": "onnx", "device": "cpu", "precision": "int8"}


def called(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)], catch_exceptions=False)


class Reader(HTMLParser):
    """The words, the tags, and whether each that was opened was closed."""

    EMPTY = frozenset({"meta", "br", "path", "use", "rect"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def measured(small_line: Line, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The page and the folder of PNGs of a real run, its bundle measured by hand."""
    folder = tmp_path_factory.mktemp("measured")
    bundle = folder / "smoother"
    bundle.mkdir()
    for path in (small_line.bundles / "smoother").iterdir():
        (bundle / path.name).write_bytes(path.read_bytes())
    with (bundle / "manifest.toml").open("a") as manifest:
        manifest.write("[measured]\nimage_auroc = 0.91\n")
    run = ["run", str(bundle), "--engine", "all", "--runs", "40", "--target-ms", "1000", "--out"]
    assert CliRunner().invoke(main, [*run, str(folder / "run.json")]).exit_code == 3
    done = called(folder / "run.json", "-o", folder / "page.html", "--png", folder / "png")
    assert done.exit_code == 0, done.output
    return folder / "page.html", folder / "png"


def test_the_page_of_a_real_run_stands_alone(measured: tuple[Path, Path]) -> None:
    page = measured[0].read_text()
    for outside in ("http", "src=", "<link", "@import", "xlink", "<script", "url(//"):
        assert outside not in page, outside
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', page))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "prefers-color-scheme:dark" in page and "@media print" in page


def test_the_page_of_a_real_run_says_all_of_it(measured: tuple[Path, Path]) -> None:
    read = Reader(measured[0].read_text())
    assert not read.open
    said = " ".join(read.words)
    for words in ("onnx/cpu/fp32", "INSUFFICIENT", "prepare", "frame, ms", "target 1000 ms", "image AUROC", "smoother"):
        assert words in said, words
    assert read.tags.count("svg") == 3


def test_the_drawings_take_their_colours_from_the_page(measured: tuple[Path, Path]) -> None:
    page = measured[0].read_text()
    drawings = "".join(re.findall(r"<svg .*?</svg>", page, re.DOTALL))
    assert "var(--ink)" in drawings and not re.search(r"#fe01[0-9a-f]{2}", drawings)
    named = set(re.findall(r"var\(--(\w+)\)", page))
    light, dark = (set(re.findall(r"--(\w+):", found)) for found in re.findall(r":root\{([^}]*)\}", page))
    assert named <= light == dark


def test_the_pngs_are_pictures(measured: tuple[Path, Path]) -> None:
    found = sorted(path.name for path in measured[1].iterdir())
    assert found == ["accuracy.png", "run-tail.png", "run-time.png"]
    for name in found:
        picture = cv2.imread(str(measured[1] / name))
        assert picture is not None and picture.shape[1] == 1440 and picture.std() > 1


def test_hostile_names_are_text(tmp_path: Path) -> None:
    slow = row(HOSTILE, course(1), stages={HOSTILE: STAGE, "frame": STAGE}, checks=[CHECK])
    lost = row(f"{HOSTILE} 2", [], why=HOSTILE)
    path = write(tmp_path / "a.json", report(slow, lost, subject=HOSTILE, box=HOSTILE, answer="FAIL"))
    assert called(path, "-o", tmp_path / "page.html").exit_code == 0
    read = Reader((tmp_path / "page.html").read_text())
    assert "script" not in read.tags and not read.open
    assert " ".join(read.words).count(HOSTILE) >= 6


def test_a_row_that_did_not_run_says_why_and_needs_no_plot(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", report(row("litert/cpu/int8", [], why="no such operator")))
    assert called(path, "-o", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert "no such operator" in page and "litert/cpu/int8" in page and "<svg" not in page


def test_the_roofline_is_drawn_where_there_is_a_ceiling(tmp_path: Path) -> None:
    one = row("onnx", course(1), stages={"run": STAGE, "frame": STAGE}, graphs=[RAN], gops=2.0)
    ceiling = {"fp32_gflops": 150.0, "int8_gops": 400.0}
    path = write(tmp_path / "a.json", report(one, ceiling=ceiling))
    assert called(path, "-o", tmp_path / "page.html").exit_code == 0
    said = " ".join(Reader((tmp_path / "page.html").read_text()).words)
    assert "50 % of the ceiling" in said  # 2 Gop in 10 ms are 200 a second
    write(path, report(one))
    assert called(path, "-o", tmp_path / "page.html").exit_code == 0
    assert "ceiling" not in (tmp_path / "page.html").read_text()


def test_many_reports_share_a_page(tmp_path: Path) -> None:
    paths = [tmp_path / "1" / "r.json", tmp_path / "2" / "r.json"]
    for n, path in enumerate(paths, 1):
        path.parent.mkdir()
        write(path, report(row(f"row {n}", course(n, 10)), subject=f"subject {n}"))
    assert called(*paths, "-o", tmp_path / "page.html", "--png", tmp_path / "png").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert all(f"{word} {n}" in page for word in ("row", "subject") for n in (1, 2))
    names = {path.name for path in (tmp_path / "png").iterdir()}
    assert names == {"r-1-tail.png", "r-1-time.png", "r-2-tail.png", "r-2-time.png"}


def test_bad_input_is_named(tmp_path: Path) -> None:
    good = write(tmp_path / "a.json", report(row("onnx", [], why="-")))
    bad = tmp_path / "b.json"
    bad.write_text("{}")
    done = called(good, bad, "-o", tmp_path / "page.html")
    assert done.exit_code == 16 and "b.json" in done.stderr and not (tmp_path / "page.html").exists()
    assert called(good, "-o", tmp_path / "nowhere" / "page.html").exit_code == 16
    assert called(good, "-o", tmp_path / "page.html", "--png", good / "png").exit_code == 16


POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_beats_all_the_others_and_none_of_its_own(drawn: list[tuple[int, int]]) -> None:
    points = [Point("b", str(n), accuracy / 5, ms, ms) for n, (accuracy, ms) in enumerate(drawn)]
    best = front(points)
    for point in points:
        better = [p for p in best if p.accuracy >= point.accuracy and p.p50_ms <= point.p50_ms]
        assert better
        if point in best:
            assert all((p.accuracy, p.p50_ms) == (point.accuracy, point.p50_ms) for p in better)
