"""What the daemon counts, after the Prometheus conventions; served on loopback where the line names a port."""

from __future__ import annotations

import errno

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from edge.errors import BusError
from edge.records import Evaluation, PartVerdict, Verdict

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._verdicts = Counter(
            "edge_verdicts", "Verdicts published.", ["evaluation", "reason", "surface"], registry=self.registry
        )
        self._parts = Counter(
            "edge_parts", "Part verdicts published.", ["evaluation", "reason"], registry=self.registry
        )
        self._gaps = Counter("edge_frames_missing", "Gaps in the cameras' sequences.", registry=self.registry)
        self._seconds = Histogram(
            "edge_stage_seconds", "Time of each stage.", ["stage"], buckets=BUCKETS, registry=self.registry
        )

    def count(self, verdict: Verdict, missing: int) -> None:
        """missing: frames that its camera had sent before it and that never came."""
        name = Evaluation(verdict.evaluation).name.lower()
        self._verdicts.labels(name, verdict.reason, verdict.surface or "-").inc()
        for stage, spent in verdict.times_ns.items():
            self._seconds.labels(stage).observe(spent / 1e9)
        self._gaps.inc(missing)

    def count_part(self, verdict: PartVerdict) -> None:
        self._parts.labels(Evaluation(verdict.evaluation).name.lower(), verdict.reason).inc()

    def serve(self, port: int) -> None:
        """Raises BusError where the port is in use."""
        try:
            start_http_server(port, "127.0.0.1", registry=self.registry)
        except OSError as error:
            taken = "in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise BusError(f"metrics_port {port} is {taken}; give this line another") from error
