"""`python -m tools.train.kinds --judge draem-magnetic_tile --data DATA`: the bundle that names a surface's defects.

It learns from the test split's folds 0 to 3 and good images of parts that the judge was not taught on, and reports on
fold 4.
"""

from __future__ import annotations

import argparse
import datetime
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from edge.bundle import Bundle, Thresholds, Training
from edge.engines.session import Floats
from edge.errors import DataError
from edge.inspection.kinds import GOOD, Classifier, maps_of, probabilities
from edge.offline.amend import set_measured
from edge.offline.pack import write_borrowing
from tools.train.data import Sample
from tools.train.kinds_data import TAUGHT, Source, draw_samples, open_source, read_features
from tools.train.kinds_fit import Names, choose, fit, information

REPORT_FOLD = 4
SEED = 1


@dataclass(frozen=True)
class Told:
    """How a classifier did on fold 4, as one engine and precision. Shares of the defective images: right: called by
    their kind; found: not called good. right_if_defect: of those found, which are the ones that get a label."""

    right: float
    found: float
    right_if_defect: float


def learn(source: Source, samples: list[Sample], x: list[Floats]) -> Classifier:
    """From every image's features as each of TAUGHT gives them, so that the line may run either."""
    kind = np.array([s.kind for s in samples])
    known = information(x[0], kind, SEED)
    chosen = choose(known, len(samples))
    return fit(np.concatenate(x), np.tile(kind, len(x)), chosen, SEED, source.full)


def judge_of(classifier: Classifier, x: Floats, kind: Names) -> Told:
    told = probabilities(classifier.layers, x[:, classifier.chosen])
    bad = kind != GOOD
    called: NDArray[np.str_] = np.array(classifier.kinds)[told.argmax(axis=1)]
    right, found = called[bad] == kind[bad], called[bad] != GOOD
    return Told(float(right.mean()), float(found.mean()), float(right[found].mean()) if found.any() else 0.0)


def pack(classifier: Classifier, judge: Bundle) -> bytes:
    """judge: by its digests, so that a judge made anew is not fed to a classifier of the old one's maps."""
    packed = io.BytesIO()
    digests = np.array(sorted(maps_of(judge)))
    np.savez_compressed(packed, allow_pickle=False, judge=digests, **classifier.arrays())
    return packed.getvalue()


def fields_of(source: Source, name: str, images: int, command: str) -> dict[str, object]:
    """The manifest, less what is the gate's."""
    by = source.judge.manifest
    return {
        "name": name,
        "kind": "kinds",
        "surfaces": by.surfaces,
        "judge": by.name,
        "thresholds": Thresholds(how="none: the likeliest kind"),
        "training": Training(
            data=by.training.data,
            licence=by.training.licence,
            images=images,
            date=datetime.date.today().isoformat(),
            command=command,
            note=f"features of the frame and of the map of {by.name}, by the network of {source.gate.manifest.name}; "
            f"kept back: fold {REPORT_FOLD} of the test split",
        ),
    }


def make_kinds(bundles: Path, gate: str, judge: str, roots: list[Path], runs: Path, command: str) -> Bundle:
    source = open_source(bundles / gate, bundles / judge)
    samples = draw_samples(roots, source.judge)
    with Progress() as bar:
        x = [read_features(source, samples, *graph, runs, bar) for graph in TAUGHT]
    back = np.array([s.split == "test" and s.fold == REPORT_FOLD for s in samples])
    groups = {s.group for s, kept in zip(samples, back, strict=True) if kept}
    own = np.array([s.group not in groups for s in samples])
    kind = np.array([s.kind for s in samples])
    if not (back & (kind != GOOD)).any():
        raise DataError(f"{source.surface}: no defective image in fold {REPORT_FOLD} to report on")
    classifier = learn(source, [s for s, taught in zip(samples, own, strict=True) if taught], [f[own] for f in x])
    name = f"kinds-{source.surface}"
    fields = fields_of(source, name, int(own.sum()), command)
    bundle = write_borrowing(bundles / name, fields, source.gate, pack(classifier, source.judge))
    measured: dict[str, float | int | str] = {"defective": int((back & (kind != GOOD)).sum())}
    for (engine, precision), features in zip(TAUGHT, x, strict=True):
        told = judge_of(classifier, features[back], kind[back])
        measured |= {f"{engine}-{precision} {key}": round(value, 4) for key, value in vars(told).items()}
    return set_measured(bundle.path, measured)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train.kinds", description=__doc__)
    parser.add_argument("--judge", action="append", required=True, help="the bundle that gives the maps; repeatable")
    parser.add_argument("--gate", default="gate", help="the bundle whose backbone gives the features")
    parser.add_argument("--bundles", type=Path, default=Path("exported_models"), help="where both are, and go")
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs/kinds"), help="where features are kept")
    given = parser.parse_args()
    for judge in given.judge:
        command = f"python -m tools.train.kinds --judge {judge}"
        bundle = make_kinds(given.bundles, given.gate, judge, given.data, given.runs, command)
        print(bundle.path, bundle.manifest.measured)


if __name__ == "__main__":
    main()
