"""`python -m tools.train.curves [RUN ...]`: a training's losses by epoch, training.json drawn as training.png.

The trainer draws each training at its end; this is for those that are there already (default: all in runs). A part that
has an optimiser of its own has a curve of its own; trainings of before there were parts kept bare numbers: one curve.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError

WIDTH, HEIGHT = 720, 400
LEFT, TOP, RIGHT, BOTTOM = 70, 40, 20, 40  # what is left free around the curves
COLOURS = ((180, 90, 20), (30, 110, 230), (60, 150, 60), (140, 60, 150))  # BGR
BLACK, GREY = (0, 0, 0), (225, 225, 225)


def read_curves(path: Path) -> dict[str, list[float]]:
    """Each part's losses, epoch after epoch. Raises DataError where the training has not ended, or there are none."""
    try:
        losses = json.loads(path.read_text())["loss"]
        epochs = [loss if isinstance(loss, dict) else {"": loss} for loss in losses]
        return {part or "loss": [float(epoch[part]) for epoch in epochs] for part in epochs[0]}
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there: it is written when a training ends") from error
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} holds no losses: {error!r}") from error


def draw(title: str, curves: dict[str, list[float]]) -> NDArray[np.uint8]:
    """`(HEIGHT, WIDTH, 3)` BGR. The losses' axis is logarithmic where all are above 0; infinite ones are left out."""
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    finite = [loss for losses in curves.values() for loss in losses if math.isfinite(loss)] or [1.0]
    low, high = min(finite), max(finite)
    logarithmic = low > 0
    level = math.log if logarithmic else float
    epochs = max(map(len, curves.values()))

    def at(epoch: float, loss: float) -> tuple[int, int]:
        along = (epoch - 1) / max(epochs - 1, 1)
        up = (level(loss) - level(low)) / ((level(high) - level(low)) or 1.0)
        return round(LEFT + along * (WIDTH - LEFT - RIGHT)), round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))

    def write(text: str, x: int, y: int, colour: tuple[int, int, int] = BLACK) -> None:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)

    for loss in (np.geomspace if logarithmic else np.linspace)(low, high, 5).tolist():
        y = at(1, min(max(loss, low), high))[1]
        cv2.line(picture, (LEFT, y), (WIDTH - RIGHT, y), GREY)
        write(f"{loss:.3g}", 8, y + 4)
    for epoch in sorted({round(float(epoch)) for epoch in np.linspace(1, epochs, 6)}):
        x, y = at(epoch, low)
        cv2.line(picture, (x, TOP), (x, y), GREY)
        write(str(epoch), x - 8, y + 18)
    for number, (part, losses) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [at(epoch, loss) for epoch, loss in enumerate(losses, 1) if math.isfinite(loss)]
        for begin, end in pairwise(points if len(points) > 1 else 2 * points):
            cv2.line(picture, begin, end, colour, 2, cv2.LINE_AA)
        write(part, WIDTH - RIGHT - 110, TOP + 16 + 18 * number, colour)
    write(f"{title}: loss by epoch{', logarithmic' if logarithmic else ''}", LEFT, 22)
    return picture


def draw_run(run: Path) -> Path:
    """training.png of a run's training.json. Raises DataError where that is not there or the picture not written."""
    path = run / "training.png"
    if not cv2.imwrite(str(path), draw(run.name, read_curves(run / "training.json"))):
        raise DataError(f"cannot write {path}; is the folder writable?")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.curves", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="default: each in runs that has ended")
    given = parser.parse_args()
    for run in given.runs or [path.parent for path in sorted(Path("runs").glob("*/training.json"))]:
        print(draw_run(run))


if __name__ == "__main__":
    main()
