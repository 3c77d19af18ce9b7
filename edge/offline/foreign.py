"""A network that others exported, as a graph that can be given another front and other outputs, and written again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Format, Precision

Operation = Literal["multiply", "subtract", "divide", "round", "transpose", "cut", "convert"]
# transpose: the order of the axes. cut: (top, left, height, width) of an NCHW picture. convert: numpy's name of a type.
Step = tuple[Operation, NDArray[np.float32] | tuple[int, ...] | str]
FRONT, TAIL = "edge_input", "edge_"  # names that are put into the graph
INTEGERS = frozenset({"int8", "uint8", "int4", "uint4"})


@dataclass(frozen=True)
class Given:
    """What a graph takes. sides: 0 is a free one. dtype: numpy's name."""

    name: str
    sides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Answer:
    """An output to be kept. name: in the file. role: `map` or `score`. sides: float32 `(n, *sides)` that it is brought
    to. batch: as the input's, 0 is a free one. border: (top, left, bottom, right) of zeros put round a map. as_it_is:
    nothing but this is needed."""

    name: str
    role: str
    sides: tuple[int, ...]
    batch: int
    as_it_is: bool
    border: tuple[int, int, int, int] = (0, 0, 0, 0)

    def inner(self) -> tuple[int, ...]:
        """The sides before the border is put round."""
        if not any(self.border):
            return self.sides
        top, left, bottom, right = self.border
        channels, height, width = self.sides
        return channels, height - top - bottom, width - left - right


class Network(Protocol):
    """An ONNX or an OpenVINO graph. Outputs go by their names, or by their place where they have none."""

    form: Format

    def given(self) -> Given:
        """Its one input. Raises BundleError where there are several."""
        ...

    def answers(self) -> list[str]:
        """Names of all its outputs."""
        ...

    def precision(self) -> Precision:
        """What its weights are kept in."""
        ...

    def put_in_front(self, steps: Sequence[Step], fed: tuple[int, ...], sides: tuple[int, ...]) -> None:
        """Let the graph take float32 of the sides `fed`; the steps bring it to `sides`, which its own input is fixed
        to. 0 is free."""
        ...

    def keep(self, answers: Sequence[Answer]) -> None:
        """Have these outputs alone, in this order; what only others needed is cut off."""
        ...

    def compared_with(self, answer: str) -> float | None:
        """The constant that the graph's last step to this output asks for more than; None where it does not."""
        ...

    def clamped(self, answer: str) -> bool:
        """Whether the last step to this output holds it between two limits."""
        ...

    def cuts_the_picture(self) -> bool:
        """Whether the picture loses a rim before the first convolution."""
        ...

    def dump(self) -> tuple[bytes, bytes]:
        """Graph and weights, as `open_session` takes them."""
        ...


def precision_of(kinds: set[str]) -> Precision:
    """By numpy's names of the types that weights are kept in; of halves a CPU makes FP32 when it opens them."""
    return "int8" if kinds & INTEGERS else "fp32"
