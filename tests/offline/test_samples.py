"""Which images count, and what is said where they cannot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import DataError
from edge.offline.samples import Sample, find_samples, read_mask, spread


def draw(path: Path, value: int = 100, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(size, value, np.uint8))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """cup: four good, four cracked, two of them with masks; cloth: train/good alone."""
    for number in range(4):
        draw(tmp_path / f"cup/test/good/{number}.png")
        draw(tmp_path / f"cup/test/crack/{number}.png")
        draw(tmp_path / f"cloth/train/good/{number}.png")
    for number in range(2):
        draw(tmp_path / f"cup/ground_truth/crack/{number}_mask.png", 255)
    draw(tmp_path / "cup/train/good/9.png")
    (tmp_path / "cup/test/good/notes.txt").write_text("not an image")
    return tmp_path


def write_folds(root: Path, heading: str = "path,fold") -> None:
    paths = [path.relative_to(root).as_posix() for path in sorted(root.glob("*/*/*/?.png"))]
    lines = [f"{path},{Path(path).stem}" for path in paths]
    (root / "split.csv").write_text("\n".join([heading, *lines]))


def names(samples: list[Sample], root: Path) -> list[str]:
    return [sample.path.relative_to(root).as_posix() for sample in samples]


def test_the_test_images_count_and_train_is_noted(data: Path) -> None:
    samples, notes = find_samples([data])
    assert len(samples) == 8
    assert sum(sample.defective for sample in samples) == 4
    assert sum(sample.mask is not None for sample in samples) == 2
    assert len(notes) == 1
    assert "cloth" in notes[0]
    assert "--fold" in notes[0]


def test_a_fold_takes_its_images_and_those_of_a_surface_without_test(data: Path) -> None:
    write_folds(data)
    samples, notes = find_samples([data], fold=1)
    assert names(samples, data) == ["cloth/train/good/1.png", "cup/test/crack/1.png", "cup/test/good/1.png"]
    assert not notes


def test_a_limit_is_spread_over_the_kinds(data: Path) -> None:
    samples, _ = find_samples([data], limit=4)
    assert [sample.kind for sample in samples] == ["crack", "crack", "good", "good"]
    assert len({sample.path for sample in samples}) == 4


@pytest.mark.parametrize("limit", range(1, 12))
def test_a_limit_never_takes_an_image_twice(limit: int) -> None:
    samples = [Sample(Path(f"{number:02}.png"), "cup", "good", None) for number in range(10)]
    assert len(set(spread(samples, limit))) == min(limit, 10)


def test_two_roots_are_one_set(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    draw(other / "tile/test/good/0.png")
    samples, _ = find_samples([data, other])
    assert {sample.surface for sample in samples} == {"cup", "tile"}


def test_a_fold_without_a_table_is_refused(data: Path) -> None:
    with pytest.raises(DataError, match=r"--fold needs .*split\.csv"):
        find_samples([data], fold=1)


def test_a_table_without_the_column_is_refused(data: Path) -> None:
    write_folds(data, "path,group")
    with pytest.raises(DataError, match="no column 'fold'"):
        find_samples([data], fold=1)


def test_a_fold_that_is_no_number_is_named_by_its_line(data: Path) -> None:
    (data / "split.csv").write_text("path,fold\ncup/test/good/0.png,1\ncup/test/good/1.png,last\n")
    with pytest.raises(DataError, match="line 3"):
        find_samples([data], fold=1)


def test_a_fold_that_nobody_is_in_is_refused(data: Path) -> None:
    write_folds(data)
    with pytest.raises(DataError, match="no image of fold 7"):
        find_samples([data], fold=7)


def test_a_folder_that_is_none_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        find_samples([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no image to evaluate"):
        find_samples([tmp_path])


def test_a_surface_given_as_root_is_pointed_out(data: Path) -> None:
    with pytest.raises(DataError, match="is a surface itself"):
        find_samples([data / "cup"])


def masked(mask: Path | None, kind: str = "crack") -> Sample:
    return Sample(Path("picture.png"), "cup", kind, mask)


def test_a_mask_keeps_every_pixel_that_a_defect_touches(tmp_path: Path) -> None:
    drawn = np.zeros((8, 12), np.uint8)
    drawn[5, 7] = 1  # whatever is not 0 is defective
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), drawn)
    smaller, larger = (read_mask(masked(path), (8, 12, 3), 12 * n // 2, 8 * n // 2) for n in (1, 4))
    assert smaller is not None
    assert larger is not None
    assert np.argwhere(smaller).tolist() == [[2, 3]]
    assert np.argwhere(larger).tolist() == [[10, 14], [10, 15], [11, 14], [11, 15]]


def test_good_frames_are_clean_and_unknown_places_stay_unknown(tmp_path: Path) -> None:
    clean = read_mask(masked(None, "good"), (8, 8), 4, 4)
    assert clean is not None
    assert not clean.any()
    assert read_mask(masked(None), (8, 8), 4, 4) is None
    assert read_mask(masked(draw(tmp_path / "empty.png", 0)), (8, 8), 4, 4) is None


def test_a_wrong_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a mask has its image's size"):
        read_mask(masked(draw(tmp_path / "mask.png", 255)), (9, 8), 4, 4)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png is not an image"):
        read_mask(masked(tmp_path / "broken.png"), (8, 8), 4, 4)
