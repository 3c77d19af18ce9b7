"""`edge quantize`: a bundle's INT8 graphs made anew, on a calibration set that is chosen and written down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.bundle import Bundle
from edge.engines.processor import int8_overflows
from edge.engines.session import open_graph
from edge.errors import BundleError, EngineError
from edge.offline.calibrate import (
    ALLOWED,
    IMAGES,
    MOST,
    Calibration,
    choose,
    find_candidates,
    inputs,
    recipe_of,
    redraw,
)
from edge.offline.gains import set_gains
from edge.offline.int8 import NO_FORMAT, Made, full_range, make_int8
from edge.offline.pack import ARRAYS, MADE_HERE, write_bundle
from edge.offline.progress import Progress


def quantize_bundle(
    bundle: Bundle,
    data: Sequence[Path],
    progress: Progress,
    recipe: Calibration | None = None,
    count: int = IMAGES,
    seed: int = 1,
    allowed: float = ALLOWED,
    most: int = MOST,
) -> tuple[Bundle, Made, Calibration]:
    """Write the bundle anew with INT8 graphs; it is the old one or the new one at every moment.

    data: folders of images of good (and defective) parts. recipe: do as it says; else `count` are chosen. allowed,
    most: see edge.offline.float_layers. Raises BundleError where the bundle has no FP32 ONNX graph of its own,
    DataError for the images.
    """
    manifest, rule = bundle.manifest, bundle.manifest.input
    if any(graph.bundle for graph in manifest.graph):
        raise BundleError(f"{bundle.path} looks through the network of {manifest.graph[0].bundle}; quantise that one")
    own = {(graph.format, graph.precision): graph for graph in manifest.graph}
    if ("onnx", "fp32") not in own:
        raise BundleError(f"{bundle.path} has no FP32 ONNX graph to quantise; export it anew")
    fp32 = own["onnx", "fp32"]
    tflite = own.get(("tflite", "fp32"))
    if tflite is None and int8_overflows():
        raise EngineError(NO_FORMAT)
    if recipe is None:
        candidates = find_candidates(data, manifest.surfaces)
        session = open_graph("onnx", bundle, fp32, 2, "cpu")
        chosen = choose(session, rule, candidates, count, seed, progress)
        session.close()
        source = manifest.training.data
        recipe = recipe_of(manifest.name, source, data, chosen, seed, len(candidates), fp32.sha256, allowed, most)
    else:
        chosen = redraw(recipe, data)
    made = make_int8(
        bundle.read(fp32),
        bundle.read(tflite) if tflite else None,
        full_range(inputs(rule, chosen, recipe.seed), rule),
        progress,
        recipe.allowed,
        recipe.most,
    )
    progress("writing", 0, 1)
    return set_gains(rewrite_graphs(bundle, made.files), chosen), made, recipe


def rewrite_graphs(bundle: Bundle, int8: dict[str, bytes]) -> Bundle:
    """The bundle with these INT8 graphs in place of its own. What was measured of the old ones is gone."""
    manifest = bundle.manifest
    kept: dict[str, bytes] = {}
    for graph in manifest.graph:
        if graph.precision != "int8":
            kept[graph.file] = bundle.read(graph)
            kept |= {graph.weights.file: bundle.read(graph.weights)} if graph.weights else {}
    if manifest.arrays:
        kept[ARRAYS] = bundle.read(manifest.arrays)
    fields = {f: getattr(manifest, f) for f in manifest.__struct_fields__ if f not in MADE_HERE}
    return write_bundle(bundle.path, {k: v for k, v in fields.items() if v is not None}, {**kept, **int8})
