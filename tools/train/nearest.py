"""`python -m tools.train.nearest`: the nearest judges of exported_models/line.toml, as `edge teach --no-gate` does it.

From each surface's train/good. The gate stays as `tools.train.gate` made it: it has seen defective parts too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.config import read_line
from edge.errors import DataError
from edge.offline.report import progress_bar
from edge.offline.teach import Lesson
from edge.offline.teach_line import teach_line

MVTEC = ("MVTec AD (Bergmann et al. 2019)", "CC BY-NC-SA 4.0")
ELPV = ("ELPV (Deitsch et al. 2019)", "CC BY-NC-SA 4.0")
SURFACES = {"bottle": MVTEC, "metal_nut": MVTEC, "pill": MVTEC, "solar_mono": ELPV, "solar_poly": ELPV}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.nearest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("exported_models/line.toml"))
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder of surfaces; repeatable")
    given = parser.parse_args()
    for surface, (data, licence) in SURFACES.items():
        places = [root / surface / "train" / "good" for root in given.data if (root / surface).is_dir()]
        if not places:
            raise DataError(f"no folder of the surface {surface!r} in {', '.join(map(str, given.data))}")
        command = "python -m tools.train.nearest"
        lesson = Lesson(surface, f"nearest-{surface}", data, licence, command, gate=False)
        with progress_bar() as progress:
            taught = teach_line(read_line(given.config), lesson, places[:1], progress)
        print(f"{taught.bundle}: {taught.images} good images, threshold {taught.threshold:.4g}", *taught.notes)


if __name__ == "__main__":
    main()
