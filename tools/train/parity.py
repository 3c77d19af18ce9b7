"""`python -m tools.train.parity`: the parity of every bundle of a folder, into its manifest and as a table.

On images that neither training nor thresholds saw, as `tools.train.measured` has them. Kinds bundles are passed by:
they name a defect and change no verdict. A graph that is not right is dropped from its bundle. Where the quickest ones
of all bundles flip more than MOST_FLIPS of the verdicts together, INT8 is dropped from those that flip most, unless
others borrow it; not where only some bundles are named.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from edge.bundle import MANIFEST, Bundle, open_bundle
from edge.offline.amend import drop_graphs, set_parity
from edge.offline.parity import Row
from edge.offline.parity_run import Parity, check_parity, for_manifest, without, wrong_graphs
from tools.train.measured import KEPT_FOLD, kept_back, markdown

HEADINGS = ("bundle", "frames", "flips", "to OK", "AUROC lost", "AUPRO lost", "quickest", "ms", "faster", "parity")

MOST_FLIPS = 0.005


def quickest(found: Parity) -> Row:
    return next(row for row in found.rows if f"{row.engine} {row.graph}" == found.quickest)


def flips_of(all_found: Iterable[Parity]) -> tuple[int, int]:
    """On the quickest graphs: verdicts that flip, and how many there are."""
    pairs = [(quickest(found).flips, found.frames) for found in all_found]
    return sum(flips for flips, _ in pairs), sum(frames for _, frames in pairs)


def too_restless(all_found: Sequence[Parity], lenders: Collection[str]) -> Parity | None:
    """The bundle to go without INT8, where all together flip too often: the one that flips most. lenders: bundles that
    others borrow graphs from."""
    flips, frames = flips_of(all_found)
    if flips <= MOST_FLIPS * frames:
        return None
    own = [found for found in all_found if quickest(found).precision == "int8" and found.bundle not in lenders]
    return max((found for found in own if quickest(found).flips), key=lambda found: quickest(found).flips, default=None)


def judged(bundle: Bundle, roots: list[Path], bar: Progress, dropped: dict[str, str]) -> Parity:
    """A bundle's parity, which its manifest is told. dropped: what the bundle has lost, and why; added to. Ends the
    program where a graph cannot be run on this processor."""
    found = parity_of(bundle, roots, bar)
    if found.unchecked:
        raise SystemExit(f"{bundle.path}: {', '.join(found.unchecked)} cannot be run here; take a processor with VNNI")
    wrong = wrong_graphs(found)
    if wrong:
        found = without(found, drop_graphs(bundle, wrong))
    dropped |= wrong
    set_parity(bundle.path, for_manifest(found, "python -m tools.train.parity", dropped))
    for sentence in (*(f"{file} dropped: {why}" for file, why in dropped.items()), *found.lost):
        bar.console.print(f"{bundle.manifest.name}: {sentence}")
    return found


def without_int8(found: Parity, bundle: Bundle, dropped: dict[str, str]) -> Bundle:
    """dropped: as above."""
    why = f"{quickest(found).flips} of {found.frames} verdicts flip, and all bundles' came to over {MOST_FLIPS:.1%}"
    dropped |= {graph.file: why for graph in bundle.manifest.graph if graph.precision == "int8"}
    return drop_graphs(bundle, dropped)


def parity_of(bundle: Bundle, roots: list[Path], bar: Progress) -> Parity:
    """Of one bundle, on what was kept back from it."""
    task = bar.add_task(bundle.manifest.name)

    def show(step: str, done: int, total: int) -> None:
        bar.update(task, description=f"{bundle.manifest.name} {step}", completed=done, total=total)

    with tempfile.TemporaryDirectory() as folder:
        if bundle.manifest.kind == "gate":
            found, *_ = check_parity(bundle, roots, show, KEPT_FOLD)
        else:
            (surface,) = bundle.manifest.surfaces
            found, *_ = check_parity(bundle, [kept_back(surface, bundle, roots, Path(folder))], show, KEPT_FOLD)
    bar.remove_task(task)
    return found


def shown(found: Parity) -> tuple[str, ...]:
    """A row of the table: the worst of all graphs on all engines, and the quickest."""
    rows: tuple[Row, ...] = found.rows[1:]
    quick = quickest(found)

    def most(values: list[float | None]) -> str:
        known = [value for value in values if value is not None]
        return f"{max(known):+.3f}" if known else "-"

    flips = f"{max(row.flips_outside for row in rows)}/{max(row.flips for row in rows)}"
    to_ok = f"{max(row.outside for row in rows)}/{max(row.to_ok for row in rows)}"
    lost = most([row.auroc_lost for row in rows]), most([row.aupro_lost for row in rows])
    timed = f"{quick.engine} {quick.precision}", f"{quick.ms or 0:.1f}", f"{quick.faster or 0:.1f}x"
    return found.bundle, str(found.frames), flips, to_ok, *lost, *timed, "passed" if found.passed else "not passed"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.parity", description=__doc__)
    parser.add_argument("--bundles", type=Path, default=Path("exported_models"))
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("names", nargs="*", metavar="BUNDLE", help="only these")
    given = parser.parse_args()
    paths = sorted(path.parent for path in given.bundles.glob(f"*/{MANIFEST}"))
    bundles = [open_bundle(path) for path in paths if not given.names or path.name in given.names]
    with Progress(console=Console(stderr=True), transient=True) as bar:
        judging = {b.manifest.name: b.path for b in bundles if b.manifest.kind != "kinds"}
        dropped: dict[str, dict[str, str]] = {name: {} for name in judging}
        found = {name: judged(open_bundle(path), given.data, bar, dropped[name]) for name, path in judging.items()}
        lenders = {graph.bundle for bundle in bundles for graph in bundle.manifest.graph if graph.bundle}
        while not given.names and (restless := too_restless(list(found.values()), lenders)):
            name = restless.bundle
            left = without_int8(restless, open_bundle(judging[name]), dropped[name])
            found[name] = judged(left, given.data, bar, dropped[name])
    print(markdown(HEADINGS, [shown(one) for one in found.values()]))
    flips, frames = flips_of(found.values())
    print(f"\nFlips on the quickest graphs together: {flips} of {frames} frames ({flips / max(frames, 1):.2%}).")


if __name__ == "__main__":
    main()
