"""A part made of several frames: which frames make it, and what they say together. No bus and no clock of its own.

The order is NotOK, Undefined, NotDecidable, OK, the worst first. NotOK stands above Undefined because it is known: one
rejected frame rejects the part whatever the others would have shown (Ferrari 6.2.2, 7.4), and no missing frame could
take it back. Undefined stands above NotDecidable because a fault of the line is mended before a new surface is taught.
OK is last: it needs every frame, and every one of them OK.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge.config import PartsConfig
from edge.records import Evaluation, PartReason, Verdict

WORST_LAST = (Evaluation.OK, Evaluation.NOT_DECIDABLE, Evaluation.UNDEFINED, Evaluation.NOT_OK)
RANK = {evaluation: rank for rank, evaluation in enumerate(WORST_LAST)}
TOO_MANY = 4  # times the frames of a part, while one of its cameras is still missing

FrameKey = tuple[str, str | None, int | None]


def worst_evaluation(evaluations: Iterable[int], missing: bool) -> Evaluation:
    """Of a part's frames; one that lacks some is Undefined at best."""
    at_best = Evaluation.UNDEFINED if missing else Evaluation.OK
    return max([at_best, *map(Evaluation, evaluations)], key=RANK.__getitem__)


@dataclass(frozen=True, slots=True)
class PartAnswer:
    """What is known of one part. frames: as they came, at least one. worst: the one that decided, or was nearest to.
    began_ns: of its first frame, on the caller's clock."""

    part_id: str | None
    evaluation: Evaluation
    reason: PartReason
    detail: str
    frames: tuple[Verdict, ...]
    worst: Verdict
    began_ns: int


@dataclass(slots=True)
class _Waiting:
    began_ns: int
    frames: dict[FrameKey, Verdict] = field(default_factory=dict)


class Parts:
    """The parts that wait for frames, the oldest first; never more than the line allows, each for `within_ms` at most.

    All times are nanoseconds of one clock that the caller keeps, and never go back.
    """

    def __init__(self, rule: PartsConfig) -> None:
        self.rule = rule
        self._within_ns = int(rule.within_ms * 1e6)
        self._waiting: dict[str, _Waiting] = {}

    @property
    def due_ns(self) -> int | None:
        """When the oldest part's time has passed; None while none waits."""
        oldest = next(iter(self._waiting.values()), None)
        return None if oldest is None else oldest.began_ns + self._within_ns

    def add(self, verdict: Verdict, received_ns: int) -> list[PartAnswer]:
        """One frame's verdict. The parts that it ends: those whose time has passed, the one that it completes, the
        oldest where it begins one too many."""
        answers = self.expire(received_ns)
        if not verdict.part_id:
            said = "the frame names no part_id, and a part of this line is made of frames that share one"
            return [*answers, self._answer(None, _Waiting(received_ns, {_key(verdict): verdict}), "no_part_id", said)]
        if verdict.part_id not in self._waiting and len(self._waiting) >= self.rule.waiting:
            said = f"it was the oldest of {self.rule.waiting} parts that waited for frames, and one more began"
            answers.append(self._end(next(iter(self._waiting)), "too_many_parts", said))
        part = self._waiting.setdefault(verdict.part_id, _Waiting(received_ns))
        before = part.frames.get(_key(verdict))  # a frame that came twice is one frame, and what was worse of it stays
        if before is None or RANK[Evaluation(verdict.evaluation)] > RANK[Evaluation(before.evaluation)]:
            part.frames[_key(verdict)] = verdict
        if not self._lacking(part):
            answers.append(self._end(verdict.part_id))
        elif len(part.frames) >= TOO_MANY * self.rule.frames:
            answers.append(self._end(verdict.part_id, "incomplete", "the other cameras sent too many"))
        return answers

    def expire(self, now_ns: int) -> list[PartAnswer]:
        """The parts whose time has passed."""
        answers = []
        while (due := self.due_ns) is not None and due < now_ns:
            said = f"frames were missing after {self.rule.within_ms:g} ms"
            answers.append(self._end(next(iter(self._waiting)), "incomplete", said))
        return answers

    def close(self) -> list[PartAnswer]:
        """All that wait, as they are: the line ends."""
        return [self._end(part_id, "incomplete", "the line was stopped") for part_id in list(self._waiting)]

    def _end(self, part_id: str, reason: PartReason = "incomplete", why: str = "") -> PartAnswer:
        part = self._waiting.pop(part_id)
        lacking = self._lacking(part)
        return self._answer(part_id, part, reason if lacking else None, f"{lacking}: {why}" if lacking else "")

    def _lacking(self, part: _Waiting) -> str:
        """What has not come yet, in words; empty where the part is complete."""
        if not self.rule.cameras:
            came, wanted = len(part.frames), self.rule.frames
            return f"{came} of {wanted} frames came" if came < wanted else ""
        by_camera = Counter(verdict.camera for verdict in part.frames.values())
        short = [f"{by_camera[name]} of {n} by {name}" for name, n in self.rule.cameras.items() if by_camera[name] < n]
        return f"{', '.join(short)} came" if short else ""

    def _answer(self, part_id: str | None, part: _Waiting, fault: PartReason | None, detail: str) -> PartAnswer:
        """fault: why it cannot be OK whatever its frames say; None where all came."""
        frames = tuple(part.frames.values())
        worst = max(frames, key=lambda verdict: RANK[Evaluation(verdict.evaluation)])
        evaluation = worst_evaluation((verdict.evaluation for verdict in frames), missing=fault is not None)
        reason = worst.reason if fault is None or evaluation is Evaluation.NOT_OK else fault
        return PartAnswer(part_id, evaluation, reason, detail or worst.detail, frames, worst, part.began_ns)


def _key(verdict: Verdict) -> FrameKey:
    return verdict.camera, verdict.frame_session, verdict.frame_seq
