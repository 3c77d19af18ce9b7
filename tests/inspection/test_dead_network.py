"""A network that answers the same number everywhere is asked for its golden frame before anything passes."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from edge.bundle import open_bundle
from edge.config import Line
from edge.engines.session import installed, open_graph
from edge.errors import EngineError
from edge.inspection.model import Model
from tests.sessions import FaultySession

pytestmark = pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")


def test_only_a_picture_without_any_difference_may_have_such_an_answer(small_line: Line) -> None:
    bundle = open_bundle(small_line.bundles / "smoother")
    graph = bundle.manifest.graph[0]
    with closing(FaultySession(open_graph("onnx", bundle, graph, 1, "cpu"))) as session:
        model = Model(bundle, graph, session)
        rule = bundle.manifest.input
        side = rule.patch or rule.height
        plain = np.full((4, 1, side, side), 0.2, np.float32)
        grained = np.random.default_rng(0).random((4, 1, side, side), np.float32)
        model.run(plain)
        model.run(grained)
        assert len(session.batches) == 2, "nothing to doubt"
        session.answer = 0.2
        model.run(plain)
        with pytest.raises(EngineError, match="the same number everywhere, and is not right"):
            model.run(grained)
