"""Which images show the same part, and which of them are one run of it: n acquisitions of each part (Ferrari 7.4)."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.errors import DataError
from edge.offline.samples import Sample, find_samples

By = Literal["name", "group"]
Run = tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One physical part, and its runs in the order of their names; a run is as many frames as the line's parts have."""

    surface: str
    name: str
    runs: tuple[Run, ...]

    @property
    def defective(self) -> bool | None:
        """None where its runs contradict each other."""
        labels = {run_defective(run) for run in self.runs}
        return labels.pop() if len(labels) == 1 else None


def run_defective(run: Run) -> bool:
    """A part is defective where any of its frames shows it."""
    return any(sample.defective for sample in run)


def find_parts(roots: Sequence[Path], by: By, frames: int) -> tuple[list[Part], list[str]]:
    """The parts of all surfaces, sorted by surface and name, and notes on what was left out.

    by: `name` takes the folder below the kind, or else the file's name up to its last _ or -; `group` takes that column
    of split.csv, where images of one part may lie in several kinds. frames: of one run: so many images in a row, the
    last run may lack some; where the part's folder holds folders, each of those is a run.
    Raises DataError where there is no image, or no readable split.csv for `group`.
    """
    samples, notes = find_samples(roots)
    groups = (
        {root / path: group for root in roots for path, group in read_groups(root).items()} if by == "group" else {}
    )
    parts: dict[tuple[str, str], dict[str, list[Sample]]] = {}
    for sample in sorted(samples, key=lambda sample: natural(sample.path.name)):
        folders = _folders(sample, roots)
        name = groups.get(sample.path, "") if by == "group" else f"{sample.kind}/{_part_name(sample.path, folders)}"
        if not name:
            raise DataError(f"{sample.path} has no group in its split.csv; add it, or give --by name")
        parts.setdefault((sample.surface, name), {}).setdefault("/".join(folders[1:]), []).append(sample)
    named = sorted(parts.items(), key=lambda item: natural("/".join(item[0])))
    return [Part(surface, name, _runs(found, frames)) for (surface, name), found in named], notes


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts p2 before p10."""
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", name)]


def _folders(sample: Sample, roots: Sequence[Path]) -> tuple[str, ...]:
    """Those between the kind's and the file."""
    bases = [root / sample.surface / "test" / sample.kind for root in roots]
    base = next(base for base in bases if sample.path.is_relative_to(base))
    return sample.path.relative_to(base).parts[:-1]


def _part_name(path: Path, folders: tuple[str, ...]) -> str:
    return folders[0] if folders else re.split(r"[_-](?=[^_-]*$)", path.stem)[0] or path.stem


def _runs(by_folder: dict[str, list[Sample]], frames: int) -> tuple[Run, ...]:
    runs: list[Run] = []
    for folder in sorted(by_folder, key=natural):
        found = by_folder[folder]
        size = len(found) if folder else frames
        runs += [tuple(found[start : start + size]) for start in range(0, len(found), size)]
    return tuple(runs)


def read_groups(root: Path) -> dict[str, str]:
    """Group by path relative to the root, from split.csv. Raises DataError naming the file."""
    table = root / "split.csv"
    if not table.is_file():
        raise DataError(f"--by group needs {table} with the columns path and group; bring it, or give --by name")
    with table.open(newline="") as file:
        try:
            return {row["path"]: row["group"] or "" for row in csv.DictReader(file)}
        except KeyError as error:
            raise DataError(f"{table} has no column {error}; --by group needs path and group") from error
