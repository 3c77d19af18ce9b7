"""`edge reference`: what good frames are on this line, for the daemon to notice when they no longer are."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge import __version__
from edge.config import Line
from edge.drift.features import Features, answers, measure
from edge.drift.reference import FEWEST, FORMAT_VERSION, Reference, make_reference
from edge.errors import DataError
from edge.inspection.assemble import open_pipeline
from edge.inspection.pipeline import Pipeline
from edge.offline.evaluate import Say
from edge.offline.good import good_files, once_each
from edge.offline.pack import FILE_MODE, rewrite
from edge.offline.progress import Progress

FILE = "reference.toml"


class Made(msgspec.Struct, frozen=True):
    """frames: by surface, those in the reference. notes: what was left out, and what is to be done."""

    path: str
    frames: dict[str, int]
    notes: tuple[str, ...]


def make(line: Line, places: Sequence[Path], progress: Progress, say: Say) -> tuple[Reference, list[str]]:
    """Good images through the line; each counts for the surface that the gate takes it for. And notes on what is not
    in it. Raises DataError where no surface has enough, and what `open_pipeline` raises."""
    paths = good_files(places)
    pipeline = open_pipeline(line, say)
    try:
        frames, notes = features_of(pipeline, paths, progress)
        bundles = {model.manifest.name: model.bundle.sha256 for model in pipeline.models}
    finally:
        pipeline.close()
    few = {surface: len(known) for surface, known in frames.items() if len(known) < FEWEST}
    notes += [f"{surface}: {n} good frames are too few, {FEWEST} at least; left out" for surface, n in few.items()]
    if len(few) == len(frames):
        raise DataError(f"no surface has {FEWEST} good frames: {'; '.join(notes)}")
    if any("train" in path.parts for path in paths):
        notes.append("some of these images lie in a folder `train`: a judge scores what it learnt from too low")
    reference = Reference(
        line=line.config.line,
        made=datetime.date.today().isoformat(),
        version=__version__,
        bundles=bundles,
        surfaces={surface: make_reference(known) for surface, known in frames.items() if surface not in few},
    )
    return reference, notes


def features_of(
    pipeline: Pipeline, paths: Sequence[Path], progress: Progress
) -> tuple[dict[str, list[Features]], list[str]]:
    """Each different picture's features, by surface. Rejected ones too: they are good, and the line sees their like."""
    frames: dict[str, list[Features]] = {}
    left: Counter[str] = Counter()
    for number, (_, frame) in enumerate(once_each(paths)):
        progress("good images", number, len(paths))
        inspection = pipeline.inspect(frame)
        if inspection.surface is None or inspection.finding is None:
            left[inspection.reason.replace("_", " ")] += 1
        else:
            frames.setdefault(inspection.surface, []).append(measure(frame) | answers(inspection))
    return frames, [f"{count} images are not in it: {reason}" for reason, count in left.items()]


def to_toml(reference: Reference) -> str:
    """One line a feature: tomli_w would take a hundred."""
    text = [
        "# What good frames are on this line, by `edge reference`. quantiles: evenly from the least to the largest.",
        f"format = {FORMAT_VERSION}",
        *(f"{name} = {json.dumps(getattr(reference, name))}" for name in ("line", "made", "version")),
        "",
        "[bundles]",
        *(f"{json.dumps(name)} = {json.dumps(digest)}" for name, digest in reference.bundles.items()),
    ]
    for surface, known in reference.surfaces.items():
        table = f"surfaces.{json.dumps(surface)}"
        text += ["", f"[{table}]", f"frames = {known.frames}"]
        for name, usual in known.features.items():
            text += [f"[{table}.features.{name}]", f"mean = {usual.mean!r}", f"quantiles = {list(usual.quantiles)}"]
    return "\n".join(text) + "\n"


def write_reference(line: Line, reference: Reference, notes: Sequence[str]) -> Made:
    """reference.toml beside line.toml, and [drift] at its end where it has none. Raises DataError, BundleError."""
    path = line.path.parent / FILE
    fresh = path.with_name(f".{FILE}")
    try:
        fresh.write_text(to_toml(reference))
        fresh.chmod(FILE_MODE)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error.strerror}; is the folder writable?") from error
    if line.config.drift is None:
        text = line.path.read_text().rstrip("\n")
        rewrite(line.path, f'{text}\n\n[drift]\nreference = "{FILE}"\n')
    elif line.config.drift.reference != FILE:
        notes = [*notes, f'{line.path} goes by another one; write reference = "{FILE}" under [drift] to use this']
    return Made(str(path), {surface: known.frames for surface, known in reference.surfaces.items()}, tuple(notes))
