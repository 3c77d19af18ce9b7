"""What flows through the house, as plain typed data: Frame -> Admission -> Finding -> Verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.vision.image import Pixels

MESSAGE_VERSION = 1
DAY_MS = 86_400_000


class Evaluation(IntEnum):
    """After OPC UA 40001-101. Only OK lets a part pass."""

    UNDEFINED = 0
    OK = 1
    NOT_OK = 2
    NOT_DECIDABLE = 3


Reason = Literal[
    "ok",  # the judge found nothing above its threshold
    "defect",  # it did
    "unseen_surface",  # the gate was never taught this surface
    "no_judge",  # the gate knows the surface, the line has no judge for it
    "bad_frame",  # the message or the image could not be read
    "bad_score",  # a model answered with something that is no score
    "engine_failed",  # an engine failed while running
    "late",  # the frame's deadline had passed before its verdict could leave
    "overload",  # more frames waited for the engines than the line may keep
    "wrong_trigger",  # another frame of its camera came with the same number or trigger
    "old_session",  # its camera has begun anew since, or two cameras share a name
    "not_journaled",  # the journal could not be written, or not in time, and the line's policy is to reject
    "stopped",  # the line was stopped before it was inspected
]
PartReason = (
    Reason
    | Literal[
        "incomplete",  # frames of it were missing when its time had passed
        "no_part_id",  # a frame that names no part, on a line whose parts have several
        "too_many_parts",  # more parts waited for frames than the line may keep
    ]
)

DriftReason = Literal["light", "exposure", "focus", "product"]


Label = Annotated[str, msgspec.Meta(max_length=256)]


class FrameHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Second part of a frame message. Unknown keys are ignored, so that a newer camera may speak to an older edge.

    session: of the camera, another each time it starts; seq: counts in it without gaps. trigger_id: no other frame of
    the camera had it lately; it is how a plant knows which part the verdict is of.

    shape: `[h, w]` or `[h, w, 3]`. dtype: numpy's name. pixel_format: the PFNC name. nbytes: size of the third part.
    crc32c: of the third part. t_capture_ns is on the clock that `clock` names. deadline_ms: above 0, at
    most a day; left out, the frame takes the line's.
    """

    session: Label
    seq: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    trigger_id: Label
    shape: tuple[int, ...]
    dtype: Literal["uint8", "uint16"]
    pixel_format: Label
    encoding: Literal["raw", "png", "jpeg"]
    nbytes: int
    v: int = MESSAGE_VERSION
    part_id: Label | None = None
    t_capture_ns: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] = 0
    clock: Label = "realtime"
    crc32c: int | None = None
    deadline_ms: Annotated[float, msgspec.Meta(gt=0, le=DAY_MS)] | None = None
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a part. pixels: `(h, w)` grey or `(h, w, 3)` RGB; full_scale: the sensor's largest value."""

    pixels: Pixels
    full_scale: int


@dataclass(frozen=True, slots=True)
class Admission:
    """The gate's answer. distance: to the nearest known surface; it is seen up to that surface's threshold.

    attributes: the frame's class embedding by name, 0 to 1. why: a sentence where it is not seen.
    """

    surface: str
    distance: float
    threshold: float
    attributes: dict[str, float] = field(default_factory=dict)
    why: str = ""

    @property
    def seen(self) -> bool:
        return self.distance <= self.threshold


Box = tuple[int, int, int, int]


class Defect(msgspec.Struct, frozen=True):
    """One place of a frame: bbox is `[x, y, w, h]` in its pixels, origin top left; area in its pixels too.

    region: the line's name for the region that it was found in; None where the judge saw the whole frame. label_score:
    how likely the label is, 0..1, where a second step told the kind of defect.
    """

    label: str
    score: float
    bbox: Box
    area: float
    region: str | None = None
    label_score: float | None = None


class RegionScore(msgspec.Struct, frozen=True):
    """What one box of a region, `[x, y, w, h]` in the frame's pixels, was given; above the threshold it is rejected."""

    score: float
    threshold: float
    box: Box


@dataclass(frozen=True, slots=True)
class Finding:
    """The judge's answer. score_map: `(h, w)` float32 over the whole frame, whatever its own resolution.

    regions: where the line has any, a score for each of a region's boxes; score, threshold: then of the worst box.
    stretched: a picture of a rejected frame shows the map from its least to its largest value (Ferrari's equation 11).
    """

    score: float
    threshold: float
    defects: tuple[Defect, ...]
    score_map: NDArray[np.float32]
    map_threshold: float
    regions: dict[str, tuple[RegionScore, ...]] = field(default_factory=dict)
    stretched: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One map on the verdict socket, exactly one for every frame.

    fail_safe: nothing was decided, the line has to treat the part as rejected. missing: frames that its camera numbered
    and that have not come, just before this one. engine, device, precision: of the graph that decided (the judge's, the
    gate's where no judge ran); `graphs` names all that ran. times_ns: per stage; `queue` is what it waited for the
    engines, `run` what they alone took of gate and judge, `total` goes from frame received to verdict made. regions:
    each one's worst box; `score` and `thresholds` are those of the worst of all. attributes: what the gate reads off
    the frame (its class embedding), 0 to 1 by name. journal: its position in the line's journal, None without one;
    durable: it was on the disk before it was published.
    """

    v: int = MESSAGE_VERSION
    verdict_id: str
    seq: int
    session: str
    line: str
    camera: str
    trigger_id: str | None = None
    part_id: str | None = None
    frame_session: str | None = None
    frame_seq: int | None = None
    missing: int = 0
    evaluation: int
    reason: Reason
    detail: str = ""
    fail_safe: bool
    simulated: bool = False
    surface: str | None = None
    surface_score: float | None = None
    unseen_score: float | None = None
    score: float | None = None
    thresholds: dict[str, float] = {}
    attributes: dict[str, float] = {}
    regions: dict[str, RegionScore] = {}
    defects: tuple[Defect, ...] = ()
    bundles: dict[str, str] = {}
    graphs: dict[str, str] = {}
    engine: str | None = None
    device: str | None = None
    precision: str | None = None
    config_sha256: str = ""
    version: str = ""
    t_capture_ns: int | None = None
    t_verdict_ns: int = 0
    times_ns: dict[str, int] = {}
    deadline_ns: int | None = None
    journal: int | None = None
    durable: bool = False


class PartVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One map on the verdict socket, exactly one for every part of a line with [parts]: the worst of its frames.

    seq: counts part verdicts alone. frames: the verdict_id of each frame that came, the first first; expected: how many
    a part has. worst: the verdict_id of the frame that decided; reason, detail, score: its own, unless frames are
    missing. span_ns: from its first frame received until now. journal, durable: as in a frame's verdict.
    """

    v: int = MESSAGE_VERSION
    verdict_id: str
    seq: int
    session: str
    line: str
    part_id: str | None
    evaluation: int
    reason: PartReason
    detail: str = ""
    fail_safe: bool
    simulated: bool = False
    surface: str | None = None
    frames: tuple[str, ...]
    expected: int
    worst: str | None = None
    score: float | None = None
    config_sha256: str = ""
    version: str = ""
    t_verdict_ns: int = 0
    span_ns: int = 0
    journal: int | None = None
    durable: bool = False


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One map on the verdict socket when a camera's frames of a surface begin to be unlike good ones, and one when that
    is over; verdicts stay what they are.

    raised: false where it is over. feature: what tells the reason; moved: all that did. value, usual: its mean of late,
    and on good frames; rank: the share of good frames that it exceeds, 0.5 where nothing has changed. since_ns: when it
    began to leave, t_alarm_ns: when that was sure; on the realtime clock.
    """

    v: int = MESSAGE_VERSION
    line: str
    camera: str
    surface: str
    raised: bool
    reason: DriftReason
    feature: str
    moved: tuple[str, ...]
    value: float
    usual: float
    rank: float
    since_ns: int
    t_alarm_ns: int
    detail: str
