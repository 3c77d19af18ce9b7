"""training.png: the losses of training.json, epoch by epoch, a curve for each part."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import DataError

pytest.importorskip("matplotlib", reason="pip install -e '.[train]': the test draws")

from tools.train.curves import draw, draw_run, read_curves


def test_each_part_has_a_curve_on_a_logarithmic_axis() -> None:
    (axes,) = draw("both", {"generator": [4.0, 2.0, 1.0], "discriminator": [2.0] * 3}).axes
    assert axes.get_yscale() == "log"
    assert [(line.get_label(), np.asarray(line.get_xdata()).tolist()) for line in axes.lines] == [
        ("generator", [1, 2, 3]),
        ("discriminator", [1, 2, 3]),
    ]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [4.0, 2.0, 1.0]


def test_losses_below_zero_have_an_even_axis_and_a_single_epoch_is_a_point() -> None:
    (axes,) = draw("short", {"loss": [-0.5]}).axes
    assert axes.get_yscale() == "linear" and axes.lines[0].get_marker() == "."


@pytest.mark.parametrize("losses", [[0.5, 0.25], [{"": 0.5}, {"": 0.25}]], ids=["bare numbers", "of the whole network"])
def test_both_kinds_of_report_are_read(tmp_path: Path, losses: list[object]) -> None:
    (tmp_path / "training.json").write_text(json.dumps({"loss": losses, "seconds": 1, "images": 2}))
    assert read_curves(tmp_path / "training.json") == {"loss": [0.5, 0.25]}
    assert draw_run(tmp_path) == tmp_path / "training.png"
    drawn = cv2.imread(str(tmp_path / "training.png"))
    assert drawn is not None and drawn.std() > 0


@pytest.mark.parametrize("text", ["{cut off", "{}", '{"loss": []}', '{"loss": [{"a": 1}, {"b": 1}]}', '{"loss": [[]]}'])
def test_what_holds_no_losses_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="when a training ends"):
        draw_run(tmp_path)
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(DataError, match=r"training\.json holds no losses"):
        draw_run(tmp_path)
