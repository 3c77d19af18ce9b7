"""A line's cameras beside its reference: one `see` for each inspected frame, an alarm where one begins or is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from edge.config import DriftConfig, Line
from edge.drift.features import ANSWERS, Features, answers, measure
from edge.drift.reference import Reference, SurfaceReference, make_reference, read_reference
from edge.drift.watch import Moved, Watch
from edge.inspection.model import Model
from edge.inspection.pipeline import Inspection
from edge.records import Alarm, Evaluation, Frame

MOST_PLACES = 1024  # cameras times surfaces: names come off the bus

Place = tuple[str, str]


class Drift:
    """What is remembered of each camera and surface: its watch, or the OK frames that one will be made of."""

    def __init__(self, line: str, config: DriftConfig, surfaces: Mapping[str, SurfaceReference]) -> None:
        """surfaces: of the reference; none where the line learns."""
        self._line = line
        self._config = config
        self._surfaces = surfaces
        self._watches: dict[Place, Watch] = {}
        self._last: dict[str, str] = {}
        self._learnt: dict[Place, list[Features]] = {}

    def see(self, camera: str, frame: Frame, inspection: Inspection) -> list[Alarm]:
        """What began or was over with this frame; nothing, mostly. To be called after its verdict has left.

        A frame of an unseen surface counts for the last one that this camera showed: where the light fails, none is
        seen any more.
        """
        surface = self._surface(camera, inspection)
        if surface is None:
            return []
        place = camera, surface
        watch = self._watches.get(place) or self._begin(place)
        if watch is None and self._config.learn is None:
            return []
        features = measure(frame) | answers(inspection)
        if watch is None:
            self._learn(place, features, inspection)
            return []
        now = time.time_ns()
        changed = watch.add(features, now)
        return [self._alarm(place, changed, watch.raised is not None, now)] if changed else []

    def end(self) -> list[Alarm]:
        """It sees no more frames: what still stands is over."""
        now = time.time_ns()
        standing = [(place, watch.raised) for place, watch in self._watches.items() if watch.raised]
        return [self._alarm(place, moved, False, now, "is watched anew") for place, moved in standing]

    def _surface(self, camera: str, inspection: Inspection) -> str | None:
        nearest = inspection.admission.surface if inspection.admission else inspection.only
        if inspection.surface is None or nearest is None:
            return self._last.get(camera, nearest)
        if camera in self._last or len(self._last) < MOST_PLACES:
            self._last[camera] = nearest
        return nearest

    def _begin(self, place: Place) -> Watch | None:
        reference = self._surfaces.get(place[1])
        if reference is None or len(self._watches) >= MOST_PLACES:
            return None
        return self._watches.setdefault(place, Watch(reference, self._config.window))

    def _learn(self, place: Place, features: Features, inspection: Inspection) -> None:
        if inspection.evaluation is not Evaluation.OK or (
            place not in self._learnt and len(self._learnt) + len(self._watches) >= MOST_PLACES
        ):
            return
        learnt = self._learnt.setdefault(place, [])
        learnt.append(features)
        if len(learnt) == self._config.learn:
            self._watches[place] = Watch(make_reference(self._learnt.pop(place)), self._config.window)

    def _alarm(self, place: Place, moved: Moved, raised: bool, now: int, over: str = "is as it was") -> Alarm:
        camera, surface = place
        return Alarm(
            line=self._line,
            camera=camera,
            surface=surface,
            raised=raised,
            reason=moved.reason,
            feature=moved.feature,
            moved=moved.all,
            value=moved.value,
            usual=moved.usual,
            rank=moved.rank,
            since_ns=moved.since,
            t_alarm_ns=now,
            detail=_sentence(camera, surface, moved) if raised else f"{camera}, {surface}: {moved.reason} {over}",
        )


def _sentence(camera: str, surface: str, moved: Moved) -> str:
    return (
        f"{camera}, {surface}: {moved.reason} has changed: {moved.feature} is {moved.value:.3g}, {moved.usual:.3g} on"
        f" good frames, {moved.rank:.0%} of which lie below"
    )


def open_drift(line: Line, models: Sequence[Model], say: Callable[[str], None]) -> Drift | None:
    """As the line's [drift] has it; None where it has none. models: the pipeline's. say: told what is not watched.

    Raises ConfigError where the reference cannot be read.
    """
    config = line.config.drift
    if config is None:
        return None
    if config.reference is None:
        return Drift(line.config.line, config, {})
    path = line.path.parent / config.reference
    reference = read_reference(path)
    left = sorted(line.config.judges.keys() - reference.surfaces.keys())
    if left:
        say(f"{path} has no {', '.join(left)}; drift is not watched there. Make it anew: edge reference")
    return Drift(line.config.line, config, usable(reference, path, models, say))


def usable(
    reference: Reference, path: Path, models: Sequence[Model], say: Callable[[str], None]
) -> Mapping[str, SurfaceReference]:
    """Its surfaces; without scores and distances where a bundle has changed since, which answers otherwise now."""
    running = {model.manifest.name: model.bundle.sha256 for model in models}
    changed = sorted(name for name, digest in running.items() if reference.bundles.get(name) != digest)
    if not changed:
        return reference.surfaces
    say(f"{path} was made with another {', '.join(changed)}; pictures alone are watched. Make it anew: edge reference")
    return {
        surface: msgspec.structs.replace(
            known, features={name: usual for name, usual in known.features.items() if name not in ANSWERS}
        )
        for surface, known in reference.surfaces.items()
    }
