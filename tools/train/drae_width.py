"""`python -m tools.train.drae_width`: what a DRAE patch of 256 px costs on this box, by width, engine and precision.

The weights are random: no word on accuracy. Width is the first stage's number of filters and doubles from stage to
stage (the paper: 128 to 1024). Each is built as the paper has it, with block C halving, and with block A halving: then
only the encoder's first convolution works at full resolution, where it spends most of its time otherwise.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge.bundle import Precision
from edge.engines.session import ENGINES, READS, Engine, Floats, open_session
from edge.errors import EngineError
from edge.offline.export import to_onnx, to_program, to_tflite
from edge.offline.quantize import quantize_onnx, quantize_tflite, ranges_of, tflite_ranges
from tools.train.networks.drae import SIDE, Drae, Halving, Widths, on_the_line

WIDTHS = (4, 8, 12, 16)
FULL = 128
SLOT_MS = 8.0  # 60 patches within 500 ms, with everything else
WARM_UP, RUNS = 3, 24
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
Row = tuple[str, ...]


def doubling(width: int) -> Widths:
    return width, 2 * width, 4 * width, 8 * width


def settled(widths: Widths, halving: Halving, images: Floats) -> Drae:
    """Random weights, but norms that know the activations' scale: without it they fade from layer to layer, and there
    would be nothing to quantise."""
    torch.manual_seed(0)
    model = Drae(widths, halving)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 1.0
    with torch.no_grad():
        model.generator(torch.from_numpy(images))
    return model.eval()


def gflop(widths: Widths, halving: Halving) -> float:
    """Of one patch, a multiplication and an addition counted as two; no weight is allocated for it."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        on_the_line(Drae(widths, halving))(torch.empty(1, 1, SIDE, SIDE))
    return float(counter.get_total_flops()) / 1e9


def graphs(net: nn.Module, images: Floats) -> Iterator[tuple[str, Precision, bytes]]:
    """The four files of a bundle: format, precision and bytes."""
    program = to_program(net, torch.from_numpy(images[:2]))
    graph, tflite = to_onnx(program, ("reconstruction",)), to_tflite(program, images.shape[1:])
    model = onnx.load_from_string(graph)
    yield "onnx", "fp32", graph
    yield "onnx", "int8", quantize_onnx(model, ranges_of(model, images))
    yield "tflite", "fp32", tflite
    yield "tflite", "int8", quantize_tflite(tflite, tflite_ranges(tflite, images))


def patch_ms(engine: Engine, graph: bytes, patch: Floats, threads: int) -> float:
    """Milliseconds a patch; the lower quartile, because a busy neighbour only ever adds. Infinite where the engine
    refuses the graph."""
    try:
        session = open_session(engine, graph, threads, "cpu")
    except EngineError as error:
        print(error, file=sys.stderr)
        return math.inf
    times = []
    for _ in range(WARM_UP + RUNS):
        began = time.perf_counter_ns()
        session.run(patch)
        times.append(time.perf_counter_ns() - began)
    session.close()
    return float(np.quantile(times[WARM_UP:], 0.25)) / 1e6


def measure(widths: Widths, halving: Halving, threads: int) -> Row:
    images = np.random.default_rng(0).random((4, 1, SIDE, SIDE), dtype=np.float32)
    files = {
        (form, precision): graph
        for form, precision, graph in graphs(on_the_line(settled(widths, halving, images)), images)
    }
    times = {(e, p): patch_ms(e, files[READS[e][-1], p], images[:1], threads) for p in PRECISIONS for e in ENGINES}
    least = min(ms for (_, precision), ms in times.items() if precision == "int8")
    size = sum(len(graph) for graph in files.values()) / 1e6
    shown = (f"{ms:.1f}" if ms < math.inf else "-" for ms in times.values())
    name = " ".join(map(str, widths))
    return name, halving, f"{gflop(widths, halving):.2f}", f"{size:.0f}", *shown, "yes" if least <= SLOT_MS else "no"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.drae_width", description=__doc__)
    parser.add_argument("--width", type=int, action="append", help="first stage's filters; repeatable")
    parser.add_argument("--widths", action="append", metavar="A,B,C,D", help="all four stages' filters; repeatable")
    parser.add_argument("--halving", choices=("A", "C"), action="append", help="the block that halves; repeatable")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    chosen = [doubling(width) for width in given.width or (() if given.widths else WIDTHS)]
    for text in given.widths or ():
        a, b, c, d = (int(part) for part in text.split(","))
        chosen.append((a, b, c, d))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {given.threads} threads; milliseconds a patch")
    halvings: list[Halving] = given.halving or ["C", "A"]
    for halving in halvings:
        print(f"the paper's full width, block {halving} halving: {gflop(doubling(FULL), halving):.0f} GFLOP a patch")
    engines = (f"{engine} {precision}" for precision in PRECISIONS for engine in ENGINES)
    head = ("filters", "halves", "GFLOP", "MB", *engines, f"INT8 within {SLOT_MS:g} ms")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for widths in chosen:
        for halving in halvings:
            print(f"| {' | '.join(measure(widths, halving, given.threads))} |", flush=True)


if __name__ == "__main__":
    main()
