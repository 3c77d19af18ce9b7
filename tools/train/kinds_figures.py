"""Ten-fold cross-validation of the three inputs, and the paper's figures from it (Rožanec 4 and 5)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon  # type: ignore[import-untyped]  # scipy has no types
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from edge.engines.session import Floats
from edge.inspection.kinds import GOOD, probabilities
from tools.train.kinds_fit import Doubles, Indices, Names, choose, fit, information

Input = Literal["image", "map", "both"]
INPUTS: tuple[Input, ...] = ("image", "map", "both")
SHARES = (0.25, 0.5, 0.75, 1.0)
FOLDS = 10
SIGNIFICANT = 0.005  # of the Wilcoxon test, as in the paper
DEFECT = "defect"


@dataclass(frozen=True)
class Data:
    """x: `(n, f)`, the first `width` columns of the frame and the others of its map; kind `(n,)`; group `(n,)`."""

    x: Floats
    width: int
    kind: Names
    group: Indices

    def columns(self, given: Input) -> Indices:
        every = np.arange(self.x.shape[1])
        return {"image": every[: self.width], "map": every[self.width :], "both": every}[given]


@dataclass(frozen=True)
class Answers:
    """What was told of each image by the nine tenths that it is not in. told: `(n, kinds)`; defective: `(n,)`, by a
    classifier of its own that knows good and defective alone; fold `(n,)`."""

    kinds: tuple[str, ...]
    truth: Names
    fold: Indices
    told: Doubles
    defective: Doubles


def thinned(train: Indices, kind: Names, share: float, rng: np.random.Generator) -> Indices:
    """`share` of each kind of defect, at least two of it, and all good ones.

    The paper drops the others from the whole set; here from the training side, so that every share is tested on the
    same parts: a quarter of metal_nut's bent ones would be four.
    """
    kept = [train[kind[train] == GOOD]]
    for name in np.unique(kind[kind != GOOD]):
        own = train[kind[train] == name]
        kept.append(rng.permutation(own)[: max(2, round(share * len(own)))])
    return np.sort(np.concatenate(kept))


def cross_validate(data: Data, share: float, seed: int, step: Callable[[], None]) -> dict[Input, Answers]:
    """Stratified ten-fold; images of one part are never on both sides. step: called after each fold."""
    kinds = tuple(sorted(set(data.kind.tolist())))
    n, two = len(data.kind), np.where(data.kind == GOOD, GOOD, DEFECT)
    fold = np.zeros(n, np.int64)
    told = {given: np.zeros((n, len(kinds))) for given in INPUTS}
    defective = {given: np.zeros(n) for given in INPUTS}
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a kind of fewer than ten images is in fewer than ten folds
        drawn = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(data.x, data.kind, data.group))
    for number, (train, test) in enumerate(drawn):
        fold[test] = number
        kept = thinned(train, data.kind, share, rng)
        known = [information(data.x[kept], label[kept], seed) for label in (data.kind, two)]
        for given in INPUTS:
            own = data.columns(given)
            told[given][test] = _told(data.x, data.kind, own, known[0], kept, test, kinds, seed)
            defective[given][test] = _told(data.x, two, own, known[1], kept, test, (DEFECT,), seed)[:, 0]
        step()
    return {given: Answers(kinds, data.kind, fold, told[given], defective[given]) for given in INPUTS}


def _told(
    x: Floats,
    label: Names,
    own: Indices,
    known: Doubles,
    kept: Indices,
    test: Indices,
    names: tuple[str, ...],
    seed: int,
) -> Doubles:
    """`(test, names)`: probabilities by a classifier of the `kept` images and the best of the `own` features."""
    classifier = fit(x[kept], label[kept], own[choose(known[own], len(kept))], seed, 1.0)
    answer = probabilities(classifier.layers, x[np.ix_(test, classifier.chosen)])
    columns = dict(zip(classifier.kinds, answer.T, strict=True))
    return np.stack([columns.get(name, np.zeros(len(test))) for name in names], axis=1)


def class_recall(answers: Answers, kind: str) -> NDArray[np.bool_]:
    """Of each image of the kind: was it called by its kind?"""
    called = np.array(answers.kinds)[answers.told.argmax(axis=1)]
    return np.asarray(called[answers.truth == kind] == kind)


def defect_recall(answers: Answers, kind: str) -> NDArray[np.bool_]:
    """Of each image of the kind: was it called any defect at all?"""
    called = np.array(answers.kinds)[answers.told.argmax(axis=1)]
    return np.asarray(called[answers.truth == kind] != GOOD)


def binary_recall(answers: Answers) -> NDArray[np.bool_]:
    """Of each defective image: did the classifier of good and defective find it?"""
    return np.asarray(answers.defective[answers.truth != GOOD] > 0.5)


def false_alarms(answers: Answers) -> float:
    """Share of the good images that the same classifier calls defective; the paper does not print it."""
    return float((answers.defective[answers.truth == GOOD] > 0.5).mean())


def auroc(answers: Answers, chosen: NDArray[np.bool_]) -> float:
    """One-vs-rest over the chosen images, weighted by each kind's share of them; NaN where there is only one kind."""
    truth, told = answers.truth[chosen], answers.told[chosen]
    total, weight = 0.0, 0
    for column, kind in enumerate(answers.kinds):
        count = int((truth == kind).sum())
        if 0 < count < len(truth):
            total += count * float(roc_auc_score(truth == kind, told[:, column]))
            weight += count
    return total / weight if weight else float("nan")


def fold_means(answers: Answers, chosen: NDArray[np.bool_], values: NDArray[np.bool_]) -> Doubles:
    """Mean of the chosen images' values in each fold, `(folds,)`; NaN where a fold has none of them."""
    fold = answers.fold[chosen]
    return np.array([values[fold == n].mean() if (fold == n).any() else np.nan for n in range(FOLDS)])


def fold_aurocs(answers: Answers) -> Doubles:
    return np.array([auroc(answers, answers.fold == n) for n in range(FOLDS)])


def surely_best(value: dict[Input, float], by_fold: dict[Input, Doubles]) -> tuple[Input, float]:
    """The best input and the p of the Wilcoxon signed-rank test against the second best, fold by fold."""
    best, second = sorted(INPUTS, key=lambda given: -value[given])[:2]
    apart = by_fold[best] - by_fold[second]
    apart = apart[np.isfinite(apart) & (apart != 0)]
    return best, float(wilcoxon(apart).pvalue) if len(apart) else 1.0


def in_order(value: dict[Input, float]) -> bool:
    """The paper's claim: image and map together are at least as good as either."""
    return value["both"] >= value["map"] and value["both"] >= value["image"]
