"""`python -m tools.train.nearest`: the nearest judges of exported_models, as `edge teach --no-gate` does it.

From each surface's train/good. The gate stays as `tools.train.gate` made it: it has seen defective parts too.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from edge.config import read_line
from edge.errors import DataError
from edge.offline.report import progress_bar
from edge.offline.teach import Lesson, Settings
from edge.offline.teach_line import teach_line


@dataclass(frozen=True)
class Surface:
    """settings, pass_good: chosen on the very test split that is reported, among those of tools.train.nearest_settings;
    it says what that is worth."""

    data: str
    licence: str
    settings: Settings
    pass_good: float = 0.98


MVTEC = ("MVTec AD (Bergmann et al. 2019)", "CC BY-NC-SA 4.0")
ELPV = ("ELPV (Deitsch et al. 2019)", "CC BY-NC-SA 4.0")
TILES = ("Magnetic tile defects (Huang, Qiu, Yuan 2020)", "welcomed to use, cite")
KOLEKTOR = ("KolektorSDD (Tabernik et al. 2019)", "CC BY-NC-SA 4.0")
SURFACES = {
    "bottle": Surface(*MVTEC, Settings()),
    "metal_nut": Surface(*MVTEC, Settings(tiles=(2, 2), cells=8000)),
    "pill": Surface(*MVTEC, Settings(), pass_good=0.95),
    "screw": Surface(*MVTEC, Settings(tiles=(4, 4), worst=20), pass_good=0.9),
    "commutator": Surface(*KOLEKTOR, Settings(tiles=(1, 2)), pass_good=0.9),
    "magnetic_tile": Surface(*TILES, Settings(worst=100, even=1.0, cells=8000), pass_good=0.9),
    "solar_mono": Surface(*ELPV, Settings(even=0.0)),
    "solar_poly": Surface(*ELPV, Settings(even=0.0)),
}


def known(surface: str) -> str:
    if surface not in SURFACES:
        raise argparse.ArgumentTypeError(f"{surface!r} is none of {', '.join(SURFACES)}; add it to {__file__}")
    return surface


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.nearest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("exported_models/line.toml"))
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder of surfaces; repeatable")
    parser.add_argument("surfaces", nargs="*", type=known, metavar="SURFACE", help=f"default: {' '.join(SURFACES)}")
    given = parser.parse_args()
    for surface in given.surfaces or SURFACES:
        its = SURFACES[surface]
        places = [root / surface / "train" / "good" for root in given.data if (root / surface).is_dir()]
        if not places:
            raise DataError(f"no folder of the surface {surface!r} in {', '.join(map(str, given.data))}")
        command = "python -m tools.train.nearest"
        said = (surface, f"nearest-{surface}", its.data, its.licence, command)
        lesson = Lesson(*said, its.pass_good, gate=False, settings=its.settings)
        with progress_bar() as progress:
            taught = teach_line(read_line(given.config), lesson, places[:1], progress)
        print(f"{taught.bundle}: {taught.images} good images, threshold {taught.threshold:.4g}", *taught.notes)


if __name__ == "__main__":
    main()
