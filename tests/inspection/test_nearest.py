"""The nearest judge without a gate: it looks at no more than it needs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge.bench.load import golden_frame
from edge.bundle import open_bundle
from edge.engines.session import installed, open_graph
from edge.inspection.model import Model
from edge.inspection.nearest import NearestJudge
from tests.sessions import FaultySession


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
@pytest.mark.parametrize(("name", "pictures"), [("nearest-bottle", 1), ("nearest-screw", 16)])
def test_without_a_gate_only_the_view_that_it_compares_is_looked_at(
    exported_models: Path, name: str, pictures: int
) -> None:
    bundle = open_bundle(exported_models / name)
    graph = next(graph for graph in bundle.manifest.graph if (graph.format, graph.precision) == ("onnx", "fp32"))
    with closing(FaultySession(open_graph("onnx", bundle, graph, 2, "cpu"))) as session:
        model = Model(bundle, graph, session)
        judge, frame = NearestJudge(model), golden_frame(bundle)
        alone = judge.inspect(frame)
        assert session.batches == [pictures]
        model.look(frame)
        shared = judge.inspect(frame)
        assert session.batches == [pictures, bundle.manifest.input.batch], "what was looked at is not looked at again"
    assert alone.score == pytest.approx(shared.score, rel=1e-4)
    assert np.allclose(alone.score_map, shared.score_map, rtol=1e-3)
