"""One bundle, the graph that was chosen from it, and the session that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns

from edge.bundle import Bundle, Graph, Manifest
from edge.engines.session import Floats, Session


@dataclass(slots=True)
class Model:
    """began, ended: of its last run, on perf_counter_ns, so that the engine's own time can be told from ours."""

    bundle: Bundle
    graph: Graph
    session: Session
    began: int = 0
    ended: int = 0

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def runs_on(self) -> str:
        """engine/device/precision, as verdicts name it."""
        return f"{self.session.engine}/{self.session.device}/{self.graph.precision}"

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        """See Session.run."""
        self.began = perf_counter_ns()
        answer = self.session.run(batch)
        self.ended = perf_counter_ns()
        return answer
