"""line.toml -> frozen structs. A key that nobody reads is refused, so that a typo cannot switch a check off."""

from __future__ import annotations

import hashlib
import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.errors import ConfigError

EngineName = Literal["auto", "onnx", "openvino", "litert"]
# A name is a folder's and a topic's too: it never leaves the one ("..") nor stands for nothing in the other ("-").
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\Z", max_length=64)]
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f]+\Z")]


class JudgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """bundle: its folder's name. threshold: the line's own score threshold instead of the manifest's."""

    bundle: Name
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValueError(f"threshold = {self.threshold} would switch the judge off; give a finite number")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a frame may claim before anything is allocated for it."""

    frame_bytes: Annotated[int, msgspec.Meta(gt=0)] = 64 * 1024 * 1024
    pixels: Annotated[int, msgspec.Meta(gt=0)] = 64_000_000


class LineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line. frames, verdicts: ZeroMQ addresses that the daemon binds. bundles: a folder, relative to the file.

    gate: its bundle, or none for a line with a single judge. engine: `auto` takes the fastest graph by measurement.
    deadline_ms: for frames that bring none; 0 means no deadline. metrics_port: Prometheus on loopback; 0 means none.
    """

    line: Name
    frames: Text
    verdicts: Text
    bundles: Text = "."
    gate: Name | None = None
    engine: EngineName = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2
    deadline_ms: Annotated[float, msgspec.Meta(ge=0, le=86_400_000)] = 0.0
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    judges: dict[Name, JudgeConfig]
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.gate is None and len(self.judges) != 1:
            raise ValueError("without a gate a line has exactly one judge; name a gate or leave one judge")
        if self.frames == self.verdicts:
            raise ValueError(f"frames and verdicts are both {self.frames}; give each its own address")


class Line(msgspec.Struct, frozen=True):
    """A config with what it was read from. sha256: of the file's bytes, named in every verdict."""

    path: Path
    config: LineConfig
    bundles: Path
    sha256: str


def read_line(path: Path) -> Line:
    """Read and check line.toml. Raises ConfigError naming the file and the field."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; give the line's TOML file with --config") from error
    try:
        config = msgspec.convert(tomllib.loads(data.decode()), LineConfig)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Line(path, config, (path.parent / config.bundles).resolve(), hashlib.sha256(data).hexdigest())
