"""`python -m tools.train.zouar_table --data DATA`: Zouar's table 11 and appendices on our surfaces, beside his figures.

For each trained system and surface, on the test split, without parts that training saw another image of: the share of
good images passed and of defective ones rejected, their mean, milliseconds a patch, image AUROC. The threshold lets
100, 90, 80 or 70 % of the good images of the validation fold pass, so the good accuracy on the test split comes out as
it does. Zouar tries the distance of every good test image as threshold and keeps the one at which 100 .. 70 % of those
same images pass (thesis 4.1.6): his good accuracy is that share by construction, his threshold saw what it is reported
on. Of a bundle the fastest INT8 graph of this box runs. Systems that are not trained are named as missing. The figures
are kept as JSON for `python -m tools.train.table`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress

from edge.bundle import Bundle
from edge.offline.metrics import image_figures
from tools.train.data import read_samples, split, strangers
from tools.train.measured import FOLDERS, find_bundle, markdown, median_ms, open_int8, score_all

SURFACES = ("bottle", "metal_nut", "pill", "screw")
SHARES = (100, 90, 80, 70)
# Good and defect accuracy as the thesis prints them: appendices A, B, C and table 11, that is at 100, 90, 80 and 70 %.
# Columns: Bergmann's L2 autoencoder, Oh and Yun, Chow, Gong.
THESIS = {
    "bottle": (
        ((1.00, 0.32), (0.90, 0.41), (0.80, 0.44), (0.70, 0.51)),
        ((1.00, 0.03), (0.90, 0.01), (0.80, 0.24), (0.70, 0.24)),
        ((1.00, 0.03), (0.90, 0.11), (0.80, 0.20), (0.70, 0.29)),
        ((1.00, 0.21), (0.90, 0.22), (0.80, 0.56), (0.70, 0.59)),
    ),
    "metal_nut": (
        ((1.00, 0.00), (0.91, 0.00), (0.82, 0.02), (0.70, 0.03)),
        ((1.00, 0.00), (0.91, 0.01), (0.82, 0.01), (0.73, 0.02)),
        ((1.00, 0.00), (0.91, 0.01), (0.82, 0.02), (0.73, 0.03)),
        ((1.00, 0.01), (0.91, 0.01), (0.82, 0.01), (0.73, 0.05)),
    ),
    "pill": (
        ((1.00, 0.09), (0.92, 0.13), (0.81, 0.29), (0.69, 0.38)),
        ((1.00, 0.05), (0.92, 0.21), (0.81, 0.27), (0.69, 0.35)),
        ((1.00, 0.28), (0.92, 0.31), (0.81, 0.43), (0.69, 0.58)),
        ((1.00, 0.43), (0.92, 0.47), (0.81, 0.48), (0.69, 0.51)),
    ),
    "screw": (
        ((1.00, 1.00), (0.90, 1.00), (0.81, 1.00), (0.71, 1.00)),
        ((1.00, 1.00), (0.90, 1.00), (0.81, 1.00), (1.00, 0.72)),
        ((1.00, 1.00), (0.90, 1.00), (0.81, 1.00), (0.71, 0.00)),
        ((1.00, 1.00), (0.90, 1.00), (0.81, 1.00), (0.71, 1.00)),
    ),
}
THESIS_MS = {
    "bottle": (2.155, 3.372, 3.536, 2.155),
    "metal_nut": (2.107, 3.193, 3.462, 2.107),
    "pill": (2.093, 3.421, 3.035, 2.107),
    "screw": (2.064, 3.393, 3.390, 2.109),
}
# Bergmann's own figures for his two autoencoders (thesis table 2): L2, SSIM.
BERGMANN = {
    "bottle": ((0.70, 0.89), (0.85, 0.90)),
    "metal_nut": ((0.68, 0.77), (1.00, 0.08)),
    "pill": ((1.00, 0.23), (0.92, 0.28)),
    "screw": ((0.98, 0.39), (0.95, 0.06)),
}
# Each system's column in THESIS by its bundles' first name; Zouar did not run the SSIM one.
SYSTEMS = {"cae": 0, "bergmann-ssim": None, "oh-yun": 1, "chow": 2, "memae": 3}


class Row(msgspec.Struct, frozen=True):
    """One system on one surface. ours, thesis, bergmann: (good, defect) accuracy; ours and thesis at SHARES. sha256: of
    the graph that ran."""

    system: str
    surface: str
    graph: str
    sha256: str
    n_good: int
    n_defect: int
    auroc: float
    patch_ms: float
    ours: tuple[tuple[float, float], ...]
    thesis: tuple[tuple[float, float], ...] | None
    thesis_ms: float | None
    bergmann: tuple[float, float] | None


def accuracies(good: list[float], test: list[float], defective: list[bool]) -> tuple[tuple[float, float], ...]:
    """(good, defect) accuracy on the test split at the thresholds that SHARES of the validation's good images pass."""
    score, bad = np.array(test), np.array(defective)
    found = []
    for share in SHARES:
        limit = np.quantile(good, share / 100)
        found.append((float(np.mean(score[~bad] <= limit)), float(np.mean(score[bad] > limit))))
    return tuple(found)


def measure(system: str, surface: str, bundle: Bundle, roots: list[Path], threads: int, bar: Progress) -> Row:
    samples = read_samples(roots, surface)
    good = [s for s in split(samples)[1] if s.split == "train" and not s.defective]
    test = strangers(samples)
    judge = open_int8(bundle, threads, bar.console.print)
    images = bar.track([s.path for s in good + test], description=f"{system} {surface}")
    scores, spent = score_all(judge, images)
    passed, judged, defective = scores[: len(good)], scores[len(good) :], [s.defective for s in test]
    judge.model.session.close()
    column = SYSTEMS[system]
    return Row(
        system=system,
        surface=surface,
        graph=judge.model.runs_on,
        sha256=judge.model.graph.sha256,
        n_good=defective.count(False),
        n_defect=defective.count(True),
        auroc=image_figures(defective, judged)[0] or 0.0,
        patch_ms=median_ms(spent) / bundle.manifest.input.patches,
        ours=accuracies(passed, judged, defective),
        thesis=None if column is None else THESIS[surface][column],
        thesis_ms=None if column is None else THESIS_MS[surface][column],
        bergmann={"cae": BERGMANN[surface][0], "bergmann-ssim": BERGMANN[surface][1]}.get(system),
    )


def shown(pair: tuple[float, float] | None) -> str:
    """good / defect, and their mean."""
    return "-" if pair is None else f"{pair[0]:.2f} / {pair[1]:.2f} = {sum(pair) / 2:.2f}"


def table(rows: list[Row], missing: list[str]) -> str:
    """Good / defect accuracy = their mean, ours over the thesis's, for each share of good images that pass."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        ours = [shown(pair) for pair in row.ours]
        thesis = [shown(pair) for pair in row.thesis or (None,) * len(SHARES)]
        own = (f"{row.auroc:.3f}", f"{row.patch_ms:.2f}", row.graph)
        lines.append((row.surface, row.system, *ours, *own))
        his = "-" if row.thesis_ms is None else f"{row.thesis_ms:.2f}"
        lines.append(("", "Zouar" if row.thesis else "Zouar: not run", *thesis, "-", his, "-"))
        if row.bergmann:
            lines.append(("", f"Bergmann: {shown(row.bergmann)}", *("",) * (len(SHARES) + 3)))
    headings = ("surface", "system", *(f"{share} %" for share in SHARES), "AUROC", "ms a patch", "graph")
    missed = f"\n\nNot trained yet: {', '.join(missing)}." if missing else ""
    return markdown(headings, lines) + missed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.zouar_table", description=__doc__)
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--bundles", action="append", type=Path, help="default: runs/bundles, then exported_models")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/zouar.json"), help="where the figures are kept")
    given = parser.parse_args()
    folders = given.bundles or FOLDERS
    rows, missing = [], []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for surface in SURFACES:
            for system in SYSTEMS:
                bundle = find_bundle(f"{system}-{surface}", folders)
                if bundle is None:
                    missing.append(f"{system}-{surface}")
                else:
                    rows.append(measure(system, surface, bundle, given.data, given.threads, bar))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"shares": SHARES, "rows": msgspec.to_builtins(rows), "missing": missing}))
    print(table(rows, missing))


if __name__ == "__main__":
    main()
