"""line.toml -> frozen structs. A key that nobody reads is refused, so that a typo cannot switch a check off."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.address import is_address, is_local
from edge.errors import ConfigError
from edge.mistakes import from_toml

EngineName = Literal["auto", "onnx", "openvino", "litert"]
# A name is a folder's and a topic's too: it never leaves the one ("..") nor stands for nothing in the other ("-").
NAMED = "a name: letters, digits, `_`, `.` and `-`, the last two not first"
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\Z", max_length=64, description=NAMED)]
WORDED = "a text of one line at least a character long"
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f]+\Z", description=WORDED)]


Start = Annotated[int, msgspec.Meta(ge=0)]
Side = Annotated[int, msgspec.Meta(ge=1)]


def _finite(threshold: float | None) -> None:
    if threshold is not None and not math.isfinite(threshold):
        raise ValueError(f"threshold = {threshold} would switch the judge off; give a finite number")


class RegionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named region of a frame: boxes that are judged alike, one for each place of it (the five vials of a strip).

    boxes: `[x, y, w, h]` in the frame's own pixels, as verdicts name places and image viewers show them; a frame that
    does not hold them all is Undefined. threshold, bundle: the region's own, in place of the judge's.
    """

    boxes: Annotated[tuple[tuple[Start, Start, Side, Side], ...], msgspec.Meta(min_length=1, max_length=1024)]
    threshold: float | None = None
    bundle: Name | None = None

    def __post_init__(self) -> None:
        _finite(self.threshold)


class JudgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """bundle: its folder's name. threshold: the line's own score threshold instead of the manifest's.

    mode: `dense` is the faster one that some bundles of patches have (edge.bundle.Dense). regions: what the judge sees
    of the frame, by name; the whole frame where there are none. kinds: the bundle that tells a rejected frame's kind of
    defect, taught on this very judge's maps.
    """

    bundle: Name
    threshold: float | None = None
    mode: Literal["full", "dense"] = "full"
    regions: Annotated[dict[Name, RegionConfig], msgspec.Meta(max_length=200)] = {}
    kinds: Name | None = None

    def __post_init__(self) -> None:
        _finite(self.threshold)
        if self.kinds and self.regions:
            raise ValueError("kinds are told by the whole frame; leave out kinds, or regions")
        if self.kinds and self.mode == "dense":
            raise ValueError('kinds are taught on the full mode\'s maps; leave out kinds, or mode = "dense"')

    @property
    def bundles(self) -> tuple[str, ...]:
        """The bundles that it runs."""
        return tuple(region.bundle or self.bundle for region in self.regions.values()) or (self.bundle,)


class PartsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part made of several frames: those of the line that name the same part_id.

    frames: how many. cameras: how many of them by each camera's name; where it is left out any camera's count, so that
    one that is triggered twice stands in for one that is dead. within_ms: from its first frame received to its last;
    what is missing then is missed. waiting: how many parts may wait for frames at once; one more, and the oldest is
    answered as it is.
    """

    frames: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    within_ms: Annotated[float, msgspec.Meta(gt=0, le=86_400_000)]
    waiting: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 64
    cameras: dict[Name, Annotated[int, msgspec.Meta(ge=1)]] = {}

    def __post_init__(self) -> None:
        if self.cameras and sum(self.cameras.values()) != self.frames:
            raise ValueError(
                f"cameras give {sum(self.cameras.values())} frames, frames = {self.frames}; make them agree"
            )


class DriftConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Are a camera's frames still like good ones? An alarm where not; verdicts stay what they are.

    reference: what `edge reference` wrote, relative to this file. learn: without one, so many OK frames of each camera
    and surface after each start are the reference. window: frames that an answer goes by.
    """

    reference: Text | None = None
    learn: Annotated[int, msgspec.Meta(ge=50, le=100_000)] | None = None
    window: Annotated[int, msgspec.Meta(ge=20, le=100_000)] = 200

    def __post_init__(self) -> None:
        if (self.reference is None) == (self.learn is None):
            raise ValueError("give reference, what `edge reference` wrote, or learn = 500: one of the two")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a frame may claim before anything is allocated for it, and what the line bears.

    frames_per_s: of one camera; 0: any. waiting: frames that may wait for the engines; one more, and the oldest is
    answered as Undefined. hang_ms: engines that take longer for one frame are taken for hung, and opened anew.
    """

    frame_bytes: Annotated[int, msgspec.Meta(gt=0)] = 64 * 1024 * 1024
    pixels: Annotated[int, msgspec.Meta(gt=0)] = 64_000_000
    frames_per_s: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    waiting: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 64
    hang_ms: Annotated[float, msgspec.Meta(gt=0, le=3_600_000)] = 4000.0


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where everything that was published can be read again.

    folder: relative to the line's file, or absolute. mode: `durable` has a verdict on the disk before it is published,
    or tells it as Undefined where the disk is too slow for its deadline; `fast` has it there at most about 10 ms after.
    quota_mb: of all segments; the oldest are deleted. segment_mb: of one file. full: what becomes of verdicts while the
    disk is full or fails: the daemon stops, they are all Undefined, or they go on as they are, not durable. replay: a
    ZeroMQ address that the daemon binds, for those who come late; none: no replays. pictures_mb: of the kept pictures;
    0: none is kept. near: a good frame's picture is kept too where its score is within this share of the threshold.
    """

    folder: Text
    mode: Literal["durable", "fast"] = "durable"
    quota_mb: Annotated[int, msgspec.Meta(ge=2, le=1 << 24)] = 1024
    segment_mb: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    full: Literal["stop", "reject", "flag"] = "reject"
    replay: Text | None = None
    pictures_mb: Annotated[int, msgspec.Meta(ge=0, le=1 << 24)] = 256
    near: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1

    def __post_init__(self) -> None:
        if self.quota_mb < 2 * self.segment_mb:
            raise ValueError(f"quota_mb = {self.quota_mb} does not hold two segments of {self.segment_mb} MB; raise it")


class SecurityConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may speak to the line, by CURVE keys (`edge keys`). All paths are relative to the line's file.

    key: the daemon's own secret key; a bare name is looked for in $CREDENTIALS_DIRECTORY first. cameras, subscribers,
    control: folders of the public keys that are let in, a file NAME.pub each; one that is deleted is shut out within a
    second. bundle_keys: Ed25519 public keys, one of which has to have signed each bundle (`edge sign`); none: unsigned
    bundles are opened.
    """

    key: Text
    cameras: Text = "authorized/cameras"
    subscribers: Text = "authorized/subscribers"
    control: Text = "authorized/control"
    bundle_keys: tuple[Text, ...] = ()


class LineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line. frames, verdicts: ZeroMQ addresses that the daemon binds. bundles: a folder, relative to the file.

    gate: its bundle, or none for a line with a single judge. engine: `auto` takes the fastest graph by measurement.
    awake: the cores that the daemon may use do not sleep between frames. Answers come sooner, the box draws more power,
    and other services that share these cores get half of them.
    deadline_ms: for frames that bring none; 0 means no deadline. metrics_port: Prometheus on loopback; 0 means none.
    parts: for a line whose parts are made of several frames; none where each frame is a part. drift: alarms on changed
    light, exposure, focus or product; none where nobody watches. require_certificate: the
    daemon starts only with a PASS of `edge-bench certify` for this box and these bundles. certificate, certificate_key:
    its file and the trusted public key's, relative to this one. journal: none where nothing is to be kept. control: an
    address where `edge reload` reaches the daemon; none: by SIGHUP alone. security:
    keys for the sockets and the bundles; without it they listen on this box alone, unless allow_plain says that the
    network is closed.
    """

    line: Name
    frames: Text
    verdicts: Text
    bundles: Text = "."
    gate: Name | None = None
    engine: EngineName = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2
    awake: bool = False
    deadline_ms: Annotated[float, msgspec.Meta(ge=0, le=86_400_000)] = 0.0
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    judges: dict[Name, JudgeConfig]
    parts: PartsConfig | None = None
    limits: Limits = Limits()
    drift: DriftConfig | None = None
    require_certificate: bool = False
    certificate: Text | None = None
    certificate_key: Text | None = None
    journal: JournalConfig | None = None
    control: Text | None = None
    security: SecurityConfig | None = None
    allow_plain: bool = False

    def __post_init__(self) -> None:
        if self.gate is None and len(self.judges) != 1:
            raise ValueError("without a gate a line has exactly one judge; name a gate or leave one judge")
        if self.require_certificate and not (self.certificate and self.certificate_key):
            raise ValueError("require_certificate needs certificate and certificate_key: its file and the trusted .pub")
        taken: dict[str, str] = {}
        for name, address in self._addresses():
            if not is_address(address):
                raise ValueError(f"{name} = {address} is no address; write ipc:///folder/name or tcp://127.0.0.1:port")
            if taken.setdefault(address, name) != name:
                raise ValueError(f"{taken[address]} and {name} are both {address}; give each its own address")
        for name, address in self._addresses():
            if not (self.security or self.allow_plain or is_local(address)):
                raise ValueError(
                    f"{name} = {address} leaves this box, and anyone could use it: make keys with `edge keys new` and"
                    " name them in [security], or write allow_plain = true where the network is closed"
                )

    def _addresses(self) -> list[tuple[str, str]]:
        """Those that the daemon binds, by their keys."""
        replay = self.journal.replay if self.journal else None
        named = {"frames": self.frames, "verdicts": self.verdicts, "control": self.control, "journal.replay": replay}
        return [(name, address) for name, address in named.items() if address]


class Line(msgspec.Struct, frozen=True):
    """A config with what it was read from. sha256: of the file's bytes, named in every verdict."""

    path: Path
    config: LineConfig
    bundles: Path
    sha256: str


def read_line(path: Path) -> Line:
    """Read and check line.toml. Raises ConfigError naming the file and the field."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; give the line's TOML file with --config") from error
    try:
        config = from_toml(data, LineConfig)
        bundles = (path.parent / config.bundles).resolve()
    except (ValueError, OSError, RuntimeError) as error:  # the latter of links that lead in a circle
        raise ConfigError(f"{path}: {error}") from error
    return Line(path, config, bundles, hashlib.sha256(data).hexdigest())
