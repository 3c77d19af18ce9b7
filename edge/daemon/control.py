"""What the control socket's requests come to."""

from __future__ import annotations

from concurrent.futures import Future

from edge.bus.control import Done, Request, Status, open_service
from edge.bus.guard import Guard
from edge.bus.service import Service
from edge.config import Line
from edge.daemon.inspector import Inspector
from edge.daemon.publisher import Publisher
from edge.daemon.shadow import Outcome, Trial
from edge.daemon.swap import Swaps
from edge.daemon.ticket import Belt


def open_control(
    line: Line, swaps: Swaps, publisher: Publisher, belt: Belt[Inspector], guard: Guard | None
) -> Service | None:
    """None where the line has no control address. Raises BusError."""
    if line.config.control is None:
        return None

    def answer(request: Request) -> Status | Future[Done]:
        if request.ask == "status":
            return status(publisher, belt)
        told: Future[Done] = Future()
        trial = Trial(request.frames, request.seconds, request.disagree)
        swaps.ask(trial).add_done_callback(lambda outcome: told.set_result(done(outcome.result())))
        return told

    return open_service(line.config.control, answer, guard)


def done(outcome: Outcome) -> Done:
    return Done(outcome.inspector is not None, outcome.said)


def status(publisher: Publisher, belt: Belt[Inspector]) -> Status:
    inspector = belt.engines
    models = inspector.pipeline.models
    return Status(
        line=inspector.line.config.line,
        session=publisher.session,
        seq=publisher.seq,
        config_sha256=inspector.line.sha256,
        bundles=inspector.bundles,
        graphs={model.manifest.name: model.runs_on for model in models},
        queues=belt.depths(),
    )
