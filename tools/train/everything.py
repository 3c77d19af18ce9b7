"""`tools/train/all [RECIPE.toml ...]`: train and bundle what is not up to date, one after the other.

A training is up to date while `runs/<name>/training.json` was written by the recipe as it stands; a recipe that has
changed is trained anew, one that changed only in what its bundle depends on is bundled anew. An interrupted training
goes on where it stopped. One that fails does not stop the others; the exit code is then 1. What each command says is
kept in `runs/<name>/log.txt`. Meant for the background: `nohup nice -n 12 tools/train/all > runs/all.log &`.

Bundles go to runs/bundles: all of them together are far larger than what the repository can carry. To ship one:
`python -m tools.train.bundle RECIPE --surface SURFACE --data DATA`.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.errors import EdgeError
from tools.train.recipe import EACH, Recipe, digest, read_recipe, read_recipes
from tools.train.tasks import TASKS

RECIPES = Path(__file__).parent / "recipes"
# Those that learn without the one trainer, and the module that makes their bundle.
APART = {"gate": "tools.train.gate"}


@dataclass(frozen=True)
class Folders:
    data: list[Path]
    runs: Path
    out: Path
    calibration: Path


@dataclass(frozen=True)
class Job:
    """One bundle to be had. several: the file has one for each of its surfaces."""

    path: Path
    recipe: Recipe
    several: bool

    def trained(self, folders: Folders) -> bool:
        return written_by(folders.runs / self.recipe.name / "training.json") == digest(self.recipe)

    def bundled(self, folders: Folders) -> bool:
        stamp = folders.runs / self.recipe.name / "bundled.json"
        there = (folders.out / self.recipe.name / "manifest.toml").is_file()
        return there and written_by(stamp) == digest(self.recipe, ())

    def commands(self, folders: Folders) -> Iterator[tuple[str, list[str]]]:
        """What is still to be done, in its order."""
        surface = ["--surface", self.recipe.surfaces[0]] if self.several else []
        places = [*(f"--data={root}" for root in folders.data), f"--runs={folders.runs}"]
        made = [f"--out={folders.out}", f"--calibration={folders.calibration}"]
        if self.recipe.network in APART:
            if not self.bundled(folders):
                yield "bundle", [APART[self.recipe.network], str(self.path), *places, *made]
            return
        fresh = self.trained(folders)
        if not fresh:
            yield "train", ["tools.train", str(self.path), *surface, *places]
        if not fresh or not self.bundled(folders):
            yield "bundle", ["tools.train.bundle", str(self.path), *surface, *places, *made]


def written_by(stamp: Path) -> object:
    """The digest of the recipe that a stamp names; None where there is no stamp, or one without it."""
    try:
        return msgspec.json.decode(stamp.read_bytes(), type=dict[str, object]).get("recipe")
    except (OSError, msgspec.DecodeError):
        return None


def find_jobs(paths: list[Path]) -> Iterator[Job | str]:
    """Every bundle of every recipe; a sentence for a file that cannot be read."""
    for path in paths:
        try:
            several, recipes = EACH in read_recipe(path).name, read_recipes(path)
        except (OSError, ValueError, EdgeError) as error:
            yield f"{path}: {error}"
            continue
        yield from (Job(path, recipe, several) for recipe in recipes)


def run(job: Job, what: str, command: list[str], folders: Folders, head: str) -> bool:
    """One command in a process of its own, its lines kept and its epochs shown. False where it failed."""
    folder = folders.runs / job.recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    last = ""
    with (
        (folder / "log.txt").open("a") as log,
        subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child,
    ):
        assert child.stdout is not None  # stdout=PIPE
        try:
            for line in child.stdout:
                log.write(line)
                last = line.strip() or last
                epoch = line.removeprefix(f"{job.recipe.name} ")
                if epoch[:1].isdigit() and epoch != line:
                    print(f"{head} {epoch.strip()}", flush=True)
        except KeyboardInterrupt:
            child.terminate()  # its checkpoint appears whole or not at all
            raise
    if child.returncode:
        print(f"{head} {what} failed ({child.returncode}), see {folder / 'log.txt'}: {last}", flush=True)
        return False
    if what == "bundle":
        (folder / "bundled.json").write_text(json.dumps({"recipe": digest(job.recipe, ())}))
    return True


def do(job: Job, folders: Folders, head: str) -> bool:
    if job.recipe.network not in TASKS and job.recipe.network not in APART:
        print(f"{head} skipped: a {job.recipe.network} has a command of its own", flush=True)
        return True
    commands = list(job.commands(folders))
    if not commands:
        print(f"{head} up to date", flush=True)
        return True
    started = time.monotonic()
    for what, command in commands:
        print(f"{head} {what}", flush=True)
        if not run(job, what, command, folders, head):
            return False
    print(f"{head} done in {time.monotonic() - started:.0f} s", flush=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tools/train/all", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "recipes", nargs="*", type=Path, metavar="RECIPE.toml", help="default: all of tools/train/recipes"
    )
    parser.add_argument("--data", action="append", type=Path, help="a folder with split.csv; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where checkpoints and logs go")
    parser.add_argument("--out", type=Path, default=Path("runs/bundles"))
    parser.add_argument("--calibration", type=Path, default=Path("runs/calibration"))
    given = parser.parse_args()
    folders = Folders(given.data or [Path("../shared/data")], given.runs, given.out, given.calibration)
    jobs = list(find_jobs(given.recipes or sorted(RECIPES.glob("*.toml"))))
    failed = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for number, job in enumerate(jobs, 1):
            name = job if isinstance(job, str) else job.recipe.name
            head = f"[{number}/{len(jobs)}] {name}"
            if isinstance(job, str):
                print(head, flush=True)
            if isinstance(job, str) or not do(job, folders, head):
                failed.append(name)
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the next start goes on from here")
    print(f"{len(jobs) - len(failed)} of {len(jobs)} up to date" + "".join(f"\nfailed: {name}" for name in failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
