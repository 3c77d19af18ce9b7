"""One bundle, the graph that was chosen from it, and the session that runs it."""

from __future__ import annotations

from dataclasses import dataclass

from edge.bundle import Bundle, Graph, Manifest
from edge.engines.session import Session


@dataclass(frozen=True, slots=True)
class Model:
    bundle: Bundle
    graph: Graph
    session: Session

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def runs_on(self) -> str:
        """engine/device/precision, as verdicts name it."""
        return f"{self.session.engine}/{self.session.device}/{self.graph.precision}"
