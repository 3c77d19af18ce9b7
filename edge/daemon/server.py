"""The daemon, top to bottom: open, warm up, say ready, let the crew work, answer what is left, stop."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.bus.frames import FrameInlet
from edge.bus.guard import open_guard
from edge.bus.verdicts import VerdictOutlet
from edge.config import Line
from edge.daemon import notify
from edge.daemon.awake import keep_awake
from edge.daemon.control import open_control
from edge.daemon.deadline import CaptureClock
from edge.daemon.inspector import Inspector
from edge.daemon.intake import Intake
from edge.daemon.publisher import Publisher
from edge.daemon.supervisor import Supervisor
from edge.daemon.ticket import Belt
from edge.daemon.worker import Crew
from edge.drift.drift import open_drift
from edge.errors import EdgeError
from edge.inspection.assemble import open_pipeline
from edge.inspection.certified import certified, check_running
from edge.inspection.pipeline import Pipeline

if TYPE_CHECKING:
    from edge.daemon.metrics import Metrics

log = logging.getLogger("edge")
LAST_FRAMES_S = 5.0  # what is under way when the line is stopped has so long


def run(line: Line) -> None:
    """Serve a line until SIGINT or SIGTERM. Raises ConfigError, BundleError, EngineError, MissingExtra, BusError."""
    config = line.config
    guard = open_guard(line)
    frames, verdicts = FrameInlet(config.frames, config.limits, guard), VerdictOutlet(config.verdicts, guard)
    metrics = _serve_metrics(config.metrics_port) if config.metrics_port else None

    pipeline = open_engines(line)
    stopping = stop_on_signals()
    belt, clock = Belt(config.limits.waiting, frames.wake, Inspector(line, pipeline)), CaptureClock()
    publisher = Publisher(line, belt, verdicts, clock, metrics, open_drift(line, pipeline.models, log.warning), guard)
    crew = Crew(Intake(config, frames, belt, clock, metrics), belt, publisher.finish)
    supervisor = Supervisor(crew, publisher, open_engines, metrics)
    signal.signal(signal.SIGHUP, lambda *_: supervisor.reload())
    control = open_control(line, supervisor.swaps, publisher, belt, guard)
    if metrics:
        metrics.graphs(pipeline.models)
        metrics.watch_queues(belt.depths)
        if publisher.journal:
            metrics.watch_journal(publisher.journal)
    if config.awake:
        keep_awake()
    frames.open(config.line)
    log.info("line %s: frames at %s, verdicts at %s", config.line, config.frames, config.verdicts)
    supervisor.start()
    if metrics:
        metrics.ready(True)
    notify.ready(f"inspecting line {config.line}")
    fault: EdgeError | None = None
    try:
        supervisor.watch(stopping, [end.thread for end in (control, guard) if end])
    except EdgeError as error:
        fault = error
    finally:
        notify.stopping()
        left = supervisor.stop(LAST_FRAMES_S)
        for end in (control, frames, verdicts, guard):
            if end:
                end.close()
        log.info("line %s: %d verdicts, %d frames missing", config.line, publisher.seq, publisher.missing)
    if left:
        _leave_behind(left, fault)
    if fault:
        raise fault


def open_engines(line: Line) -> Pipeline:
    """A line's engines, warm. Raises ConfigError, BundleError, EngineError, MissingExtra."""
    certificate = certified(line) if line.config.require_certificate else None
    pipeline = open_pipeline(line, log.info)
    if certificate:
        check_running(line, certificate, pipeline.models)
        log.info("line %s: certified on %s", line.config.line, certificate.date)
    _give_memory_back()
    return pipeline


def _leave_behind(threads: list[str], fault: EdgeError | None) -> None:
    """A thread that hangs inside an engine, or at a disk, would keep the process from ending."""
    log.warning("did not end, inside an engine or at a disk that does not answer: %s", ", ".join(threads))
    if fault:
        log.error("%s", fault)
    time.sleep(1.0)  # what was published is sent by then (edge.bus.sockets)
    sys.stderr.flush()
    os._exit(fault.exit_code if fault else 0)


def _serve_metrics(port: int) -> Metrics:
    from edge.daemon.metrics import Metrics  # 9 MB, an HTTP server and its TLS, for those who ask for it

    metrics = Metrics()
    metrics.serve(port)
    return metrics


def _give_memory_back() -> None:
    """Opening graphs takes more memory than running them, and glibc keeps it until it is told."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def stop_on_signals() -> Callable[[], bool]:
    """Did one come? The handlers take no lock: an Event's could be held by the very thread that they interrupt."""
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: told.append(number))
    return lambda: bool(told)
