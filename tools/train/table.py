"""`python -m tools.train.table`: every system of the papers beside its paper's figure, in one table.

Nothing runs here. The figures are those that other commands of tools.train left: `measured` in the bundles' manifests
(measured --bundles), runs/zouar.json (zouar_table), runs/kinds.json (kinds_tables), runs/gate (gate, gate_tables). What
is not there is named as not trained or not measured yet; so is a judge that was measured before it was made anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edge.bundle import MANIFEST, Bundle
from tools.train.measured import FOLDERS, find_bundle, markdown
from tools.train.recipe import read_recipes
from tools.train.zouar_table import BERGMANN, SHARES, SURFACES, SYSTEMS, THESIS

RECIPES = Path(__file__).parent / "recipes"
KEPT = ("zouar.json", "kinds.json", "gate/report.json", "gate/tables.json")
HEADINGS = ("system", "paper", "ours in INT8 (good + bad images)", "ms, INT8", "why it differs")


@dataclass(frozen=True)
class Found:
    """Ours on one surface. values: in the order of the paper's. n: good and bad images; of a gate seen and
    unseen ones. ms: of the network. graph: engine/device/precision."""

    values: tuple[float, ...]
    n: tuple[int, int] | None
    ms: float | None
    graph: str


Kept = dict[str, dict[str, Any]]  # what each file of KEPT says; {} where it is not there
Read = Callable[[Bundle, Kept], Found | None]


class System(NamedTuple):
    """name: what its bundles' names begin with. paper: what is measured, there and here, and the paper's figure. read:
    what was measured of one bundle, None where nothing was."""

    name: str
    shown: str
    paper: str
    why: str
    read: Read
    ms_of: str = "a frame"


class Row(NamedTuple):
    """ours: by surface. missing: surfaces by what is still to be done."""

    system: System
    ours: dict[str, Found]
    missing: dict[str, list[str]]


def in_manifest(*names: str) -> Read:
    """These of the manifest's measured figures; `accuracy`: of all images, good and bad."""

    def read(bundle: Bundle, kept: Kept) -> Found | None:
        figures: dict[str, Any] = dict(bundle.manifest.measured)
        n = figures.get("n_good", 0), figures.get("n_defect", 0)
        if all(n):
            figures["accuracy"] = (figures["accuracy_good"] * n[0] + figures["accuracy_defect"] * n[1]) / sum(n)
        if any(name not in figures for name in names):
            return None
        return Found(tuple(figures[name] for name in names), n, figures.get("run_ms"), figures["graph"])

    return read


def graphs_of(bundle: Bundle) -> set[str]:
    return {graph.sha256 for graph in bundle.manifest.graph}


def in_zouar(bundle: Bundle, kept: Kept) -> Found | None:
    for row in kept["zouar.json"].get("rows", ()):
        if f"{row['system']}-{row['surface']}" == bundle.manifest.name and row["sha256"] in graphs_of(bundle):
            mean = sum(row["ours"][SHARES.index(70)]) / 2
            return Found((mean,), (row["n_good"], row["n_defect"]), row["patch_ms"], row["graph"])
    return None


def in_kinds(bundle: Bundle, kept: Kept) -> Found | None:
    own: dict[str, Any] = kept["kinds.json"].get(bundle.manifest.surfaces[0], {"judge": ()})
    if not set(own["judge"]) & graphs_of(bundle):
        return None
    recall, good = own["binary_recall"]["100%"]["value"], own["kinds"]["good"]
    n = good, sum(own["kinds"].values()) - good
    return Found((recall["image"], recall["both"]), n, None, "litert/cpu/int8")


def in_gate(bundle: Bundle, kept: Kept) -> Found | None:
    """The INT8 graph that is the fastest."""
    report = kept["gate/report.json"]
    small = [(row["ms_p50"], name, row) for name, row in report.get("graphs", {}).items() if name.endswith("-int8")]
    if not small:
        return None
    ms, name, row = min(small, key=lambda found: found[0])
    values = row["seen"], row["unseen"], row["harmonic_mean"]
    return Found(values, (report["reported"], report["unseen"]), ms, name.replace("-", "/cpu/"))


def in_gate_tables(bundle: Bundle, kept: Kept) -> Found | None:
    tables = kept["gate/tables.json"]
    if not tables:
        return None
    seen, unseen = (tables["VAEGAN, learned CE"][of] / 100 for of in ("seen", "unseen"))
    n = (tables["frames"]["seen"], tables["frames"]["unseen"]) if "frames" in tables else None
    return Found((seen, unseen, 2 * seen * unseen / (seen + unseen)), n, None, "litert/cpu/int8")


def zouar(name: str, shown: str, why: str) -> System:
    column = SYSTEMS[name]
    pairs = [BERGMANN[s][1] if column is None else THESIS[s][column][SHARES.index(70)] for s in SURFACES]
    means = ", ".join(f"{s} {sum(pair) / 2:.3f}" for s, pair in zip(SURFACES, pairs, strict=True))
    where = "not run: Bergmann in table 2, his threshold" if column is None else "table 11"
    paper = f"mean of good and defect accuracy where 70 % of the good may pass: {means} ({where})"
    return System(name, f"Zouar: {shown}", paper, why, in_zouar, "a patch")


ALL = (
    zouar("cae", "Bergmann's L2 CAE", "600,000 patches of his 2,000,000; his threshold saw the test images (4.1.6)"),
    zouar("bergmann-ssim", "Bergmann's SSIM CAE", "60,000 patches; our threshold saw no test image"),
    zouar("oh-yun", "Oh and Yun's CAE", "8,000 patches of his 2,000,000; his threshold saw the test images"),
    zouar("chow", "Chow's CAE", "24,000 patches of his 2,000,000; his threshold saw the test images"),
    zouar("memae", "Gong's MemAE", "50,000 patches of his 2,000,000; his threshold saw the test images"),
    System(
        "galacz",
        "Galacz: CAE and density",
        "bad NotOK / good OK: nearly all of some 20 bad carpets, good ones not told (4.6)",
        "other surfaces; fabric_00 has no test images",
        in_manifest("accuracy_defect", "accuracy_good"),
    ),
    System(
        "drae",
        "Ferrari: DRAE",
        "accuracy: 0.9870 a vial, 0.9593 a strip, 0.9641 by 7 of 10 runs (tables 1 to 3)",
        "a sixteenth of its filters, 179 images for 2,500,000; each part photographed once: no 7 of 10; on "
        "commutator INT8 is lost (recipes/kept)",
        in_manifest("accuracy"),
    ),
    System(
        "draem",
        "Rožanec: image and DRAEM's map",
        "defect recall, image / image and map: shavers 0.8860 / 0.9489, shaft 0.9387 / 0.9793 (table 3)",
        "other parts, fewer bad ones; EfficientNet-Lite0 for ResNet-18, a DRAEM an eighth as wide",
        in_kinds,
    ),
    System(
        "gate",
        "Cheng: gate by VAEGAN, learned CE",
        "seen / unseen / harmonic mean: 0.9812 / 0.9596 / 0.9703 (table 4)",
        "real parts for drawn textures, some forty unseen surfaces for two",
        in_gate_tables,
    ),
    System("gate", "the shipped gate", "as above", "no network is taught: distances of frozen features", in_gate),
    System(
        "segdec",
        "Cheng: SegDec",
        "AP: 0.99 on DAGM, KSDD and STEEL, 0.94 on KSDD2 (table 6)",
        "far fewer filters, smaller frames, few bad images; commutator is KSDD, solar_mono has no masks",
        in_manifest("image_ap"),
    ),
    System("segdec-lite", "SegDec on a pretrained backbone", "as above", "EfficientNet-Lite0", in_manifest("image_ap")),
    System(
        "nearest",
        "nearest good places",
        "AUROC: no paper of the five; PatchCore-1% has 0.990 on MVTec AD (Roth et al. 2022)",
        "EfficientNet-Lite0 for WideResNet-50, 4,000 or 8,000 places kept",
        in_manifest("image_auroc"),
    ),
)


def read_bundles(folders: list[Path]) -> dict[str, Bundle]:
    names = {path.parent.name for folder in folders for path in folder.glob(f"*/{MANIFEST}")}
    return {name: bundle for name in sorted(names) if (bundle := find_bundle(name, folders))}


def first_name(bundle: str) -> str:
    """The longest name of a system that the bundle's begins with; "" where none does."""
    return max((s.name for s in ALL if f"{bundle}-".startswith(f"{s.name}-")), key=len, default="")


def row_of(system: System, recipes: list[str], bundles: dict[str, Bundle], kept: Kept) -> Row:
    """What there are recipes for; all of its bundles where there are none, as for the nearest judges."""
    row = Row(system, {}, {})
    own = [[n for n in names if first_name(n) == system.name] for names in (recipes, bundles)]
    for name in own[0] or own[1]:
        bundle, surface = bundles.get(name), name.removeprefix(f"{system.name}-")
        found = system.read(bundle, kept) if bundle else None
        if found:
            row.ours[surface] = found
        else:
            row.missing.setdefault("not measured yet" if bundle else "not trained yet", []).append(surface)
    return row


def shown(surface: str, found: Found) -> str:
    about = [f"{found.n[0]} + {found.n[1]}"] if found.n else []
    about += [] if found.graph.endswith("/int8") else [found.graph]
    values = " / ".join(f"{value:.3f}" for value in found.values)
    return f"{surface} {values}" + (f" ({', '.join(about)})" if about else "")


def cells(row: Row) -> tuple[str, ...]:
    system, times = row.system, [found.ms for found in row.ours.values() if found.ms is not None]
    ours = [shown(surface, found) for surface, found in row.ours.items()]
    ours += [f"{state}: {', '.join(surfaces)}" for state, surfaces in row.missing.items()]
    bounds = dict.fromkeys(f"{bound(times):.1f}" for bound in (min, max)) if times else ()
    ms = f"{' to '.join(bounds)} {system.ms_of}" if bounds else "-"
    return system.shown, system.paper, "; ".join(ours) or "not trained yet", ms, system.why


def plain(row: Row) -> dict[str, Any]:
    said = {key: value for key, value in row.system._asdict().items() if key != "read"}
    return {**said, "ours": {surface: asdict(found) for surface, found in row.ours.items()}, "missing": row.missing}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.table", description=__doc__)
    parser.add_argument("--bundles", action="append", type=Path, help="default: runs/bundles, then exported_models")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the other commands keep their figures")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    given = parser.parse_args()
    recipes = [recipe.name for path in sorted(RECIPES.glob("*.toml")) for recipe in read_recipes(path)]
    kept = {name: json.loads((given.runs / name).read_text()) if (given.runs / name).is_file() else {} for name in KEPT}
    bundles = read_bundles(given.bundles or FOLDERS)
    rows = [row_of(system, recipes, bundles, kept) for system in ALL]
    if given.json:
        print(json.dumps([plain(row) for row in rows], indent=1))
    else:
        print(markdown(HEADINGS, [cells(row) for row in rows]))


if __name__ == "__main__":
    main()
