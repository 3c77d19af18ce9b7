"""What the daemon counts, after the Prometheus conventions; served on loopback where the line names a port.

A label's value costs a look-up under a lock, so each child is looked up once and kept. What comes off the bus is no
label beyond MOST different ones: a camera that makes up names must not fill the memory of whoever scrapes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from functools import partial
from typing import Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.metrics import MetricWrapperBase

from edge.errors import BusError
from edge.inspection.model import Model
from edge.journal.writer import Journal
from edge.records import Alarm, Evaluation, PartVerdict, Verdict

STAGES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
LATENESS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
MOST = 1024
OTHERS = "others"
EVALUATIONS = {int(evaluation): evaluation.name.lower() for evaluation in Evaluation}

Lost = Literal["missing", "repeated", "out_of_order"]
Metric = TypeVar("Metric", bound=MetricWrapperBase)


class Children(Generic[Metric]):
    """A metric's children by their labels' values."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], Metric] = {}

    def at(self, *values: str) -> Metric:
        """The one with these values; from MOST on the one that stands for all others."""
        child = self._children.get(values)
        if child is None:
            values = values if len(self._children) < MOST else (OTHERS,) * len(values)
            child = self._children[values] = self._metric.labels(*values)
        return child


class Metrics:
    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self._frames = Children(Counter("edge_frames", "Frame messages that were answered.", ["camera"], registry=r))
        self._verdicts = Children(
            Counter("edge_verdicts", "Verdicts published.", ["evaluation", "reason", "surface"], registry=r)
        )
        self._parts = Children(Counter("edge_parts", "Part verdicts published.", ["evaluation", "reason"], registry=r))
        self._lost = Children(
            Counter(
                "edge_frames_lost", "Frames by their cameras' numbers not in order.", ["camera", "kind"], registry=r
            )
        )
        self._drops = Children(
            Counter("edge_drops", "Frames answered without being looked at.", ["reason"], registry=r)
        )
        self._seconds = Children(
            Histogram("edge_stage_seconds", "Time of each stage.", ["stage"], buckets=STAGES, registry=r)
        )
        self._lateness = Histogram(
            "edge_lateness_seconds",
            "How late verdicts were, of those past their deadline.",
            buckets=LATENESS,
            registry=r,
        )
        self._queues = Gauge("edge_queue_depth", "Frames that wait for a stage.", ["queue"], registry=r)
        self._graphs = Gauge(
            "edge_graph_info", "Graphs that are open.", ["bundle", "engine", "device", "precision"], registry=r
        )
        self._replacements = Counter("edge_engine_replacements", "Engines replaced after they failed.", registry=r)
        self._lag = Gauge("edge_journal_lag_seconds", "Age of the oldest verdict that is not on disk yet.", registry=r)
        self._position = Gauge("edge_journal_position", "Number of the journal's last record.", registry=r)
        self._alarms = Children(
            Gauge(
                "edge_drift_alarm", "1 while frames are unlike good ones.", ["camera", "surface", "reason"], registry=r
            )
        )
        self._ready = Gauge("edge_ready", "1 while the line is inspected.", registry=r)

    def count(self, verdict: Verdict, missing: int = 0) -> None:
        """A verdict that has left. missing: frames that its camera had sent before it and that never came."""
        self._frames.at(verdict.camera).inc()
        self._verdicts.at(EVALUATIONS[verdict.evaluation], verdict.reason, verdict.surface or "-").inc()
        for stage, spent in verdict.times_ns.items():
            self._seconds.at(stage).observe(spent / 1e9)
        if verdict.deadline_ns is not None and verdict.t_verdict_ns > verdict.deadline_ns:
            self._lateness.observe((verdict.t_verdict_ns - verdict.deadline_ns) / 1e9)
        if not verdict.graphs:
            self._drops.at(verdict.reason).inc()
        if missing:
            self.lost(verdict.camera, "missing", missing)

    def count_part(self, verdict: PartVerdict) -> None:
        self._parts.at(EVALUATIONS[verdict.evaluation], verdict.reason).inc()

    def lost(self, camera: str, kind: Lost, frames: int = 1) -> None:
        """By the camera's own numbers: that never came, came again, or came after a later one."""
        self._lost.at(camera, kind).inc(frames)

    def watch_queues(self, depths: Callable[[], dict[str, int]]) -> None:
        """depths: by each queue's name; asked at each scrape, in its thread."""
        for queue in depths():
            self._queues.labels(queue).set_function(partial(_depth, depths, queue))

    def watch_journal(self, journal: Journal) -> None:
        """Asked at each scrape, in its thread."""
        self._lag.set_function(lambda: journal.lag_s)
        self._position.set_function(lambda: journal.next_position - 1)

    def graphs(self, models: Iterable[Model]) -> None:
        """What is open now, in place of what was."""
        self._graphs.clear()
        for model in models:
            name, session = model.manifest.name, model.session
            self._graphs.labels(name, session.engine, session.device, model.graph.precision).set(1)

    def replaced(self) -> None:
        """An engine failed and another stands in its place; `graphs` tells which."""
        self._replacements.inc()

    def alarm(self, alarm: Alarm) -> None:
        self._alarms.at(alarm.camera, alarm.surface, alarm.reason).set(float(alarm.raised))

    def ready(self, is_ready: bool) -> None:
        self._ready.set(float(is_ready))

    def serve(self, port: int) -> None:
        """Raises BusError where the port is in use."""
        try:
            start_http_server(port, "127.0.0.1", registry=self.registry)
        except OSError as error:
            taken = "in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise BusError(f"metrics_port {port} is {taken}; give this line another") from error


def _depth(depths: Callable[[], dict[str, int]], queue: str) -> float:
    return depths()[queue]
