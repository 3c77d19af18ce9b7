"""Convolutions of few channels run over two columns at once in LiteRT: the same bits, less memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.engines.session import open_session

torch = pytest.importorskip("torch", reason="what is quantised comes from torch: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="TFLite files are litert-torch's: pip install '.[train]'")
pytest.importorskip("ai_edge_quantizer", reason="LiteRT's INT8 is ai-edge-quantizer's: pip install '.[train]'")

from ai_edge_litert.tools import flatbuffer_utils  # noqa: E402  # after the skip
from ai_edge_quantizer.utils import tfl_flatbuffer_utils  # noqa: E402  # after the skip
from torch import Tensor, nn  # noqa: E402  # after the skip
from torch.nn import functional  # noqa: E402  # after the skip

from edge.offline.export import to_program, to_tflite  # noqa: E402  # after the skip
from edge.offline.quantize import quantize_tflite, tflite_ranges  # noqa: E402  # after the skip
from edge.offline.tflite_pairs import in_pairs, pair_columns  # noqa: E402  # after the skip

Floats = NDArray[np.float32]
HEIGHT, WIDTH = 128, 256


class Few(nn.Module):
    """A network of few channels; `changed` is its second layer."""

    def __init__(self, changed: nn.Module, first: int) -> None:
        super().__init__()
        self.first, self.changed = nn.Conv2d(1, 8, first, padding=first // 2), changed

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(functional.relu(self.changed(functional.relu(self.first(x)))), 2)


def pictures(width: int = WIDTH, count: int = 6) -> Floats:
    return np.random.default_rng(5).standard_normal((count, 1, HEIGHT, width)).astype(np.float32)


def exported(changed: nn.Module, width: int = WIDTH, first: int = 5) -> bytes:
    torch.manual_seed(1)
    return to_tflite(to_program(Few(changed, first), torch.zeros(2, 1, HEIGHT, width)), (1, HEIGHT, width))


def in_int8(tflite: bytes, width: int = WIDTH) -> bytes:
    return quantize_tflite(tflite, tflite_ranges(tflite, pictures(width)))


def answers(tflite: bytes) -> list[Floats]:
    session = open_session("litert", tflite, 2, "cpu")
    try:
        return [np.copy(session.run(image[None])[0]) for image in pictures()]
    finally:
        session.close()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3, 5]), st.sampled_from([5, 7, 9, 15]), st.integers(0, 99)
)
def test_a_kernel_for_two_columns_answers_as_the_kernel_for_one(
    out: int, channels: int, height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (out, height, width, channels)).astype(np.float64)
    image = rng.integers(-128, 128, (6, 20, channels)).astype(np.float64)
    single = convolved(image, weights)
    paired = convolved(image.reshape(6, 10, 2 * channels), pair_columns(weights))
    np.testing.assert_array_equal(paired.reshape(single.shape), single)


def convolved(image: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(h, w, in)` by `(out, h, w, in)`, its edges padded with zeros -> `(h, w, out)`."""
    kernel = torch.from_numpy(weights).permute(0, 3, 1, 2)
    pads = (kernel.shape[2] // 2, kernel.shape[3] // 2)
    made = functional.conv2d(torch.from_numpy(image).permute(2, 0, 1)[None], kernel, padding=pads)[0]
    return np.asarray(made.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("kernel", [5, 7])
def test_the_network_answers_the_same_bits(kernel: int, precision: str) -> None:
    before = exported(nn.Conv2d(8, 16, kernel, padding=kernel // 2))
    before = in_int8(before) if precision == "int8" else before
    after = in_pairs(before)
    assert after != before
    for wanted, found in zip(answers(before), answers(after), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_network_without_a_bias_is_left_as_it_was() -> None:
    model = tfl_flatbuffer_utils.read_model(exported(nn.Conv2d(8, 8, 5, padding=2)))
    for operator in model.subgraphs[0].operators:
        if len(operator.inputs) == 3:
            operator.inputs[2] = -1
    before = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    assert in_pairs(before) is before


def test_it_takes_less_memory(tmp_path: Path) -> None:
    before = in_int8(exported(nn.Conv2d(8, 8, 5, padding=2)))
    grown = []
    for name, data in (("before", before), ("after", in_pairs(before))):
        (tmp_path / name).write_bytes(data)
        grown.append(memory_of(tmp_path / name))
    assert grown[0] - grown[1] > 5e6  # two layers of 25 addresses a pixel become 15 for two


def memory_of(tflite: Path) -> int:
    """Bytes that a process takes for it."""
    script = f"""
import re, numpy as np
from pathlib import Path
from ai_edge_litert.interpreter import Interpreter
resident = lambda: 1024 * int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = resident()
network = Interpreter(model_content=Path({str(tflite)!r}).read_bytes(), num_threads=1)
network.allocate_tensors()
network.set_tensor(network.get_input_details()[0]["index"], np.zeros((1, 1, {HEIGHT}, {WIDTH}), np.float32))
network.invoke()
print(resident() - before)
"""
    return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize(
    ("changed", "width"),
    [
        (nn.Conv2d(8, 8, 3, padding=1), WIDTH),
        (nn.Conv2d(8, 8, 5, padding=2), WIDTH - 1),
        (nn.Conv2d(8, 32, 5, padding=2), WIDTH),
        (nn.Conv2d(8, 8, 5, padding=2, stride=2), WIDTH),
        (nn.Conv2d(8, 8, 5, padding=4, dilation=2), WIDTH),
        (nn.Conv2d(8, 8, 5, padding=2), 16),
    ],
    ids=["three wide", "an odd number of columns", "many channels", "every other place", "spread out", "small"],
)
def test_what_gains_nothing_is_left_as_it_was(changed: nn.Module, width: int) -> None:
    before = in_int8(exported(changed, width, first=3), width)
    assert in_pairs(before) is before
