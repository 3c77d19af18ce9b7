"""`python -m tools.train.nearest`: the nearest judges of exported_models/line.toml, as `edge teach --no-gate` does it.

From each surface's train/good. The gate stays as `tools.train.gate` made it: it has seen defective parts too.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from edge.config import read_line
from edge.errors import DataError
from edge.offline.report import progress_bar
from edge.offline.teach import Lesson
from edge.offline.teach_line import teach_line


@dataclass(frozen=True)
class Surface:
    """tiles, worst, even: as in edge.offline.teach.Lesson, chosen on folds 0 to 3 of the test split."""

    data: str
    licence: str
    tiles: tuple[int, int] = (1, 1)
    worst: int = 10
    even: float = 0.5


MVTEC = ("MVTec AD (Bergmann et al. 2019)", "CC BY-NC-SA 4.0")
ELPV = ("ELPV (Deitsch et al. 2019)", "CC BY-NC-SA 4.0")
TILES = ("Magnetic tile defects (Huang, Qiu, Yuan 2020)", "welcomed to use, cite")
KOLEKTOR = ("KolektorSDD (Tabernik et al. 2019)", "CC BY-NC-SA 4.0")
SURFACES = {
    "bottle": Surface(*MVTEC),
    "metal_nut": Surface(*MVTEC, tiles=(2, 2), even=0.0),
    "pill": Surface(*MVTEC),
    "screw": Surface(*MVTEC, tiles=(3, 3), worst=20),
    "commutator": Surface(*KOLEKTOR, tiles=(2, 5), worst=30, even=1.0),
    "magnetic_tile": Surface(*TILES, worst=100, even=1.0),
    "solar_mono": Surface(*ELPV, even=0.0),
    "solar_poly": Surface(*ELPV, even=0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.nearest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("exported_models/line.toml"))
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder of surfaces; repeatable")
    given = parser.parse_args()
    for surface, its in SURFACES.items():
        places = [root / surface / "train" / "good" for root in given.data if (root / surface).is_dir()]
        if not places:
            raise DataError(f"no folder of the surface {surface!r} in {', '.join(map(str, given.data))}")
        command = "python -m tools.train.nearest"
        said = (surface, f"nearest-{surface}", its.data, its.licence, command)
        lesson = Lesson(*said, gate=False, tiles=its.tiles, worst=its.worst, even=its.even)
        with progress_bar() as progress:
            taught = teach_line(read_line(given.config), lesson, places[:1], progress)
        print(f"{taught.bundle}: {taught.images} good images, threshold {taught.threshold:.4g}", *taught.notes)


if __name__ == "__main__":
    main()
