"""A bundle around one convolution, and labelled plates with bright spots that it finds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Scoring, Thresholds, Training
from edge.offline.pack import write_bundle
from edge.vision.image import InputRule

HEIGHT, WIDTH = 32, 48
INT8 = "model.int8.onnx"


def blur(centre: float = 0.6, constant: float = 0.0) -> bytes:
    """`(n, 1, 32, 48)` -> a map of the same size: a pixel and, with little weight, its eight neighbours."""
    import onnx

    helper = onnx.helper
    weights = np.full((1, 1, 3, 3), 0.05, np.float32)
    weights[0, 0, 1, 1] = centre
    shape: list[str | int | None] = ["n", 1, HEIGHT, WIDTH]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["in", "weight", "bias"], ["map"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
        "blur",
        [helper.make_tensor_value_info("in", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("map", onnx.TensorProto.FLOAT, shape)],
        [
            onnx.numpy_helper.from_array(weights, "weight"),
            onnx.numpy_helper.from_array(np.full(1, constant, np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def write_blur(path: Path, int8: bytes | None, fp32: bytes | None = None) -> Bundle:
    fields: dict[str, object] = {
        "name": path.name,
        "kind": "map",
        "surfaces": ("plate",),
        "input": InputRule(width=WIDTH, height=HEIGHT),
        "outputs": ("map",),
        "thresholds": Thresholds(score=0.5, map=0.5, how="by hand"),
        "scoring": Scoring(answer="score"),
        "training": Training(data="drawn", licence="none", images=0, date="-", command="-"),
    }
    return write_bundle(path, fields, {"model.onnx": fp32 or blur(), **({INT8: int8} if int8 else {})})


def draw(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def draw_plates(root: Path) -> None:
    """plate/test/{good,spot}, the spots with masks; half of them of twice the input's size."""
    rng = np.random.default_rng(5)
    for number in range(6):
        size = (HEIGHT * (1 + number % 2), WIDTH * (1 + number % 2))
        good, spot = (rng.integers(55, 66, size).astype(np.uint8) for _ in range(2))
        mask = np.zeros(size, np.uint8)
        mask[8 : 16 + number, 10:20] = 255
        spot[mask > 0] = 200
        draw(root / f"plate/test/good/{number}.png", good)
        draw(root / f"plate/test/spot/{number}.png", spot)
        draw(root / f"plate/ground_truth/spot/{number}_mask.png", mask)
