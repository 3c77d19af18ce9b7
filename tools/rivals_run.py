"""The run of `tools/bench-rivals judges`: fit and export what is not there yet, then judge every frame by all."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from edge.bundle import MANIFEST, open_bundle
from edge.errors import DataError, EdgeError, EngineError
from edge.offline.amend import copy_bundle
from edge.offline.teach import Lesson, Settings, look_at, teach_judge
from edge.vision.image import WHOLE
from tools.rivals_judges import (
    OURS,
    RECIPES,
    STOPPED,
    Contender,
    JudgesReport,
    OurJudge,
    Recipe,
    Row,
    images_of,
    report_of,
    rows_of,
    spread,
    take_turns,
)

PACKAGES = ("anomalib", "openvino", "onnxruntime", "timm", "torch", "torchvision")


@dataclass(frozen=True)
class Wanted:
    """bundles: the folder of edge's `nearest-<surface>`, and of the gate by which they are taught anew where `taught`
    says how many places they remember. size: pixels, what rivals see. train_images, frames: a surface's, at most; 0 is
    all. drawn_frames: of those by which drawn weights are timed. work: kept for the next run."""

    bundles: Path
    taught: int | None
    work: Path
    threads: int
    size: int
    train_images: int
    frames: int
    drawn_frames: int


def exported(recipe: Recipe, root: Path, surface: str, good: Sequence[Path], wanted: Wanted) -> Path:
    """The .xml file; what an earlier run left is used again."""
    from tools.rivals_anomalib import drawn, taught

    out = wanted.work / f"{surface}-{recipe.name.replace(' ', '-')}-{wanted.size}-{len(good)}"
    done = out / "weights" / "openvino" / "model.xml"
    if done.is_file():
        return done
    with redirect_stdout(sys.stderr):  # the exporter talks, and stdout may be for --json
        try:
            if recipe.weights == "lent":
                return taught(recipe, good, root / surface, wanted.size, out)
            return drawn(recipe, len(good), wanted.size, out)
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(f"anomalib could not make {recipe.name}: {' '.join(str(error).split())}") from error


def taught_here(surface: str, good: Sequence[Path], cells: int, wanted: Wanted, bar: Progress) -> Path:
    """A judge of edge's as `edge teach --cells` makes it; what an earlier run left is used again."""
    gate = open_bundle(wanted.bundles / "gate")
    shown = hashlib.sha256("\n".join(map(str, good)).encode()).hexdigest()
    folder = wanted.work / f"edge-{gate.sha256[:12]}-{shown[:12]}-{cells}"
    done = folder / f"nearest-{surface}"
    if not (done / MANIFEST).is_file():
        beside = copy_bundle(gate, folder / "gate")
        task = bar.add_task(f"{surface}: teaching edge")

        def show(what: str, number: int, total: int) -> None:
            bar.update(task, description=f"{surface}: {what}", completed=number, total=total)

        seen = look_at(beside, good, WHOLE, wanted.threads, show)
        said = Lesson(surface, done.name, "given", "the data's", "tools/bench-rivals", settings=Settings(cells=cells))
        teach_judge(beside, seen, said, folder, show)
        bar.remove_task(task)
    return done


def judge_surface(
    root: Path,
    surface: str,
    recipes: Sequence[Recipe],
    wanted: Wanted,
    bar: Progress,
) -> list[Row]:
    """Raises DataError, BundleError, EngineError."""
    from tools.rivals_anomalib import AnomalibJudge

    good, samples = images_of(root, surface)
    good = spread(good, wanted.train_images)
    picked = spread(samples, wanted.frames)
    if not good or not picked:
        raise DataError(f"{root / surface} has {len(good)} good images to teach with and {len(picked)} to judge")
    task = bar.add_task(surface, total=1.0)
    shipped = wanted.bundles / f"nearest-{surface}"
    bundle = taught_here(surface, good, wanted.taught, wanted, bar) if wanted.taught else shipped
    ours = OurJudge(bundle, wanted.threads, bar.console.print)
    contenders: dict[str, Contender] = {OURS: ours}
    for recipe in recipes:
        bar.update(task, description=f"{surface}: making {recipe.name}")
        made = exported(recipe, root, surface, good, wanted)
        contenders[recipe.name] = AnomalibJudge(made, wanted.threads)

    def tell(what: str, share: float) -> None:
        bar.update(task, description=f"{surface}: {what}", completed=share)

    few = {recipe.name: wanted.drawn_frames for recipe in recipes if recipe.weights == "drawn"}
    taken = take_turns(contenders, [sample.path for sample in picked], few, tell)
    bar.update(task, description=surface, completed=1.0)
    return rows_of(surface, taken, [sample.defective for sample in picked], recipes)


def run_judges(root: Path, surfaces: list[str], rivals: list[str], wanted: Wanted, bar: Progress) -> JudgesReport:
    """All paths absolute: anomalib's inferencer keeps its cache in the current folder, which becomes the work folder.
    A surface that fails is told and the others go on; Ctrl-C keeps those that are done."""
    wanted.work.mkdir(parents=True, exist_ok=True)
    os.chdir(wanted.work)
    recipes = [recipe for recipe in RECIPES if recipe.kind in rivals]
    rows: list[Row] = []
    failed: list[str] = []
    for surface in surfaces:
        try:
            rows += judge_surface(root, surface, recipes, wanted, bar)
        except EdgeError as error:
            failed.append(f"{surface}: {error}")
        except KeyboardInterrupt:
            failed.append(f"{surface}: {STOPPED}")
            break
    return report_of(
        surfaces,
        rows,
        failed,
        size=wanted.size,
        train_images=wanted.train_images,
        threads=wanted.threads,
        packages=PACKAGES,
    )
