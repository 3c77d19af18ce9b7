"""Where a threshold is put between good and defective."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="tools.train needs torch: pip install '.[train]'")
pytest.importorskip("litert_torch", reason="tools.train needs litert-torch: pip install '.[train]'")
pytest.importorskip("ai_edge_quantizer", reason="tools.train needs ai-edge-quantizer: pip install '.[train]'")

from tools.train.bundle import best_midpoint


def test_apart_scores_are_parted_in_the_middle() -> None:
    score, defective = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    assert best_midpoint(score, defective, 0.98) == pytest.approx(0.5)


def test_no_more_good_ones_are_rejected_than_allowed() -> None:
    """By balanced accuracy alone it would be 0.25, which rejects a third of the good ones."""
    score = np.array([0.1, 0.2, 0.4, 0.3, 0.35, 0.9])
    defective = np.array([False, False, False, True, True, True])
    assert best_midpoint(score, defective, 0.6) == pytest.approx(0.25)
    assert best_midpoint(score, defective, 0.98) == pytest.approx(0.65)


def test_where_that_would_catch_nothing_balanced_accuracy_decides() -> None:
    score, defective = np.array([0.1, 0.2, 0.9, 0.3, 0.4]), np.array([False, False, False, True, True])
    assert best_midpoint(score, defective, 0.98) == pytest.approx(0.25)
