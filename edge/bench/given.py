"""A report as it is read back: of this version or another one, so that what is new or gone does not matter."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import msgspec

from edge.bench.report import Check, Ran, Stage
from edge.bench.scenarios import TURN
from edge.bench.statistics import Answer
from edge.errors import DataError


class GivenRow(msgspec.Struct, frozen=True, kw_only=True):
    """One case, see report.Row. gops: 10^9 operations of the stage `run`; None where nobody counted."""

    name: str
    chosen: bool = False
    graphs: list[Ran] = []
    frames: int = 0
    stages: dict[str, Stage] = {}
    checks: list[Check] = []
    at_s: list[float]
    frame_ms: list[float]
    gops: float | None = None
    why: str = ""

    def __post_init__(self) -> None:
        if len(self.at_s) != len(self.frame_ms):
            raise ValueError(f"{len(self.at_s)} at_s, but {len(self.frame_ms)} frame_ms")
        if not all(isfinite(ms) and ms > 0 for ms in self.frame_ms):
            raise ValueError("frame_ms has one that is not above zero")


class Ceiling(msgspec.Struct, frozen=True):
    """What the machine reaches with a large matrix product: 10^9 operations a second."""

    fp32_gflops: float | None = None
    int8_gops: float | None = None


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """See report.Report. scenario, rate: None where the report knows none."""

    subject: str
    kind: str
    version: str
    box: str
    system: str
    threads: int
    images: int
    turn: int = TURN
    scenario: str | None = None
    rate: float | None = None
    ceiling: Ceiling | None = None
    rows: list[GivenRow]
    answer: Answer | None = None

    def __post_init__(self) -> None:
        if self.turn < 1:
            raise ValueError(f"turn = {self.turn}: it is one frame at least")


def read_given(path: Path) -> Given:
    """What `edge-bench run --out` wrote; unknown fields pass. Raises DataError naming the file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Given)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; give what `edge-bench run --out` wrote") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no report of `edge-bench run --out`: {error}") from error
