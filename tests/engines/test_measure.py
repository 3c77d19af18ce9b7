"""The graphs of a bundle are measured in turns."""

from __future__ import annotations

from dataclasses import dataclass

from edge.bundle import open_bundle
from edge.config import Line
from edge.engines.measure import RUNS, WARM_UP, Timed, example_batch, take_turns
from edge.engines.session import Floats, Session, open_graph
from edge.errors import EngineError


@dataclass
class Noted:
    """A session that notes its runs, and fails from one of them on."""

    session: Session
    name: str
    runs: list[str]
    fails_at: int = -1
    engine: str = "onnx"
    device: str = "cpu"
    any_batch: bool = True

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        self.runs.append(self.name)
        if self.runs.count(self.name) == self.fails_at:
            raise EngineError("the device is gone")
        return self.session.run(batch)

    def close(self) -> None:
        self.session.close()


def test_a_box_that_slows_down_slows_all_graphs_of_a_bundle_alike(small_line: Line) -> None:
    bundle = open_bundle(small_line.bundles / "smoother")
    runs: list[str] = []
    sessions = [open_graph("onnx", bundle, bundle.manifest.graph[0], 1, "cpu") for _ in range(3)]
    first, gone, last = (
        Timed({"why": ""}, Noted(session, name, runs, fails_at), [])
        for session, name, fails_at in zip(sessions, ("first", "gone", "last"), (-1, 4, -1), strict=True)
    )
    take_turns([first, gone, last], example_batch(bundle))
    assert runs[:9] == 3 * ["first", "gone", "last"]
    assert runs[-4:] == 2 * ["first", "last"]
    assert gone.row["why"] == "the device is gone" and not first.row["why"] and not last.row["why"]
    assert len(first.times) == len(last.times) == WARM_UP + RUNS
    for session in sessions:
        session.close()
