"""What image files are called where a person reads their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.vision.files import short_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/0000.png", "a/0001.png"], ["0000", "0001"]),
        (["bottle/good/0.png", "bottle/bent/0.png"], ["good/0", "bent/0"]),
        (["bottle/good/0.png", "pill/good/0.png"], ["bottle/good/0", "pill/good/0"]),
        (["good.png", "good.png"], ["good", "good"]),
        (["0.png", "deep/er/0.png"], ["0", "er/0"]),
        ([], []),
    ],
)
def test_a_file_has_as_many_folders_before_its_name_as_tell_it_apart(paths: list[str], names: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == names
