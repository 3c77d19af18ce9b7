"""The comparison with the thesis: thresholds from validation alone, and the thesis's figures copied right."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="tools.train needs torch: pip install '.[train]'")

from tools.train.zouar_table import (  # after the skip
    BERGMANN,
    SHARES,
    SURFACES,
    SYSTEMS,
    THESIS,
    THESIS_MS,
    Row,
    accuracies,
    table,
)


def test_thresholds_are_the_validations_own() -> None:
    good = list(np.linspace(0, 1, 101))
    found = accuracies(good, [0.1, 0.75, 0.95, 2.0, 0.85], [False, False, False, True, True])
    assert np.allclose(found, [(1, 0.5), (2 / 3, 0.5), (2 / 3, 1), (1 / 3, 1)])
    # A defect that looks better than any good part is not caught at any share.
    assert [defect for _, defect in accuracies(good, [0.5, -1.0], [False, True])] == [0, 0, 0, 0]


def test_the_thesis_has_a_figure_for_every_system_surface_and_share() -> None:
    columns = {column for column in SYSTEMS.values() if column is not None}
    for surface in SURFACES:
        assert len(THESIS[surface]) == len(THESIS_MS[surface]) == len(columns) == max(columns) + 1
        assert len(BERGMANN[surface]) == 2
        for system in THESIS[surface]:
            assert len(system) == len(SHARES)
            assert all(0 <= value <= 1 for pair in system for value in pair)
            assert system[0][0] == 1.0  # at 100 % every good image passes


def test_the_table_sets_ours_beside_the_thesis_and_names_what_is_missing() -> None:
    plain = Row(
        system="bergmann-ssim",
        surface="pill",
        graph="litert/cpu/int8",
        sha256="0" * 64,
        n_good=10,
        n_defect=25,
        auroc=0.81,
        patch_ms=0.47,
        ours=((1.0, 0.5), (0.9, 0.6), (0.8, 0.7), (0.7, 0.8)),
        thesis=None,
        thesis_ms=None,
        bergmann=(0.92, 0.28),
    )
    column, ms = THESIS["pill"][3], 2.107
    memae = msgspec.structs.replace(plain, system="memae", thesis=column, thesis_ms=ms, bergmann=None)
    rows = [memae, plain]
    lines = table(rows, ["chow-pill"]).splitlines()
    assert lines[0].count("|") == lines[2].count("|") == lines[3].count("|") == lines[5].count("|")
    assert "0.70 / 0.80 = 0.75" in lines[2] and "0.69 / 0.51 = 0.60" in lines[3]
    assert "0.92 / 0.28 = 0.60" in lines[6]
    assert lines[-1] == "Not trained yet: chow-pill."
