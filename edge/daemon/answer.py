"""One frame message in, exactly one verdict out, whatever is wrong with the message."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from time import perf_counter_ns

from edge.bus.frames import PARTS, camera_of, read_frame, read_header
from edge.config import Line
from edge.errors import FrameError
from edge.inspection.pipeline import Inspection, Pipeline, fail
from edge.inspection.verdict import make_verdict
from edge.records import Evaluation, FrameHeader, Verdict


class Answerer:
    """A line's memory between frames: its own session, the next verdict's number, the cameras' last sequence."""

    def __init__(self, line: Line, pipeline: Pipeline) -> None:
        self.line = line
        self.pipeline = pipeline
        self.session = uuid.uuid4().hex[:12]
        self.seq = 0
        self.frames_missing = 0
        self._next: dict[str, tuple[str, int]] = {}

    def answer(self, parts: Sequence[memoryview], received_ns: int) -> Verdict:
        """received_ns: of perf_counter_ns, when the message was taken off the socket."""
        camera, header, deadline, inspection = "-", None, None, Inspection()
        try:
            if len(parts) != PARTS:
                raise FrameError(f"a frame message has {PARTS} parts, this one has {len(parts)} or more")
            camera = camera_of(parts[0])
            header = read_header(parts[1])
            deadline = self._deadline_ns(header, received_ns)
            self._follow(camera, header)
            frame = read_frame(header, parts[2], self.line.config.limits)
            decoded_ns = perf_counter_ns() - received_ns
            if not expired(deadline, inspection):
                inspection = self.pipeline.inspect(frame)
            inspection.times_ns["decode"] = decoded_ns
        except FrameError as error:
            fail(inspection, error)
        if inspection.evaluation is not Evaluation.UNDEFINED:
            expired(deadline, inspection)
        seq, self.seq = self.seq, self.seq + 1
        inspection.times_ns["total"] = perf_counter_ns() - received_ns
        return make_verdict(self.line, self.session, seq, camera, header, inspection, deadline)

    def _follow(self, camera: str, header: FrameHeader) -> None:
        """Count frames that a camera numbered and that never came."""
        session, expected = self._next.get(camera, ("", 0))
        if session == header.session and header.seq > expected:
            self.frames_missing += header.seq - expected
        if len(self._next) < 1024 or camera in self._next:
            self._next[camera] = (header.session, header.seq + 1)

    def _deadline_ns(self, header: FrameHeader, received_ns: int) -> int | None:
        """On the realtime clock: from capture where the camera says when, and from arrival at the latest."""
        allowed = self.line.config.deadline_ms if header.deadline_ms is None else header.deadline_ms
        if not allowed:
            return None
        arrived = time.time_ns() - (perf_counter_ns() - received_ns)
        captured = header.t_capture_ns if header.t_capture_ns and header.clock == "realtime" else arrived
        return min(captured, arrived) + int(allowed * 1e6)


def expired(deadline_ns: int | None, inspection: Inspection) -> bool:
    """A frame past its deadline is Undefined, whatever was found."""
    if deadline_ns is None or time.time_ns() <= deadline_ns:
        return False
    inspection.evaluation, inspection.reason = Evaluation.UNDEFINED, "late"
    inspection.detail = "the frame's deadline passed before its verdict could leave"
    return True
