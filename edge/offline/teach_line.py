"""`edge teach` from end to end: check all that can be checked, look, write the judge, the gate and line.toml."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import tomli_w

from edge.bundle import Bundle, open_bundle
from edge.config import Line, LineConfig, Name, read_line
from edge.engines.session import Floats, open_graph
from edge.errors import ConfigError, DataError
from edge.inspection.assemble import line_bundles
from edge.inspection.gate import Gate
from edge.inspection.model import Model
from edge.offline.good import good_files, once_each
from edge.offline.pack import rewrite
from edge.offline.progress import Progress
from edge.offline.teach import Lesson, Seen, look_at, runnable, teach_judge
from edge.offline.teach_gate import teach_gate

FEWEST, MOST = 10, 1000
MOST_TILES = 6000  # some 300 MB of cells for each graph
LEAST_SIDE = 32
ODD = 2.0
ENOUGH = 0.9


@dataclass(frozen=True)
class Taught:
    """admitted: share of the images that the gate takes for the surface. odd: images that look least like the others.
    notes: what somebody has to know or do, a sentence each."""

    bundle: str
    images: int
    threshold: float
    admitted: float
    gate_taught: bool
    odd: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def good(self) -> bool:
        return self.admitted >= ENOUGH


def teach_line(line: Line, lesson: Lesson, places: Sequence[Path], show: Progress) -> Taught:
    """Raises ConfigError, BundleError, DataError, MissingExtra; most before anything is written."""
    gate = _gate_of(line, lesson)
    text = with_judge(line, lesson)
    images = good_images(places)
    if len(images) * lesson.settings.tiles[0] * lesson.settings.tiles[1] > MOST_TILES:
        raise DataError(
            f"{len(images)} images in {lesson.settings.tiles} tiles are too many to learn from; {MOST_TILES} at most"
        )
    known = (line.bundles / lesson.name).exists()
    seen = look_at(gate, images, lesson.settings.tiles, line.config.threads, show)
    judge, scores = teach_judge(gate, seen, lesson, line.bundles, show)
    teach_it = lesson.surface not in gate.manifest.surfaces if lesson.gate is None else lesson.gate
    if teach_it:
        gate = teach_gate(gate, [each.features for each in seen], lesson.surface)
    if text is not None:
        rewrite(line.path, text)
    line_bundles(read_line(line.path))
    share, thief = admitted(gate, seen, lesson.surface, line.config.threads)
    odd = [images[i].name for i in np.argsort(-scores) if scores[i] > ODD * np.median(scores)]
    again = [f"{lesson.name} was there before, and is now what these images say"] if known else []
    notes = [*again, *_notes(line, lesson), *([_too_few(share, thief, lesson.surface)] if share < ENOUGH else [])]
    limit = judge.manifest.thresholds.score or 0.0
    return Taught(lesson.name, len(images), limit, share, teach_it, tuple(odd), tuple(notes))


def _gate_of(line: Line, lesson: Lesson) -> Bundle:
    """The line's gate, once the lesson's names are known to be usable. Raises ConfigError."""
    if line.config.gate is None:
        raise ConfigError(f"{line.path} names no gate, whose network a nearest judge looks through; name one")
    try:
        msgspec.convert([lesson.surface, lesson.name], tuple[Name, Name])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{lesson.surface!r}, {lesson.name!r}: {error}") from error
    there = line.bundles / lesson.name
    if there.exists():
        old = open_bundle(there).manifest
        if (old.kind, old.surfaces) != ("nearest", (lesson.surface,)):
            raise ConfigError(f"{there} is a {old.kind} of {', '.join(old.surfaces)}; give another --name")
    gate = open_bundle(line.bundles / line.config.gate)
    if lesson.gate is False and lesson.surface not in gate.manifest.surfaces:
        raise ConfigError(f"the gate {line.config.gate} does not know {lesson.surface}; leave out --no-gate")
    for folder in (line.bundles, gate.path, line.path.resolve().parent):
        if not os.access(folder, os.W_OK):
            raise ConfigError(f"cannot write into {folder}; run edge teach as a user who may")
    return gate


def good_images(places: Sequence[Path]) -> list[Path]:
    """Each picture once. Raises DataError: see `good_files`; for tiny pictures, too few, too many."""
    found = []
    for path, frame in once_each(good_files(places)):
        if min(frame.pixels.shape[:2]) < LEAST_SIDE:
            height, width = frame.pixels.shape[:2]
            raise DataError(f"{path} is {width} x {height} pixels; {LEAST_SIDE} a side at least")
        found.append(path)
    if not FEWEST <= len(found) <= MOST:
        raise DataError(f"{len(found)} different good images; {FEWEST} at least, better a hundred, {MOST} at most")
    return found


def with_judge(line: Line, lesson: Lesson) -> str | None:
    """line.toml with the judge at its end, all that stands there left as it is; None where the surface has one.

    Raises ConfigError where that would not be a line.
    """
    if lesson.surface in line.config.judges:
        return None
    addition = tomli_w.dumps({"judges": {lesson.surface: {"bundle": lesson.name}}})
    text = line.path.read_text().rstrip("\n") + "\n\n" + addition
    try:
        msgspec.convert(tomllib.loads(text), LineConfig)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{line.path} does not take a further [judges.{lesson.surface}]: {error}") from error
    return text


def admitted(gate: Bundle, seen: list[Seen], surface: str, threads: int) -> tuple[float, str]:
    """Share of the images that the gate takes for the surface, as each of its graphs sees them; and what it takes most
    of the others for."""
    engine, graph = runnable(gate)[0]
    rows: list[Floats] = [features for each in seen for features in each.features]
    with closing(open_graph(engine, gate, graph, threads, "cpu")) as session:
        knows = Gate(Model(gate, graph, session))
        answers = [knows.admission(features) for features in rows]
    called = Counter(answer.surface if answer.seen else "unseen" for answer in answers)
    own = called.pop(surface, 0)
    return own / len(answers), max(called, key=lambda name: called[name], default="")


def _too_few(share: float, thief: str, surface: str) -> str:
    what = "calls the others unseen" if thief == "unseen" else f"takes the others for {thief}"
    return (
        f"the gate takes only {share:.1%} of the images for {surface} and {what}: is it all one surface, and a new one?"
    )


def _notes(line: Line, lesson: Lesson) -> list[str]:
    judge = line.config.judges.get(lesson.surface)
    if judge is None:
        return []
    if lesson.name not in judge.bundles:
        return [f"{line.path} judges {lesson.surface} by {judge.bundle}; name {lesson.name} there to use the new one"]
    own = [judge.threshold, *(region.threshold for region in judge.regions.values())]
    return (
        [f"{line.path} has a threshold of its own for {lesson.surface}; look whether it still fits"] if any(own) else []
    )
