"""What kind of defect is it? A second step for a frame that its judge has rejected (Rožanec 4).

Features of the frame and of the judge's own score map, both from the gate's backbone; those that told most about the
kind (mutual information, chosen in training); two dense layers with ReLU and a softmax, as plain arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.engines.session import Floats
from edge.errors import BundleError, ScoreError
from edge.inspection.model import Model
from edge.records import Finding, Frame
from edge.vision.image import prepare

GOOD = "good"  # a kind like the others, as in the paper: where it wins, the defect keeps the manifest's plain label
Layer = tuple[Floats, Floats]


def map_frame(scores: Floats, full: float) -> Frame:
    """A `(h, w)` score map as a picture: 0 is black, `full` and above white."""
    return Frame(np.asarray(np.clip(scores * (255 / full), 0, 255), np.uint8), 255)


def features(model: Model, frame: Frame, scores: Floats, full: float) -> Floats:
    """The backbone's first output for the frame, all its views in a row, then for its map, seen whole: `(f,)`.

    A frame that the gate has just looked at is not run again. Raises EngineError, FrameError.
    """
    of_frame = np.array(model.look_again(frame)[0]).reshape(-1)  # copied: the next run overwrites it
    whole = msgspec.structs.replace(model.manifest.input, views=("whole",))
    of_map = model.run(prepare(map_frame(scores, full).pixels, whole))[0].reshape(-1)
    return np.concatenate([of_frame, of_map])


def probabilities(layers: tuple[Layer, ...], x: Floats) -> Floats:
    """`(n, k)` chosen features -> `(n, kinds)`: dense layers `(weights, bias)` with ReLU between, then a softmax."""
    for weights, bias in layers[:-1]:
        x = np.maximum(x @ weights + bias, 0)
    weights, bias = layers[-1]
    logits = x @ weights + bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


@dataclass(frozen=True, slots=True)
class Classifier:
    """kinds: the names. chosen: `(k,)` positions in the features. layers: standardisation is part of the first. full:
    see map_frame."""

    kinds: tuple[str, ...]
    chosen: NDArray[np.int64]
    layers: tuple[Layer, ...]
    full: float

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As read_classifier reads them."""
        packed: dict[str, NDArray[np.generic]] = {"kinds": np.array(self.kinds), "chosen": self.chosen}
        packed["full"] = np.array(self.full)
        for number, (weights, bias) in enumerate(self.layers):
            packed |= {f"weights_{number}": weights, f"bias_{number}": bias}
        return packed


class Kinds:
    """A surface's kinds of defect. model: the backbone, on the gate's session where that is the same."""

    def __init__(self, model: Model, judge: Bundle | None) -> None:
        """judge: the bundle whose maps it will be given, where that is known. Raises BundleError where the arrays are
        missing or unfit, or were taught on another judge's maps."""
        self.model = model
        entry = model.manifest.arrays
        if entry is None:
            raise BundleError(f"{model.bundle.path}: kinds need [arrays] with their classifier")
        arrays, where = model.bundle.read_arrays(entry), model.bundle.path / entry.file
        self.classifier = read_classifier(arrays, where)
        if judge is None:
            return
        if model.manifest.judge != judge.manifest.name or not maps_of(judge) & set(map(str, arrays.get("judge", ()))):
            raise BundleError(
                f"{model.bundle.path} was taught on the maps of another {model.manifest.judge} than {judge.path}; "
                "make it anew from that judge (python -m tools.train.kinds)"
            )

    def tell(self, frame: Frame, scores: Floats) -> tuple[str, float]:
        """The likeliest kind and its probability. Raises ScoreError, EngineError, FrameError."""
        known = features(self.model, frame, scores, self.classifier.full)
        if self.classifier.chosen.max() >= known.size:
            raise ScoreError(f"{self.model.manifest.name}: the backbone answered with {known.size} numbers")
        told = probabilities(self.classifier.layers, known[None, self.classifier.chosen])[0]
        if not np.isfinite(told).all():
            raise ScoreError(f"{self.model.manifest.name} answered with a probability that is not finite")
        return self.classifier.kinds[int(told.argmax())], float(told.max())

    def name(self, frame: Frame, finding: Finding) -> Finding:
        """A rejected frame's finding with the kind as its defects' label: one kind a frame. Where GOOD is likeliest all
        stays as it is, the rejection too. Raises as `tell`."""
        kind, sure = self.tell(frame, finding.score_map)
        if kind == GOOD:
            return finding
        named = (msgspec.structs.replace(defect, label=kind, label_score=sure) for defect in finding.defects)
        return replace(finding, defects=tuple(named))


def maps_of(judge: Bundle) -> set[str]:
    """What a judge's maps come from, by digests: its memory where it has one, as the gate's graphs serve many."""
    return {file.sha256 for file in ([judge.manifest.arrays] if judge.manifest.arrays else judge.manifest.graph)}


def read_classifier(arrays: dict[str, NDArray[np.generic]], where: Path) -> Classifier:
    """Raises BundleError where an array is missing, or their shapes do not fit one another."""
    try:
        kinds = tuple(str(name) for name in arrays["kinds"])
        chosen, full = arrays["chosen"].astype(np.int64), float(arrays["full"])
        count = sum(name.startswith("weights_") for name in arrays)
        layers = tuple(
            (arrays[f"weights_{n}"].astype(np.float32), arrays[f"bias_{n}"].astype(np.float32)) for n in range(count)
        )
    except KeyError as error:
        raise BundleError(f"{where} lacks the array {error}") from error
    except (ValueError, TypeError) as error:
        raise BundleError(f"{where}: {error}") from error
    sizes = [chosen.size, *(bias.size for _, bias in layers)]
    fits = all(weights.shape == pair for (weights, _), pair in zip(layers, pairwise(sizes), strict=True))
    finite = all(np.isfinite(values).all() for layer in layers for values in layer)
    if not (layers and fits and finite and chosen.ndim == 1 and chosen.size and chosen.min() >= 0):
        raise BundleError(f"{where}: chosen and the layers do not fit one another, or are not finite")
    if sizes[-1] != len(kinds) or not (np.isfinite(full) and full > 0):
        raise BundleError(f"{where}: {len(kinds)} kinds for {sizes[-1]} answers, or no positive `full`")
    return Classifier(kinds, chosen, layers, full)
