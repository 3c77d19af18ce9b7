"""How much more an INT8 graph finds to complain of than FP32 does on good parts, so that one threshold fits both.

What INT8 rounds adds to every reconstruction's error, by a few per cent; good parts just below the threshold would pass
it. The median of the scores' ratios on good images goes into the manifest, and the judge divides by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import msgspec
import numpy as np
import tomli_w
from numpy.typing import NDArray

from edge.bundle import MANIFEST, Bundle, Graph, open_bundle
from edge.engines.session import ENGINES, Engine, installed, open_graph, readable
from edge.inspection.files import read_frame
from edge.inspection.model import Model
from edge.inspection.reconstruction import ReconstructionJudge
from edge.offline.pack import plain, rewrite
from edge.offline.samples import Sample

FRAMES = 24


def set_gains(bundle: Bundle, samples: Sequence[Sample]) -> Bundle:
    """Measure and write the gain of each INT8 graph of a reconstruction on good images; another bundle as it is."""
    manifest = bundle.manifest
    fp32 = [g for g in manifest.graph if (g.format, g.precision) == ("onnx", "fp32")]
    good = [sample for sample in samples if not sample.defective]
    if manifest.kind != "reconstruction" or not fp32 or not good:
        return bundle
    chosen = [good[i] for i in np.linspace(0, len(good) - 1, min(FRAMES, len(good))).astype(int)]
    before = scores(bundle, "onnx", fp32[0], chosen)
    graphs = []
    for graph in manifest.graph:
        engine = next((e for e in ENGINES if installed(e) and graph in readable(e, manifest.graph)), None)
        if graph.precision == "int8" and engine is not None:
            ratio = float(np.median(scores(bundle, engine, graph, chosen) / before))
            graph = msgspec.structs.replace(graph, gain=round(ratio, 4))
        graphs.append(graph)
    rewrite(bundle.path / MANIFEST, tomli_w.dumps(plain(msgspec.structs.replace(manifest, graph=tuple(graphs)))))
    return open_bundle(bundle.path)


def scores(bundle: Bundle, engine: Engine, graph: Graph, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Of each image, `(n,)`, before any gain."""
    with closing(open_graph(engine, bundle, graph, 2, "cpu")) as session:
        judge = ReconstructionJudge(Model(bundle, msgspec.structs.replace(graph, gain=1.0), session))
        return np.array([judge.score_all([read_frame(sample.path)])[0][0] for sample in samples])
