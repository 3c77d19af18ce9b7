"""`python -m tools.train.curves [RUN ...]`: a training's losses by epoch, training.json drawn as training.png.

The trainer draws each training at its end; this is for those that are there already (default: all in runs). A part that
has an optimiser of its own has a curve of its own; trainings of before there were parts kept bare numbers: one curve.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

from edge.errors import DataError


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


def draw(title: str, curves: dict[str, list[float]]) -> Figure:
    """The losses' axis is logarithmic where all are above 0."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for part, losses in curves.items():
        axes.plot(range(1, len(losses) + 1), losses, marker="." if len(losses) == 1 else None, label=part)
    if min(map(min, curves.values())) > 0:
        axes.set_yscale("log")
    axes.set(title=title, xlabel="epoch", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def draw_run(run: Path) -> Path:
    """training.png of a run's training.json. Raises DataError where that is not there."""
    path = run / "training.png"
    draw(run.name, read_curves(run / "training.json")).savefig(path)
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
