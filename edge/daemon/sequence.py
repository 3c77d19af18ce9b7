"""Is a frame the next one of its camera? What was lost, doubled, out of order or of another run is found by number and
trigger. No clock, no bus."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from edge.records import FrameHeader

Kind = Literal["next", "out_of_order", "repeated", "wrong_trigger", "old_session"]
CAMERAS, SESSIONS, KEPT = 1024, 16, 1024  # what is remembered: of all, of a camera, of its session
TRIGGERS = 64  # few enough for a trigger that is counted in eight bits


@dataclass(frozen=True, slots=True)
class Order:
    """kind: `repeated` is the same frame again, which has its verdict; `wrong_trigger` is another frame under a number
    or a trigger that was used; `old_session` one of a camera that has begun anew since, or of two that share a name.
    missing: frames that its camera numbered and that have not come, just before this one."""

    kind: Kind
    missing: int = 0


IN_ORDER = Order("next")


@dataclass(slots=True)
class _Camera:
    session: str
    next: int = 0
    triggers: dict[str, int] = field(default_factory=dict)
    seqs: dict[int, str] = field(default_factory=dict)
    former: deque[str] = field(default_factory=lambda: deque(maxlen=SESSIONS))


class Sequencer:
    """What each camera of a line has sent so far."""

    def __init__(self) -> None:
        self._cameras: dict[str, _Camera] = {}

    def check(self, camera: str, header: FrameHeader) -> Order:
        """The first frame of a session is a start, not a gap."""
        known = self._cameras.get(camera)
        if known is None:
            if len(self._cameras) >= CAMERAS:
                return Order("next")  # a flood of names is not remembered
            known = self._cameras[camera] = _Camera(header.session, header.seq)
        if header.session in known.former:
            return Order("old_session")
        if header.session != known.session:
            former = known.former
            former.append(known.session)
            known = self._cameras[camera] = _Camera(header.session, header.seq, former=former)
        return _place(known, header)


def _place(known: _Camera, header: FrameHeader) -> Order:
    seq, trigger = header.seq, header.trigger_id
    if known.seqs.get(seq) == trigger:
        return Order("repeated")
    if seq in known.seqs:
        return Order("wrong_trigger")
    used = trigger in known.triggers
    known.seqs[seq], known.triggers[trigger] = trigger, seq
    if len(known.seqs) > KEPT:
        del known.seqs[next(iter(known.seqs))]
    if len(known.triggers) > TRIGGERS:
        del known.triggers[next(iter(known.triggers))]
    late, missing = seq < known.next, max(0, seq - known.next)
    known.next = max(known.next, seq + 1)
    if used:
        return Order("wrong_trigger", missing)
    if late:
        return Order("out_of_order")
    return Order("next", missing) if missing else IN_ORDER
