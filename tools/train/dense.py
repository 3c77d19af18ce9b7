"""`python -m tools.train.dense`: what overlapping patches of Bergmann's CAE can share, and what the verdicts become.

Ways to spend less than Zouar's 81 patches, each beside his on the images kept back from the training:

coarser  the same patches further apart, as a bundle's dense mode has them (edge.bundle.Dense); FP32 and INT8.
encoder  the encoder runs once over the whole image, and its last convolution reads a code at every patch's place. That
         needs a distance that its strides (16 in all) divide, and neighbours lose the zeros that padded each patch.
both     the decoder runs once too: what its first layer makes of the codes is averaged where they overlap.

flips: verdicts other than those of stride 30 on the same graph, by the bundle's threshold, and by one of the way's own,
set by the bundle's rule on the same good images of the validation fold, with the FP32 graph. ms: from a frame's pixels
to its score, all ways in turn on each image, FP32 on OpenVINO, INT8 on LiteRT.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from edge.bundle import Bundle, Graph, Precision, open_bundle
from edge.engines.session import Engine, Floats, Session, open_session
from edge.inspection.reconstruction import pooled, residual_map
from edge.offline.export import to_onnx, to_program
from edge.offline.metrics import image_figures
from edge.vision.image import InputRule, prepare
from edge.vision.patches import cut, padded, padded_length, starts, stitch
from tools.train.bundle import load_network
from tools.train.data import Sample, read_grey, read_samples, split, strangers
from tools.train.measured import markdown
from tools.train.networks.cae import BergmannCAE
from tools.train.recipe import Recipe, read_recipes

RECIPE = Path("tools/train/recipes/cae.toml")
THREADS = 2
STRIDES = (32, 43, 52, 64, 86)
SHARED_STRIDES = (32, 64)
ENCODER_STRIDE = 16
Rebuild = Callable[[Floats], Floats]  # (height, width) -> the same, stitched
PAPER = ("Zouar", 30)
ENGINES: dict[Precision, Engine] = {"fp32": "openvino", "int8": "litert"}
Key = tuple[str, int, Precision]  # way, stride
Cells = tuple[str, ...]


class OnceEncoded(nn.Module):
    """`(1, 1, h, w)`, the padded image -> `(n, 1, 128, 128)`: a patch every `stride` pixels, from one encoder's run."""

    def __init__(self, network: BergmannCAE, stride: int) -> None:
        super().__init__()
        *trunk, last = network.encoder
        assert isinstance(last, nn.Conv2d)
        self.trunk, self.decoder = nn.Sequential(*trunk), network.decoder
        self.codes = nn.Conv2d(last.in_channels, last.out_channels, 8, stride // ENCODER_STRIDE)
        self.codes.weight, self.codes.bias = last.weight, last.bias

    def forward(self, image: Tensor) -> Tensor:
        codes = self.codes(self.trunk(image))
        patches: Tensor = self.decoder(codes[0].flatten(1).t()[:, :, None, None])
        return patches


class OnceDecoded(OnceEncoded):
    """`(1, 1, h, w)`, the padded image -> the same, rebuilt: what codes first become is averaged where they overlap."""

    def __init__(self, network: BergmannCAE, stride: int, patches: int) -> None:
        """patches: a side of the image."""
        super().__init__(network, stride)
        first, *rest = network.decoder
        assert isinstance(first, nn.ConvTranspose2d) and first.bias is not None
        step = stride // ENCODER_STRIDE
        self.first = nn.ConvTranspose2d(first.in_channels, first.out_channels, 8, step, bias=False)
        self.first.weight, self.rest = first.weight, nn.Sequential(*rest)
        ones = torch.ones(1, 1, patches, patches)
        self.register_buffer("covered", nn.functional.conv_transpose2d(ones, torch.ones(1, 1, 8, 8), stride=step))
        self.register_buffer("bias", first.bias.detach()[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        features = self.first(self.codes(self.trunk(image))) / self.covered + self.bias
        rebuilt: Tensor = self.rest(features)
        return rebuilt


@dataclass
class Scored:
    """One way's scores on the images kept back and on the validation fold's good ones; milliseconds of each image."""

    kept: list[float] = field(default_factory=list)
    good: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """flips: of one surface, by the bundle's threshold and by the way's own."""

    auroc: float
    correlation: float
    flips: int
    own_flips: int


def patchwise(session: Session, rule: InputRule) -> Rebuild:
    def rebuild(image: Floats) -> Floats:
        patches = session.run(cut(image, rule.patch, rule.stride))[0]
        return stitch(patches, rule.height, rule.width, rule.stride)

    return rebuild


def encoded_once(session: Session, rule: InputRule) -> Rebuild:
    def rebuild(image: Floats) -> Floats:
        patches = session.run(padded(image, rule.patch, rule.stride)[None, None])[0]
        return stitch(patches, rule.height, rule.width, rule.stride)

    return rebuild


def decoded_once(session: Session, rule: InputRule) -> Rebuild:
    def rebuild(image: Floats) -> Floats:
        whole = session.run(padded(image, rule.patch, rule.stride)[None, None])[0]
        return whole[0, 0, : rule.height, : rule.width]

    return rebuild


def ways(bundle: Bundle, network: BergmannCAE, opened: ExitStack) -> Iterator[tuple[Key, Rebuild]]:
    """Each way to rebuild a prepared image of the bundle's; their sessions are closed with `opened`."""

    def session(graph: bytes, precision: Precision, at_once: int) -> Session:
        return opened.enter_context(closing(open_session(ENGINES[precision], graph, THREADS, "cpu", at_once=at_once)))

    rule = bundle.manifest.input
    files = {(g.format, g.precision): g for g in bundle.manifest.graph}
    graphs: dict[Precision, Graph] = {"fp32": files["onnx", "fp32"], "int8": files["tflite", "int8"]}
    for precision, entry in graphs.items():
        patches = session(bundle.read(entry), precision, rule.at_once)
        yield (*PAPER, precision), patchwise(patches, rule)
        for stride in STRIDES:
            yield ("coarser", stride, precision), patchwise(patches, msgspec.structs.replace(rule, stride=stride))
    for stride in SHARED_STRIDES:
        apart = msgspec.structs.replace(rule, stride=stride)
        side = padded_length(rule.height, rule.patch, stride)
        image = torch.zeros(2, 1, side, side)
        once = OnceDecoded(network, stride, len(starts(rule.height, stride)))
        graph = to_onnx(to_program(OnceEncoded(network, stride), image), ("reconstruction",))
        yield ("encoder", stride, "fp32"), encoded_once(session(graph, "fp32", 1), apart)
        yield (
            ("both", stride, "fp32"),
            decoded_once(session(to_onnx(to_program(once, image), ("whole",)), "fp32", 1), apart),
        )


def score(bundle: Bundle, rebuild: Rebuild, pixels: NDArray[np.uint8]) -> float:
    """As edge.inspection.reconstruction has it, whatever rebuilds the image."""
    rule, scoring = bundle.manifest.input, bundle.manifest.scoring
    image = prepare(pixels, rule)[0, 0]
    return pooled(residual_map(image, rebuild(image), scoring), scoring, rule)


def score_all(bundle: Bundle, network: BergmannCAE, kept: list[Sample], good: list[Sample]) -> dict[Key, Scored]:
    """Every way on the same images, in turn on each."""
    with ExitStack() as opened:
        rebuilds = dict(ways(bundle, network, opened))
        found = {key: Scored() for key in rebuilds}
        for sample in [*good, *kept]:
            pixels = read_grey(sample.path)
            for key, rebuild in rebuilds.items():
                began = perf_counter_ns()
                (found[key].kept if sample in kept else found[key].good).append(score(bundle, rebuild, pixels))
                found[key].ms.append((perf_counter_ns() - began) / 1e6)
    return found


def compare(found: dict[Key, Scored], defective: list[bool], threshold: float, pass_good: float) -> dict[Key, Row]:
    """Each way beside Zouar's on the same graph. pass_good: share of good ones that its own threshold passes."""
    rows = {}
    for key, scored in found.items():
        scores, paper = np.array(scored.kept), np.array(found[(*PAPER, key[2])].kept)
        own = threshold if key[:2] == PAPER else np.quantile(found[(*key[:2], "fp32")].good, pass_good)
        flips, own_flips = (int(np.sum((scores > limit) != (paper > threshold))) for limit in (threshold, own))
        correlation = float(np.corrcoef(scores, paper)[0, 1])
        rows[key] = Row(image_figures(defective, scored.kept)[0] or 0.0, correlation, flips, own_flips)
    return rows


def table(rows: list[dict[Key, Row]], ms: dict[Key, float]) -> str:
    """rows: one for each surface."""
    headings = ("way", "stride", "graph", "ms an image", "faster", "flips", "own threshold", "AUROC", "correlation")
    lines: list[Cells] = []
    for key in ms:
        mine = [row[key] for row in rows]
        against = ms[(*PAPER, key[2])] / ms[key]
        flips, own = ", ".join(str(row.flips) for row in mine), ", ".join(str(row.own_flips) for row in mine)
        auroc = ", ".join(f"{row.auroc:.3f}" for row in mine)
        least = f"{min(row.correlation for row in mine):.3f}"
        lines.append((key[0], str(key[1]), key[2], f"{ms[key]:.1f}", f"{against:.1f}x", flips, own, auroc, least))
    return markdown(headings, lines)


def trained(recipe: Recipe, runs: Path) -> BergmannCAE:
    network = load_network(recipe, runs / recipe.name)
    assert isinstance(network, BergmannCAE)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.dense", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the checkpoints are")
    parser.add_argument("--bundles", type=Path, default=Path("runs/bundles"), help="where the bundles are")
    parser.add_argument("--surface", help="only this one")
    given = parser.parse_args()
    rows, spent, counts = [], dict[Key, list[float]](), []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for recipe in bar.track(read_recipes(RECIPE, given.surface), description="ways to cut"):
            bundle = open_bundle(given.bundles / recipe.name)
            samples = read_samples(given.data, recipe.surfaces[0])
            kept = strangers(samples)
            good = [s for s in split(samples)[1] if s.split == "train" and not s.defective]
            found = score_all(bundle, trained(recipe, given.runs), kept, good)
            threshold = bundle.manifest.thresholds.score
            assert threshold is not None  # a reconstruction's
            rows.append(compare(found, [s.defective for s in kept], threshold, recipe.pass_good))
            counts.append(f"{recipe.surfaces[0]} ({len(kept)})")
            for key, scored in found.items():
                spent.setdefault(key, []).extend(scored.ms)
    print(f"images: {', '.join(counts)}; flips and AUROC in this order\n")
    print(table(rows, {key: float(np.median(times)) for key, times in spent.items()}))


if __name__ == "__main__":
    main()
