"""The daemon, top to bottom: open, warm up, say ready, answer until told to stop."""

from __future__ import annotations

import ctypes
import logging
import signal
import time
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

from edge.bus.frames import FrameInlet
from edge.bus.guard import open_guard
from edge.bus.verdicts import VerdictOutlet
from edge.config import Line
from edge.daemon import notify
from edge.daemon.answer import Answerer
from edge.daemon.parts import PartDesk
from edge.inspection.assemble import open_pipeline
from edge.inspection.certified import certified, check_running
from edge.records import Evaluation, PartVerdict

if TYPE_CHECKING:
    from edge.daemon.metrics import Metrics

log = logging.getLogger("edge")
IDLE_MS = 200


def run(line: Line) -> None:
    """Serve a line until SIGINT or SIGTERM. Raises ConfigError, BundleError, EngineError, MissingExtra, BusError."""
    config = line.config
    certificate = certified(line) if config.require_certificate else None
    guard = open_guard(line)
    frames, verdicts = FrameInlet(config.frames, config.limits, guard), VerdictOutlet(config.verdicts, guard)
    metrics = _serve_metrics(config.metrics_port) if config.metrics_port else None
    pipeline = open_pipeline(line, log.info)
    if certificate:
        check_running(line, certificate, pipeline.models)
        log.info("line %s: certified on %s", config.line, certificate.date)
    _give_memory_back()
    stopping = _stop_on_signals()
    frames.open(config.line)
    log.info("line %s: frames at %s, verdicts at %s", config.line, config.frames, config.verdicts)
    notify.ready(f"inspecting line {config.line}")
    answerer = Answerer(line, pipeline)
    parts = PartDesk(line, config.parts, answerer.session) if config.parts else None
    try:
        serve(frames, verdicts, answerer, parts, metrics, stopping)
    finally:
        notify.stopping()
        frames.close()
        verdicts.close()
        if guard:
            guard.close()
        pipeline.close()
        log.info("line %s: %d verdicts, %d frames missing", config.line, answerer.seq, answerer.frames_missing)


def serve(
    frames: FrameInlet,
    verdicts: VerdictOutlet,
    answerer: Answerer,
    parts: PartDesk | None,
    metrics: Metrics | None,
    stopping: Callable[[], bool],
) -> None:
    """One frame after the other; the watchdog is fed by this loop's progress alone."""
    interval = notify.watchdog_interval()
    fed = 0.0
    while not stopping():
        ended: list[PartVerdict] = []
        verdicts.shut_out_revoked()
        if frames.poll(parts.wait_ms(IDLE_MS) if parts else IDLE_MS) and (message := frames.receive()):
            received_ns = perf_counter_ns()
            missing = answerer.frames_missing
            verdict = answerer.answer(message, received_ns)
            verdicts.send(verdict)
            if metrics:
                metrics.count(verdict, answerer.frames_missing - missing)
            if verdict.detail and verdict.evaluation == Evaluation.UNDEFINED:
                log.warning("%s %s: %s", verdict.camera, verdict.trigger_id or "-", verdict.detail)
            ended = parts.add(verdict, received_ns) if parts else ended
        elif parts:
            ended = parts.expire()
        publish(ended, verdicts, metrics)
        if interval is not None and time.monotonic() - fed >= interval:
            notify.watchdog()
            fed = time.monotonic()
    if parts:
        publish(parts.close(), verdicts, metrics)


def publish(ended: list[PartVerdict], verdicts: VerdictOutlet, metrics: Metrics | None) -> None:
    for verdict in ended:
        verdicts.send_part(verdict)
        if metrics:
            metrics.count_part(verdict)
        if len(verdict.frames) < verdict.expected:
            log.warning("part %s: %s", verdict.part_id or "-", verdict.detail)


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


def _stop_on_signals() -> Callable[[], bool]:
    """The handlers only set a flag."""
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: told.append(caught))
    return lambda: bool(told)
