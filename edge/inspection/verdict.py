"""From an inspection to the verdict that is published, kept or printed."""

from __future__ import annotations

import time

from edge import __version__
from edge.config import Line
from edge.inspection.pipeline import Inspection
from edge.inspection.regions import worst
from edge.records import Evaluation, FrameHeader, Verdict

DETAIL = 1000  # characters: subscribers read no text of more than 4 KiB, and an engine's own may have any length


def make_verdict(
    line: Line,
    session: str,
    seq: int,
    camera: str,
    header: FrameHeader | None,
    inspection: Inspection,
    deadline_ns: int | None = None,
    missing: int = 0,
) -> Verdict:
    """header: None where the message's own could not be read, or where there was no message."""
    admission, finding = inspection.admission, inspection.finding
    decided_by = inspection.models[-1] if inspection.models else None
    thresholds = {"unseen": admission.threshold} if admission else {}
    if finding:
        thresholds |= {"score": finding.threshold, "map": finding.map_threshold}
    return Verdict(
        verdict_id=f"{session}-{seq}",
        seq=seq,
        session=session,
        line=line.config.line,
        camera=camera,
        trigger_id=header.trigger_id if header else None,
        part_id=header.part_id if header else None,
        frame_session=header.session if header else None,
        frame_seq=header.seq if header else None,
        missing=missing,
        simulated=header.simulated if header else False,
        t_capture_ns=header.t_capture_ns if header else None,
        evaluation=int(inspection.evaluation),
        reason=inspection.reason,
        detail=(inspection.detail or (admission.why if admission else ""))[:DETAIL],
        fail_safe=inspection.evaluation in (Evaluation.UNDEFINED, Evaluation.NOT_DECIDABLE),
        surface=inspection.surface,
        surface_score=admission.distance / admission.threshold if admission else None,
        unseen_score=admission.distance if admission else None,
        score=finding.score if finding else None,
        thresholds=thresholds,
        attributes=admission.attributes if admission else {},
        regions={name: worst(boxes) for name, boxes in finding.regions.items()} if finding else {},
        defects=finding.defects if finding else (),
        bundles={model.manifest.name: model.bundle.sha256 for model in inspection.models},
        graphs={model.manifest.name: model.runs_on for model in inspection.models},
        engine=decided_by.session.engine if decided_by else None,
        device=decided_by.session.device if decided_by else None,
        precision=decided_by.graph.precision if decided_by else None,
        config_sha256=line.sha256,
        version=__version__,
        t_verdict_ns=time.time_ns(),
        times_ns=inspection.times_ns,
        deadline_ns=deadline_ns,
    )
