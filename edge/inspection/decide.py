"""From what was found to what is said. Nothing unsure is ever OK."""

from __future__ import annotations

from edge.errors import EdgeError, EngineError, FrameError, ScoreError
from edge.records import Admission, Evaluation, Finding, Reason


def decide(admission: Admission | None, finding: Finding | None) -> tuple[Evaluation, Reason]:
    """A gate's admission (None on a line without a gate) and a judge's finding (None where none ran)."""
    if admission is not None and not admission.seen:
        return Evaluation.NOT_DECIDABLE, "unseen_surface"
    if finding is None:
        return Evaluation.NOT_DECIDABLE, "no_judge"
    if finding.score <= finding.threshold:  # this way round a NaN does not pass
        return Evaluation.OK, "ok"
    return Evaluation.NOT_OK, "defect"


def reason_of(error: EdgeError) -> Reason:
    """Why nothing could be decided; the evaluation is Undefined."""
    if isinstance(error, FrameError):
        return "bad_frame"
    if isinstance(error, ScoreError):
        return "bad_score"
    if isinstance(error, EngineError):
        return "engine_failed"
    raise error
