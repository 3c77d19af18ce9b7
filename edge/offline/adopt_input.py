"""What an exported network takes, and what is put in front of it so that it is given that once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edge.errors import BundleError
from edge.offline.adopt_wanted import Size, Wanted
from edge.offline.anomalib import Export, Generation, Transform
from edge.offline.foreign import Network, Step
from edge.vision.image import InputRule

Scale = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Shape:
    """size: (width, height) of the manifest's input. seen: of what the graph's own input is given of that. centre: of
    what its map covers. last: the graph takes its channels last."""

    batch: int
    channels: int
    size: Size
    seen: Size
    centre: Size
    last: bool

    def fed(self) -> tuple[int, ...]:
        return self.batch, self.channels, self.size[1], self.size[0]

    def sides(self) -> tuple[int, ...]:
        width, height = self.seen
        return (self.batch, height, width, self.channels) if self.last else (self.batch, self.channels, height, width)


def read_shape(sides: tuple[int, ...], told: Transform, wanted: Wanted, where: Path) -> Shape:
    """Free sides are fixed, fixed ones have to agree. Raises BundleError."""
    if len(sides) != 4:
        raise BundleError(f"{where} takes an input of {len(sides)} sides {sides}; a picture has four: n, c, h, w")
    if sides[0] not in (0, 1):
        raise BundleError(f"{where} takes {sides[0]} pictures at a time; export it with a free batch, or one of 1")
    last = sides[3] in (1, 3) and sides[1] not in (1, 3)
    batch, height, width, channels = sides if last else (sides[0], *sides[2:], sides[1])
    channels = _agreed(channels, wanted.channels, "channels", where)
    if channels not in (1, 3):
        raise BundleError(f"{where} takes {channels} channels; edge gives 1 (grey) or 3 (RGB)")
    centre = told.centre or wanted.centre
    cut = centre is not None and (told.centre is not None or (width, height) == centre)
    size = told.size or (0, 0)
    size = _agreed(size[0], wanted.width, "width", where), _agreed(size[1], wanted.height, "height", where)
    if not cut:
        size = _agreed(width, size[0], "width", where), _agreed(height, size[1], "height", where)
    if 0 in size:
        raise BundleError(f"{where} leaves its input's width or height free; give --width and --height, as in training")
    if centre is None:
        return Shape(batch, channels, size, size, size, last)
    if centre[0] > size[0] or centre[1] > size[1]:
        raise BundleError(f"{where}: a centre of {centre} is larger than the input {size}")
    if cut and (width or centre[0], height or centre[1]) != centre:
        raise BundleError(f"{where} takes {width} x {height}, its metadata cut {centre[0]} x {centre[1]}")
    return Shape(batch, channels, size, centre if cut else size, centre, last)


def _agreed(own: int, asked: int | None, name: str, where: Path) -> int:
    if own and asked and own != asked:
        raise BundleError(f"{where} takes a {name} of {own}, not {asked}; leave --{name} out, or export it anew")
    return own or asked or 0


def check_cut(network: Network, made_by: Generation | None, shape: Shape, wanted: Wanted, where: Path) -> None:
    """Raises BundleError where boxes would be misplaced: a graph cuts a picture of which --centre does not tell it, or
    does not although it tells."""
    width, height = shape.size
    cuts = network.cuts_the_picture()
    if made_by in ("1.x", "2.x") and cuts and wanted.centre is None:
        raise BundleError(
            f"{where} cuts the middle out of the picture: say with --centre WIDTH,HEIGHT how much of {width} x "
            f"{height} that is (anomalib's patchcore keeps 224,224 of 256,256), or its boxes would be misplaced"
        )
    if wanted.centre not in (None, shape.size) and shape.seen == shape.size and not cuts:
        raise BundleError(f"{where} sees all of {width} x {height}, nothing in it cuts the picture; leave --centre out")


def read_scale(export: Export, made_by: Generation | None, told: Transform, wanted: Wanted, dtype: str) -> Scale:
    """Mean and std of a scale where white is 1, one or one for each channel. Raises BundleError where normalisation
    would be lost or doubled."""
    asked = wanted.mean is not None or wanted.std is not None
    if asked and (made_by or dtype == "uint8"):
        why = f"is an export of anomalib {made_by}, and says" if made_by else "takes uint8, and so does by itself"
        raise BundleError(f"{export.graph} {why} how its input is normalised; leave --mean and --std out")
    if wanted.answer == "logit" and made_by:
        raise BundleError(f"{export.graph} is an export of anomalib {made_by}, which answers with scores, not logits")
    if made_by or dtype == "uint8":
        return told.mean or (0.0,), told.std or (1.0,)
    if wanted.mean is None or wanted.std is None:
        raise BundleError(
            f"{export.graph} does not say how its input was normalised: give --mean and --std as in training (those of "
            "ImageNet: 0.485,0.456,0.406 and 0.229,0.224,0.225), or --mean 0 --std 1 where the graph takes 0..1"
        )
    if wanted.white <= 0 or min(wanted.std) <= 0:
        raise BundleError("--std and --white must be positive")
    return tuple(value / wanted.white for value in wanted.mean), tuple(value / wanted.white for value in wanted.std)


def front(scale: Scale, shape: Shape, notes: list[str]) -> tuple[InputRule, list[Step]]:
    """The manifest's rule, and what the graph itself is to do before its own first step."""
    for values, name in zip(scale, ("mean", "std"), strict=True):
        if len(values) not in (1, shape.channels):
            raise BundleError(f"{name} has {len(values)} values; the network takes {shape.channels} channels")
    mean, std = scale
    rule = InputRule(*shape.size, channels=3 if shape.channels == 3 else 1)
    steps: list[Step] = []
    if len(set(mean)) == len(set(std)) == 1:
        rule = msgspec.structs.replace(rule, mean=mean[0], std=std[0])
    else:
        subtrahend, divisor = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in scale)
        steps = [("subtract", subtrahend), ("divide", divisor)]
        notes.append(
            f"mean {_numbers(mean)} and std {_numbers(std)} were put in front of the graph: input.mean and input.std "
            "stay 0 and 1"
        )
    (width, height), (seen_width, seen_height) = shape.size, shape.seen
    if shape.seen != shape.size:
        steps.append(("cut", ((height - seen_height) // 2, (width - seen_width) // 2, seen_height, seen_width)))
    if shape.centre != shape.size:
        middle = f"{shape.centre[0]} x {shape.centre[1]} of {width} x {height}"
        notes.append(f"it sees the middle {middle}: beyond it no defect is found")
    return rule, steps


def to_type(dtype: str, shape: Shape, where: Path, notes: list[str]) -> list[Step]:
    """From float32 NCHW to what the graph takes: uint8 gets pixel values, channels may come last."""
    steps: list[Step] = []
    if dtype == "uint8":
        steps = [("multiply", np.full((1, 1, 1, 1), 255, np.float32)), ("round", ()), ("convert", dtype)]
        notes.append("the graph takes uint8: pixels are brought back to 0..255 in front of it")
    elif dtype == "float16":
        steps = [("convert", dtype)]
    elif dtype != "float32":
        raise BundleError(f"{where} takes {dtype}; edge gives float32, and brings it to float16 or uint8")
    if shape.last:
        steps.append(("transpose", (0, 2, 3, 1)))
        notes.append("the graph takes channels last: they are moved in front of it")
    return steps


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
