"""tools/train/parity: INT8 goes from the bundles that flip most, until all together flip seldom enough."""

from __future__ import annotations

from typing import Any

from edge.offline.parity import Limits, Row
from edge.offline.parity_run import Parity
from tools.train.parity import MOST_FLIPS, flips_of, too_restless

FIGURES: dict[str, Any] = {
    **dict.fromkeys(("flips_outside", "to_ok", "outside"), 0),
    **dict.fromkeys(("iou", "shift", "auroc", "pixel_auroc", "aupro"), None),
    **dict.fromkeys(("auroc_lost", "pixel_auroc_lost", "aupro_lost"), None),
    "engine": "litert",
    "apart": 0.0,
    "apart_most": 0.0,
}


def parity(bundle: str, frames: int, flips: int, precision: str = "int8") -> Parity:
    """The quickest graph's row, and one that is slower and flips all."""
    graph = f"model.{precision}.tflite"
    quick = Row(**FIGURES, graph=graph, precision=precision, frames=frames, flips=flips)
    slow = Row(**FIGURES, graph="model.int8.onnx", precision="int8", frames=frames, flips=frames)
    own: dict[str, Any] = dict.fromkeys(("date", "host", "subject"), "")
    own |= {"data": (), "labelled": False, "limits": Limits(), "lost": (), "wrong": (), "faster": None}
    return Parity(**own, bundle=bundle, frames=frames, rows=(slow, quick), quickest=f"litert {graph}")


def test_only_the_quickest_graph_of_each_bundle_counts() -> None:
    assert flips_of([parity("tile", 500, 10), parity("nut", 1500, 0)]) == (10, 2000)


def test_the_bundle_that_flips_most_goes_first_and_none_at_the_bound() -> None:
    tile, cell, nut = parity("tile", 500, 9), parity("cell", 500, 6), parity("nut", 1000, 0)
    restless = too_restless([tile, cell, nut], ())
    assert restless is not None and restless.bundle == "tile"
    assert MOST_FLIPS * 2000 == 10
    assert too_restless([parity("cell", 1000, 10), parity("nut", 1000, 0)], ()) is None


def test_whose_graphs_others_borrow_keeps_them() -> None:
    gate, tile = parity("gate", 500, 400), parity("tile", 500, 9)
    restless = too_restless([gate, tile], {"gate"})
    assert restless is not None and restless.bundle == "tile"
    assert too_restless([gate], {"gate"}) is None


def test_int8_that_flips_nothing_does_not_pay_for_fp32_that_does() -> None:
    assert too_restless([parity("tile", 500, 400, "fp32"), parity("nut", 1000, 0)], ()) is None
