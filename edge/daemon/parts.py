"""Part verdicts beside the frames' own: the clock and the numbering around edge.inspection.part."""

from __future__ import annotations

import time
from time import perf_counter_ns

from edge import __version__
from edge.config import Line, PartsConfig
from edge.inspection.part import PartAnswer, Parts
from edge.records import Evaluation, PartVerdict, Verdict


class PartDesk:
    """A line's parts that wait for frames, and the next part verdict's number."""

    def __init__(self, line: Line, rule: PartsConfig, session: str) -> None:
        """session: the daemon's, as in its frames' verdicts."""
        self.line = line
        self.session = session
        self.seq = 0
        self._parts = Parts(rule)

    def add(self, verdict: Verdict, received_ns: int) -> list[PartVerdict]:
        """received_ns: of perf_counter_ns, when the frame was taken off the socket: the judge's own time is not held
        against the part."""
        return [self._verdict(answer) for answer in self._parts.add(verdict, received_ns)]

    def expire(self, oldest_ns: int) -> list[PartVerdict]:
        """oldest_ns: when the oldest frame that is under way was received: it may belong to a part that waits."""
        return [self._verdict(answer) for answer in self._parts.expire(oldest_ns)]

    def close(self) -> list[PartVerdict]:
        return [self._verdict(answer) for answer in self._parts.close()]

    def _verdict(self, answer: PartAnswer) -> PartVerdict:
        seq, self.seq = self.seq, self.seq + 1
        surfaces = {verdict.surface for verdict in answer.frames}
        return PartVerdict(
            verdict_id=f"{self.session}-part-{seq}",
            seq=seq,
            session=self.session,
            line=self.line.config.line,
            part_id=answer.part_id,
            evaluation=int(answer.evaluation),
            reason=answer.reason,
            detail=answer.detail,
            fail_safe=answer.evaluation in (Evaluation.UNDEFINED, Evaluation.NOT_DECIDABLE),
            simulated=any(verdict.simulated for verdict in answer.frames),
            surface=surfaces.pop() if len(surfaces) == 1 else None,
            frames=tuple(verdict.verdict_id for verdict in answer.frames),
            expected=self._parts.rule.frames,
            worst=answer.worst.verdict_id,
            score=answer.worst.score,
            config_sha256=self.line.sha256,
            version=__version__,
            t_verdict_ns=time.time_ns(),
            span_ns=perf_counter_ns() - answer.began_ns,
        )
