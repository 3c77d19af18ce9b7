"""training.png: the losses of training.json, epoch by epoch, a curve for each part."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import DataError
from tools.train.curves import BOTTOM, COLOURS, HEIGHT, LEFT, TOP, WIDTH, draw, draw_run, read_curves

PLOT = np.s_[TOP + 40 : HEIGHT - BOTTOM + 3]  # below the names of the parts


def heights(picture: NDArray[np.uint8], number: int) -> list[float]:
    """Where one part's curve is, column by column of the plot, from the top; NaN where it is not."""
    there = (picture[PLOT] == COLOURS[number]).all(axis=2)
    return [float(np.flatnonzero(column).mean()) if column.any() else math.nan for column in there.T]


def test_a_falling_loss_falls_and_a_steady_one_is_level() -> None:
    falling = [10.0 * 0.8**epoch for epoch in range(20)]
    picture = draw("both", {"generator": falling, "discriminator": [2.0] * 20})
    assert picture.shape == (HEIGHT, WIDTH, 3)
    first, second = np.array(heights(picture, 0)), np.array(heights(picture, 1))
    columns = np.flatnonzero(np.isfinite(first))
    slope, offset = np.polyfit(columns, first[columns], 1)
    assert len(columns) > (WIDTH - LEFT) / 2 and slope * np.ptp(columns) > 200
    # On a logarithmic axis an even decay is a straight line.
    assert np.abs(first[columns] - slope * columns - offset).max() < 6
    assert np.nanmax(second) - np.nanmin(second) < 3


def test_what_is_not_finite_is_left_out_and_losses_below_zero_are_drawn_too() -> None:
    picture = draw("broken", {"loss": [3.0, math.nan, -1.0, math.inf]})
    assert np.isfinite(heights(picture, 0)).any()
    assert np.isnan(heights(draw("lost", {"loss": [math.nan] * 3}), 0)).all()


def test_a_single_epoch_is_a_point() -> None:
    assert (draw("short", {"loss": [0.5]})[:, LEFT - 2 : LEFT + 3] == COLOURS[0]).all(axis=2).any()


@pytest.mark.parametrize("losses", [[0.5, 0.25], [{"": 0.5}, {"": 0.25}]], ids=["bare numbers", "of the whole network"])
def test_both_kinds_of_report_are_read(tmp_path: Path, losses: list[object]) -> None:
    (tmp_path / "training.json").write_text(json.dumps({"loss": losses, "seconds": 1, "images": 2}))
    assert read_curves(tmp_path / "training.json") == {"loss": [0.5, 0.25]}
    assert draw_run(tmp_path) == tmp_path / "training.png"
    drawn = cv2.imread(str(tmp_path / "training.png"))
    assert drawn is not None and np.array_equal(drawn, draw(tmp_path.name, {"loss": [0.5, 0.25]}))


@pytest.mark.parametrize("text", ["{cut off", "{}", '{"loss": []}', '{"loss": [{"a": 1}, {"b": 1}]}', '{"loss": [[]]}'])
def test_what_holds_no_losses_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="when a training ends"):
        draw_run(tmp_path)
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(DataError, match=r"training\.json holds no losses"):
        draw_run(tmp_path)
