"""The machine's own ceiling: the products a second of a large matrix product, in FP32 and in INT8 (Williams 2009)."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from edge.engines.session import installed

SIDE, RUNS = 1024, 8
OPERATIONS = 2 * SIDE**3  # a product and a sum
LAYERS = (*("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"),)
INT8_GRAPH = Path(__file__).with_name("matmul_int8.onnx")  # one MatMulInteger; tests/bench/test_ceiling.py makes it


class Ceiling(msgspec.Struct, frozen=True):
    """Thousand million operations a second, the best of some runs on so many threads; int8: None where ONNX Runtime,
    whose product it is, is not installed."""

    fp32_gflops: float
    int8_gops: float | None
    threads: int


def measure(threads: int) -> Ceiling:
    rng = np.random.default_rng(0)
    left, right = (rng.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    out = np.empty_like(left)
    with threadpool_limits(limits=threads, user_api="blas"):
        fp32 = _best(lambda: np.matmul(left, right, out=out))
    return Ceiling(round(fp32, 1), _int8(threads), threads)


def higher(one: Ceiling, other: Ceiling) -> Ceiling:
    """Of two measurements, as a busy neighbour only ever takes."""
    int8 = [value for value in (one.int8_gops, other.int8_gops) if value is not None]
    return Ceiling(max(one.fp32_gflops, other.fp32_gflops), max(int8, default=None), one.threads)


def _int8(threads: int) -> float | None:
    if not installed("onnx"):
        return None
    from edge.engines.onnx import open_native

    session = open_native(INT8_GRAPH.read_bytes(), threads, "cpu")
    rng = np.random.default_rng(0)
    given = {
        "left": rng.integers(0, 127, (SIDE, SIDE), np.uint8),
        "right": rng.integers(-63, 63, (SIDE, SIDE), np.int8),
    }
    return round(_best(lambda: session.run(None, given)), 1)


def _best(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(RUNS):
        started = perf_counter_ns()
        work()
        spent.append(perf_counter_ns() - started)
    return OPERATIONS / min(spent)


def operations(path: Path) -> float | None:
    """Thousand million operations (products and sums) of one run of a graph file's network, with a batch of one where
    it is open; None where OpenVINO, which reads every format, is not installed or does not read it."""
    if not installed("openvino"):
        return None
    import openvino as ov

    try:
        model = ov.Core().read_model(path)
        for port in model.inputs:
            shape = port.partial_shape
            if len(shape) and shape[0].is_dynamic:
                shape[0] = 1
                model.reshape({port: shape})
        return sum(_of(node) for node in model.get_ordered_ops()) / 1e9
    except RuntimeError:
        return None


def _of(node: Any) -> float:
    """A (de)convolution's or a matrix product's: two for each weight that an output meets, or an input where the
    layer is a deconvolution."""
    kind = node.get_type_name()
    if kind not in LAYERS:
        return 0.0
    shapes: tuple[list[int], ...] = tuple(
        list(value.get_shape()) for value in (node.output(0), node.input_value(0), node.input_value(1))
    )
    out, first, weights = shapes
    if kind == "MatMul":
        return 2.0 * prod(out) * (first[-2] if node.get_attributes()["transpose_a"] else first[-1])
    places = first if "Backprop" in kind else out
    return 2.0 * prod(weights) * prod(places[2:]) * places[0]
