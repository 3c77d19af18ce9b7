"""Gate, judge, decision: a frame in, an inspection out. No bus, no clock but its own stage times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

from edge.errors import EdgeError, EngineError, FrameError, ScoreError
from edge.inspection.decide import decide, reason_of
from edge.inspection.gate import Gate
from edge.inspection.judge import Judge
from edge.inspection.kinds import Kinds
from edge.inspection.model import Model
from edge.inspection.regions import RegionJudge
from edge.records import Admission, Evaluation, Finding, Frame, Reason


@dataclass(slots=True)
class Inspection:
    """What is known of one frame. models: those that ran, in order. only: the
    surface of a line without a gate. times_ns: per stage that ran. detail: a sentence
    where something failed."""

    evaluation: Evaluation = Evaluation.UNDEFINED
    reason: Reason = "bad_frame"
    detail: str = ""
    admission: Admission | None = None
    finding: Finding | None = None
    models: list[Model] = field(default_factory=list)
    only: str | None = None
    times_ns: dict[str, int] = field(default_factory=dict)

    @property
    def surface(self) -> str | None:
        """The surface that was inspected; None while it is unseen or unknown."""
        if self.admission is not None:
            return self.admission.surface if self.admission.seen else None
        return self.only


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One line's gate and judges, opened. Without a gate the only judge sees every frame. together: frames that are
    worth being inspected at once."""

    gate: Gate | None
    judges: dict[str, Judge]
    kinds: dict[str, Kinds] = field(default_factory=dict)
    together: int = 1

    def inspect(self, frame: Frame) -> Inspection:
        """Never raises for a bad frame, score or engine: those are answers too (Undefined, with the reason)."""
        inspection = Inspection()
        try:
            self._inspect_all([frame], [inspection])
        except (FrameError, ScoreError, EngineError) as error:
            fail(inspection, error)
        return inspection

    def inspect_all(self, frames: Sequence[Frame]) -> list[Inspection]:
        """As `inspect`: the gate sees all in one run, each judge those of its surface; stage times are of all together.
        Raises FrameError, ScoreError, EngineError, and nobody knows of which frame: inspect each by itself then."""
        inspections = [Inspection() for _ in frames]
        self._inspect_all(frames, inspections)
        return inspections

    def _inspect_all(self, frames: Sequence[Frame], inspections: Sequence[Inspection]) -> None:
        self._admit(frames, inspections)
        judged: dict[int, list[int]] = {}
        for number, inspection in enumerate(inspections):
            judge = self._judge_for(inspection.admission)
            if judge is not None:
                judged.setdefault(id(judge), []).append(number)
        for numbers in judged.values():
            self._judge([frames[number] for number in numbers], [inspections[number] for number in numbers])
        for frame, inspection in zip(frames, inspections, strict=True):
            inspection.evaluation, inspection.reason = decide(inspection.admission, inspection.finding)
            kinds = self.kinds.get(inspection.surface or "")
            if kinds is not None and inspection.evaluation is Evaluation.NOT_OK:
                name_kind(kinds, frame, inspection)

    def _admit(self, frames: Sequence[Frame], inspections: Sequence[Inspection]) -> None:
        if self.gate is None:
            for inspection in inspections:
                inspection.only = next(iter(self.judges))
            return
        started, spent = _begin([self.gate.model], inspections)
        for inspection, admission in zip(inspections, self.gate.admit_all(frames), strict=True):
            inspection.admission = admission
        _note("gate", [self.gate.model], started, spent, inspections)

    def _judge(self, frames: Sequence[Frame], inspections: Sequence[Inspection]) -> None:
        """Those of one judge."""
        judge = self._judge_for(inspections[0].admission)
        assert judge is not None, "only what has a judge comes here"
        models = models_of(judge)
        started, spent = _begin(models, inspections)
        for inspection, finding in zip(inspections, judge.inspect_all(frames), strict=True):
            inspection.finding = finding
        _note("judge", models, started, spent, inspections)

    def _judge_for(self, admission: Admission | None) -> Judge | None:
        if admission is None:
            return next(iter(self.judges.values()))
        return self.judges.get(admission.surface) if admission.seen else None

    @property
    def models(self) -> list[Model]:
        """All that it may run; two surfaces may share a bundle."""
        models = [self.gate.model] if self.gate else []
        models += [model for judge in self.judges.values() for model in models_of(judge)]
        return models + [kinds.model for kinds in self.kinds.values()]

    def close(self) -> None:
        """Bundles may share a session."""
        for session in {id(model.session): model.session for model in self.models}.values():
            session.close()


def name_kind(kinds: Kinds, frame: Frame, inspection: Inspection) -> None:
    """The second step for a rejected frame. Where it fails the rejection stands, with the reason as its detail."""
    assert inspection.finding is not None
    inspection.models.insert(-1, kinds.model)  # the last of them is the one that decided
    started, spent = perf_counter_ns(), kinds.model.spent_ns
    try:
        inspection.finding = kinds.name(frame, inspection.finding)
    except (ScoreError, EngineError) as error:
        inspection.detail = f"the kind of defect is not known: {error}"
    _note("kinds", [kinds.model], started, spent, [inspection])


def models_of(judge: Judge) -> list[Model]:
    """Those that it runs: one, or those of its regions."""
    return judge.models if isinstance(judge, RegionJudge) else [judge.model]


def _begin(models: list[Model], inspections: Iterable[Inspection]) -> tuple[int, int]:
    """The time, and what the engines have taken so far."""
    for inspection in inspections:
        inspection.models += models
    return perf_counter_ns(), sum(model.spent_ns for model in models)


def _note(stage: str, models: list[Model], started: int, spent: int, inspections: Iterable[Inspection]) -> None:
    """A stage's time, and under `run` what the engines alone took of it."""
    took, ran = perf_counter_ns() - started, sum(model.spent_ns for model in models) - spent
    for inspection in inspections:
        inspection.times_ns[stage] = took
        inspection.times_ns["run"] = inspection.times_ns.get("run", 0) + ran


def fail(inspection: Inspection, error: EdgeError) -> None:
    """Turn an error into an answer: Undefined, with its reason."""
    inspection.evaluation = Evaluation.UNDEFINED
    inspection.reason, inspection.detail = reason_of(error), str(error)
