"""Kinds of defect on made features: what is chosen, what is learnt, and figures that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not here (extra `test`)")

from edge.inspection.kinds import GOOD, probabilities
from tools.train import kinds_figures
from tools.train.kinds_figures import (
    Answers,
    Data,
    auroc,
    binary_recall,
    class_recall,
    cross_validate,
    defect_recall,
    fold_means,
    in_order,
    surely_best,
    thinned,
)
from tools.train.kinds_fit import choose, fit, information
from tools.train.kinds_tables import PAPER_2, PAPER_3, Figure, Surface, paper_figure, summary, table_2, table_3

KINDS = np.array([GOOD, "scratch", "stain"])
WIDTH = 6


def made(n: int, seed: int) -> Data:
    """Ten features: the second of the frame tells scratches, the eighth, of the map, tells any defect."""
    rng = np.random.default_rng(seed)
    kind = KINDS[np.arange(n) % 3]
    x = rng.standard_normal((n, 10)).astype(np.float32)
    x[:, 1] += 6 * (kind == "scratch")
    x[:, 7] += 6 * (kind != GOOD)
    return Data(x * np.logspace(-2, 2, 10, dtype=np.float32), WIDTH, kind, np.arange(n, dtype=np.int64))


def test_the_features_that_tell_are_chosen() -> None:
    data = made(90, 1)
    known = information(data.x, data.kind, 1)
    assert set(choose(known, 4).tolist()) == {1, 7}
    assert len(choose(known, 50)) == 7


def test_what_was_learnt_holds_for_fresh_features_on_any_scale() -> None:
    data, fresh = made(90, 1), made(60, 2)
    classifier = fit(data.x, data.kind, np.array([1, 7]), 1, 1.0)
    assert [bias.size for _, bias in classifier.layers] == [512, 100, 3]
    told = probabilities(classifier.layers, fresh.x[:, classifier.chosen])
    assert np.mean(np.array(classifier.kinds)[told.argmax(1)] == fresh.kind) > 0.95


def test_two_classes_are_a_softmax_too() -> None:
    data = made(60, 1)
    two = np.where(data.kind == GOOD, GOOD, "defect")
    classifier = fit(data.x, two, np.array([7]), 1, 1.0)
    told = probabilities(classifier.layers, data.x[:, [7]])
    assert classifier.kinds == ("defect", GOOD) and told.shape == (60, 2)
    assert np.mean((told[:, 0] > 0.5) == (two == "defect")) > 0.95


def test_ten_fold_on_two_inputs_and_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds_figures, "FOLDS", 3)
    steps: list[int] = []
    told = cross_validate(made(60, 3), 1.0, 1, lambda: steps.append(1))
    assert len(steps) == 3 and set(np.bincount(told["both"].fold)) == {20}
    scratches = {given: class_recall(own, "scratch").mean() for given, own in told.items()}
    assert scratches["both"] > 0.9 and scratches["image"] > 0.9 > scratches["map"]
    found = {given: binary_recall(own).mean() for given, own in told.items()}
    assert found["both"] > 0.9 and found["map"] > 0.9 > found["image"]


def test_images_of_one_part_are_on_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds_figures, "FOLDS", 3)
    data = made(60, 3)
    group = np.arange(60, dtype=np.int64) // 3
    told = cross_validate(Data(data.x, data.width, data.kind, group), 0.5, 1, lambda: None)["both"]
    assert all(len(set(told.fold[group == part])) == 1 for part in range(20))


def test_fewer_defects_and_all_the_good_ones() -> None:
    kind = np.repeat(KINDS, (40, 20, 4))
    kept = thinned(np.arange(64), kind, 0.25, np.random.default_rng(1))
    assert [int((kind[kept] == name).sum()) for name in KINDS] == [40, 5, 2]


def answers() -> Answers:
    truth = np.array([GOOD, GOOD, "scratch", "scratch", "stain", "stain"])
    called = [0, 1, 1, 2, 0, 2]
    told = np.eye(3)[called]
    return Answers(tuple(KINDS.tolist()), truth, np.array([0, 1, 0, 1, 0, 1]), told, 1 - told[:, 0])


def test_recalls_are_counted() -> None:
    own = answers()
    assert class_recall(own, "scratch").tolist() == [True, False]
    assert defect_recall(own, "scratch").tolist() == [True, True]
    assert defect_recall(own, "stain").tolist() == [False, True]
    assert binary_recall(own).mean() == 0.75 and kinds_figures.false_alarms(own) == 0.5
    assert fold_means(own, own.truth == "stain", defect_recall(own, "stain"))[:2].tolist() == [0, 1]


def test_auroc_is_weighted_by_each_kinds_share() -> None:
    from sklearn.metrics import roc_auc_score

    own = answers()
    wanted = roc_auc_score(own.truth, own.told, multi_class="ovr", average="weighted", labels=list(own.kinds))
    assert auroc(own, np.ones(6, bool)) == pytest.approx(wanted)
    assert np.isnan(auroc(own, own.truth == GOOD))


def test_the_best_is_sure_only_where_all_folds_say_so() -> None:
    level, rising = np.full(10, 0.5), np.linspace(0.6, 0.7, 10)
    best, p = surely_best({"image": 0.5, "map": 0.4, "both": 0.65}, {"image": level, "map": level, "both": rising})
    assert best == "both" and p < kinds_figures.SIGNIFICANT
    same = surely_best({"image": 0.5, "map": 0.5, "both": 0.5}, {"image": level, "map": level, "both": level})
    assert same[1] == 1.0


def test_tables_set_ours_beside_the_papers() -> None:
    figure = Figure({"image": 0.5, "map": 0.6, "both": 0.75}, "both", 0.001, True)
    shares = {f"{share:.0%}": figure for share in kinds_figures.SHARES}
    figures = {"scratch": figure}
    ours = {
        "nut": Surface(
            ("0",), {GOOD: 3, "scratch": 4}, figures, figures, shares, shares, {"image": 0.1, "map": 0, "both": 0}
        )
    }
    second, third = table_2(ours), table_3(ours)
    assert "| nut, scratch (4) | 50.00% | 60.00% | 75.00%* |" in second and "| 25.00 | yes | yes |" in second
    assert second.count("paper:") == len(PAPER_2) and third.count("order holds") == 1 + len(PAPER_3)
    assert "0.8860" in third and "92.77%" in second
    assert "class recall 1 of 1" in summary(ours)


def test_the_papers_own_order_is_read_from_its_figures() -> None:
    assert not paper_figure(PAPER_2["deco cap, marks (191)"][:3]).holds
    assert all(in_order(dict(zip(kinds_figures.INPUTS, v, strict=True))) for v in zip(*PAPER_3["shavers"], strict=True))
