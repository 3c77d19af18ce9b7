"""When a frame's verdict is due, on a clock that nobody can set."""

from __future__ import annotations

import time

from edge.records import FrameHeader

STEP_NS = 50_000_000  # slewing (adjtimex: at most 500 ppm) never moves the clock so far between two frames
REMEMBERED_NS = 60_000_000_000
AHEAD_NS = 1_000_000  # two readings of one clock, made in either order


class CaptureClock:
    """How old a frame is when it comes, by its camera's time stamp. The box's clock may be stepped meanwhile: a stamp
    that was made before is read by the clock as it was."""

    def __init__(self) -> None:
        self._ahead = time.time_ns() - time.perf_counter_ns()
        self._before: tuple[int, int] | None = None  # what it was ahead, and until when that is remembered

    def realtime_ns(self, instant_ns: int) -> int:
        """An instant of perf_counter_ns as the box's clock tells it now."""
        return instant_ns + self._ahead

    def age_ns(self, captured_ns: int, received_ns: int) -> int:
        """Never negative: a stamp from the future is a frame of now."""
        ahead = time.time_ns() - time.perf_counter_ns()
        if abs(ahead - self._ahead) > STEP_NS:
            self._before = self._ahead, received_ns + REMEMBERED_NS
        self._ahead = ahead
        clocks = [ahead] if self._before is None or received_ns > self._before[1] else [ahead, self._before[0]]
        ages = [age for clock in clocks if (age := received_ns + clock - captured_ns) >= -AHEAD_NS]
        return max(0, min(ages, default=0))

    def deadline_ns(self, header: FrameHeader, received_ns: int, usual_ms: float) -> int | None:
        """Of perf_counter_ns: from capture where the camera says when, and from arrival at the latest. usual_ms: the
        line's own, for frames that bring none; 0: it has none. None: there is none."""
        allowed = header.deadline_ms or usual_ms
        if not allowed:
            return None
        stamped = header.t_capture_ns and header.clock == "realtime"
        age = self.age_ns(header.t_capture_ns, received_ns) if stamped else 0
        return received_ns - age + int(allowed * 1e6)
