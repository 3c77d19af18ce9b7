"""What `edge import` is told of a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Wanted:
    """What is said of the network where its files do not say it.

    width, height: pixels of the input. centre: (width, height) of its middle that the network sees, where the graph
    cuts the rest off. mean, std: one or one for each channel, of a scale on which white is `white`. answer: whether map
    and score are logits. map_output, score_output: names in the graph. threshold, map_threshold: of the answers, after
    the sigmoid of logits. good, pass_good: pictures that thresholds are set on, and the share that passes.
    """

    surface: str
    width: int | None = None
    height: int | None = None
    channels: int | None = None
    centre: Size | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    white: float = 1.0
    answer: Literal["logit", "score"] = "score"
    map_output: str | None = None
    score_output: str | None = None
    threshold: float | None = None
    map_threshold: float | None = None
    good: tuple[Path, ...] = ()
    pass_good: float = 0.98
    label: str = "defect"
    data: str = "unknown"
    licence: str = "unknown"
    command: str = "edge import"
