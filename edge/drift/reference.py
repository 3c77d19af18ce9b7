"""What each feature is on good frames: a reference, made of them, kept as plain data in reference.toml."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from edge.drift.features import FEATURES, Features
from edge.errors import ConfigError, DataError
from edge.mistakes import from_toml

FORMAT_VERSION = 1
FEWEST = 50  # frames; of fewer not even a frame beyond all of them would be sure to mean anything
QUANTILES = 101

Quantiles = Annotated[tuple[float, ...], msgspec.Meta(min_length=2, max_length=1001)]


class Usual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature on good frames. quantiles: of them all, evenly from the least to the largest."""

    mean: float
    quantiles: Quantiles

    def __post_init__(self) -> None:
        if not all(np.isfinite([self.mean, *self.quantiles])) or (np.diff(self.quantiles) < 0).any():
            raise ValueError("mean and quantiles are finite, and quantiles rise")

    def rank(self, value: float) -> float:
        """The share of good frames below a value, 0..1; half of those that are the same. Of good frames' own ranks the
        mean is a half, whatever they look like."""
        rising = self.quantiles
        first, last = bisect_left(rising, value), bisect_right(rising, value)
        if first == last:
            if first in (0, len(rising)):
                return float(first > 0)
            below, above = rising[first - 1], rising[first]
            return (first - 1 + (value - below) / (above - below)) / (len(rising) - 1)
        return (first + last - 1) / 2 / (len(rising) - 1)


class SurfaceReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """frames: how many it was made of."""

    frames: Annotated[int, msgspec.Meta(ge=FEWEST)]
    features: dict[str, Usual]

    def __post_init__(self) -> None:
        strange = sorted(set(self.features) - set(FEATURES))
        if strange:
            raise ValueError(f"features: {', '.join(strange)}: there are {', '.join(FEATURES)}")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """reference.toml, key for key. bundles: the digest of each whose answers are in it."""

    format: int = FORMAT_VERSION
    line: str
    made: str
    version: str
    bundles: dict[str, str]
    surfaces: dict[str, SurfaceReference]


def make_reference(frames: Sequence[Features]) -> SurfaceReference:
    """Of good frames of one surface: the features that all of them have. Raises DataError for fewer than FEWEST."""
    if len(frames) < FEWEST:
        raise DataError(f"{len(frames)} good frames; {FEWEST} at least make a reference, better 500")
    grid = np.linspace(0, 1, min(QUANTILES, len(frames)))
    features = {}
    for name in FEATURES:
        values = [frame[name] for frame in frames if name in frame]
        if len(values) == len(frames):
            rising = np.maximum.accumulate(np.quantile(values, grid))  # what it rounds may fall by a hair
            features[name] = Usual(float(np.mean(values)), tuple(rising.tolist()))
    return SurfaceReference(len(frames), features)


def read_reference(path: Path) -> Reference:
    """Raises ConfigError naming the file and the field."""
    try:
        reference = from_toml(path.read_bytes(), Reference)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; make it: edge reference") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if reference.format != FORMAT_VERSION:
        raise ConfigError(f"{path}: format {reference.format}; this edge reads format {FORMAT_VERSION}")
    return reference
