"""One bundle, the graph that was chosen from it, and the session that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

import numpy as np

from edge.bundle import Bundle, Graph, Manifest
from edge.engines.session import Floats, Session
from edge.errors import BundleError, EngineError
from edge.golden import check_golden
from edge.records import Frame
from edge.vision.image import InputRule, prepare


def is_flat(values: Floats) -> bool:
    """The same number everywhere in `(n, ...)`, and more than one of it for each."""
    flat = values.reshape(-1)
    return flat.size > len(values) and flat[0] == flat[-1] and bool((flat == flat[0]).all())


def one_batch(batches: Sequence[Floats]) -> Floats:
    """Several `(n, c, h, w)` as one; no copy of a single one."""
    return batches[0] if len(batches) == 1 else np.concatenate(batches)


def apart(answer: tuple[Floats, ...], count: int) -> list[tuple[Floats, ...]]:
    """What `one_batch` of so many alike was answered, for each: views, no copies."""
    if count == 1:
        return [answer]
    each = [out.reshape(count, -1, *out.shape[1:]) for out in answer]
    return [tuple(out[number] for out in each) for number in range(count)]


@dataclass(slots=True)
class Looked:
    """What a session answered to whole frames, while that is the last it did. Models on one session share it."""

    rule: InputRule | None = None
    answers: list[tuple[Frame, tuple[Floats, ...]]] = field(default_factory=list)


@dataclass(slots=True)
class Model:
    """began, ended: of its last run, on perf_counter_ns, so that the engine's own time can be told from ours.
    spent_ns: of all its runs. full: the bundle as it was opened, where `bundle` is its dense mode. stages: nanoseconds
    of the last frame's stages after the run that are timed apart. threads: the engine's; as many may work on what it
    answered."""

    bundle: Bundle
    graph: Graph
    session: Session
    began: int = 0
    ended: int = 0
    spent_ns: int = 0
    full: Bundle | None = None
    stages: dict[str, int] = field(default_factory=dict)
    looked: Looked = field(default_factory=Looked)
    threads: int = 1

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def runs_on(self) -> str:
        """engine/device/precision, as verdicts name it."""
        return f"{self.session.engine}/{self.session.device}/{self.graph.precision}"

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        """See Session.run. Raises EngineError too where the network answers nothing any more."""
        self.looked.answers = []
        self.began = perf_counter_ns()
        answer = self.session.run(batch)
        self.ended = perf_counter_ns()
        self.spent_ns += self.ended - self.began
        if any(is_flat(out) for out in answer) and not is_flat(batch):
            return self._again(batch)
        return answer

    def _again(self, batch: Floats) -> tuple[Floats, ...]:
        """An answer without any difference may be right, or of a network that is dead: the golden frame tells."""
        try:
            check_golden(self.full or self.bundle, self.graph, self.session)
        except BundleError as error:
            raise EngineError(f"the network answers the same number everywhere, and is not right: {error}") from error
        return self.session.run(batch)

    def look(self, frame: Frame) -> tuple[Floats, ...]:
        """Run a whole frame, and keep the answer for whoever shares the session. Raises EngineError, FrameError."""
        return self.look_all([frame])[0]

    def look_all(self, frames: Sequence[Frame]) -> list[tuple[Floats, ...]]:
        """As `look`, all in one run."""
        rule = self.manifest.input
        answer = self.run(one_batch([prepare(frame.pixels, rule, frame.full_scale) for frame in frames]))
        answers = apart(answer, len(frames))
        self.looked.rule, self.looked.answers = rule, list(zip(frames, answers, strict=True))
        return answers

    def look_again(self, frame: Frame, alone: InputRule | None = None) -> tuple[Floats, ...]:
        """As `look`, at no cost where the gate has just looked at this very frame in the same way; once. alone: the
        views that are enough where it has not."""
        rule, answers = self.manifest.input, self.looked.answers
        answer = next((answer for one, answer in answers if one is frame), None)
        if answer is None or self.looked.rule != rule:
            return self.run(prepare(frame.pixels, alone or rule, frame.full_scale))
        self.looked.answers = [pair for pair in answers if pair[0] is not frame]
        self.began = self.ended = perf_counter_ns()
        return answer
