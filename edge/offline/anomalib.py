"""What anomalib's exports say of themselves, by generation (read in the wheels 0.3.7, 0.7.0, 1.0.0, 1.2.0, 2.0.0, 2.2.0
and 2.7.0, and in exports made with 1.2.0 and 2.2.0).

0.x   deploy/export.py: weights/{onnx,openvino}/ with metadata.json (meta_data.json in 0.3) beside the graph. It holds
      image_threshold and pixel_threshold of raw scores, min and max, and `transform`, albumentations' own form. The
      graph neither resizes nor normalises; its first output is the map, a second the frame's score. A score at the
      threshold is defective (`>=`, deploy/inferencers/openvino_inferencer.py).
1.x   models/components/base/export_mixin.py (deploy/export.py in 1.0): metadata.json without `transform`, which is
      part of the graph: torchvision's Resize, perhaps CenterCrop, Normalize, for pixels from 0 to 1. Answers and
      thresholds are raw as in 0.x.
2.x   the same place: no metadata.json (issue 2620). The graph resizes, normalises, and post-processes
      (post_processing/post_processor.py): pred_score and anomaly_map are brought to 0..1 with the threshold at 0.5 and
      clamped; pred_label and pred_mask ask for more than 1 - sensitivity, 0.5 unless it was set.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge.errors import BundleError

Generation = Literal["0.x", "1.x", "2.x"]
KEYS = {"score": "image_threshold", "map": "pixel_threshold"}
METADATA = ("metadata.json", "meta_data.json")
PLACES = ("", "onnx", "openvino", "weights/onnx", "weights/openvino")  # ONNX first: two engines read it
GRAPHS = (".onnx", ".xml")
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
# Of a normalisation by the distribution of good scores (`cdf`), 0.x: its thresholds are not of the graph's answers.
BY_DISTRIBUTION = ("image_mean", "pixel_mean")
MAP, SCORE, LABEL, MASK = "anomaly_map", "pred_score", "pred_label", "pred_mask"


@dataclass(frozen=True)
class Export:
    """Files of one exported network. weights: of OpenVINO's. metadata: what stands in the JSON file beside it."""

    graph: Path
    weights: Path | None
    metadata: dict[str, Any] | None
    where: Path

    def limit(self, key: str) -> float | None:
        """A threshold of the metadata such that scores above it are what anomalib rejects from it on. None where it is
        not there, or not of the graph's answers. Raises BundleError where it is no number."""
        metadata = self.metadata or {}
        if key not in metadata or any(name in metadata for name in BY_DISTRIBUTION):
            return None
        value = metadata[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BundleError(
                f"{self.where}: {key} = {value} is no finite number; give --threshold and --map-threshold"
            )
        return float(np.nextafter(np.float32(value), np.float32(-np.inf)))


@dataclass(frozen=True)
class Transform:
    """What 0.x did to a picture. size, centre: (width, height) it is resized to, and of the middle that is kept of
    that. mean, std: of values from 0 to 1, one for each channel."""

    size: tuple[int, int] | None = None
    centre: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def find_export(path: Path) -> Export:
    """A graph file, or the one in an export's folder. Raises BundleError: for a pickle, for several graphs or none, for
    files that lie outside the folder, for metadata that are no JSON."""
    if not path.is_dir():
        return _export(path, path.parent)
    for place in PLACES:
        graphs = sorted(file for file in (path / place).glob("*") if file.suffix.lower() in GRAPHS)
        if len(graphs) > 1:
            names = ", ".join(file.name for file in graphs)
            raise BundleError(f"{path / place} holds several networks ({names}); name the one to import")
        if graphs:
            return _export(graphs[0], path)
    pickles = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICKLES)
    if pickles:
        _refuse_pickle(pickles[0])
    raise BundleError(f"{path} holds no .onnx and no .xml, nor do {', '.join(PLACES[1:])} in it; is it an export?")


def _export(graph: Path, folder: Path) -> Export:
    if graph.suffix.lower() in PICKLES:
        _refuse_pickle(graph)
    if graph.suffix.lower() not in GRAPHS:
        raise BundleError(f"{graph}: a network to import is .onnx, OpenVINO's .xml, or the folder of an export")
    weights = graph.with_suffix(".bin") if graph.suffix.lower() == ".xml" else None
    if weights is not None and not weights.is_file():
        raise BundleError(f"{graph} has no {weights.name} beside it, where OpenVINO keeps the weights")
    beside = next((graph.with_name(name) for name in METADATA if graph.with_name(name).is_file()), None)
    for file in (graph, weights, beside):
        if file is not None and not file.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{file} leads out of {folder}, to {file.resolve()}; bring the file itself")
    return Export(graph, weights, None if beside is None else _read_json(beside), beside or graph)


def _refuse_pickle(path: Path) -> None:
    raise BundleError(f"{path} is a pickle: opening one runs whatever it holds. Export the network to ONNX or OpenVINO")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is no JSON that can be read: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path}: anomalib's metadata are a table, this is a {type(value).__name__}")
    return value


def generation(export: Export, answers: list[str]) -> Generation | None:
    """None: not an export of anomalib's. answers: names of the graph's outputs."""
    metadata = export.metadata or {}
    if "transform" in metadata:
        return "0.x"
    if {MAP, SCORE} <= set(answers):
        return "2.x"
    return "1.x" if {"task", *KEYS.values()} & metadata.keys() else None


def read_transform(export: Export) -> Transform:
    """The preprocessing that 0.x keeps beside the graph. Raises BundleError naming what this cannot do the same way."""
    metadata, where = export.metadata or {}, export.where
    found = Transform()
    try:
        for step in _steps(metadata["transform"]["transform"]):
            found = _followed(found, step, where)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{where}: transform is not as anomalib 0.x writes it, {error!r} is amiss") from error
    return found


def _steps(transform: dict[str, Any]) -> list[dict[str, Any]]:
    inner = transform.get("transforms")
    return [transform] if inner is None else [step for each in inner for step in _steps(each)]


def _followed(found: Transform, step: dict[str, Any], where: Path) -> Transform:
    name = str(step["__class_fullname__"]).rsplit(".", 1)[-1]
    if name == "ToTensorV2":
        return found
    if name == "Resize" and found == Transform():
        return Transform((int(step["width"]), int(step["height"])))
    if name == "CenterCrop" and found.centre is None and found.mean is None:
        return Transform(found.size, (int(step["width"]), int(step["height"])))
    if name == "Normalize" and found.mean is None and step.get("normalization", "standard") == "standard":
        share = 255.0 / float(step.get("max_pixel_value", 255.0))
        mean, std = (tuple(float(value) / share for value in step[key]) for key in ("mean", "std"))
        return Transform(found.size, found.centre, mean, std)
    raise BundleError(f"{where}: the transform {name} is not one that edge does; export the network without it")
