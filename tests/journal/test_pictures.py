"""Kept pictures: which, how large all together, and never at the cost of a verdict."""

from __future__ import annotations

import gc
import shutil
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge.journal.pictures as pictures_module
from edge.errors import JournalError
from edge.journal.pictures import FOLDER, Pictures, picture_of, worth_keeping
from edge.records import Evaluation, Verdict
from edge.vision.files import read_image
from tests.journal.journals import verdict


def good(score: float | None) -> Verdict:
    return verdict(1, score=score)


def test_rejected_and_nearly_rejected_frames_are_kept() -> None:
    assert worth_keeping(verdict(0), 0.1)
    assert worth_keeping(verdict(0, evaluation=int(Evaluation.UNDEFINED), score=None), 0.1)
    assert worth_keeping(good(0.46), 0.1) and worth_keeping(good(0.5), 0.0)
    assert not worth_keeping(good(0.44), 0.1) and not worth_keeping(good(None), 0.1)


@pytest.mark.parametrize(("dtype", "shape"), [("uint8", (20, 30)), ("uint16", (20, 30)), ("uint8", (20, 30, 3))])
def test_pixels_come_back_as_they_were(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    pictures = Pictures(tmp_path, 1 << 20)
    assert pictures.keep("s0-1", pixels, "raw")
    pictures.close()
    path = picture_of(tmp_path, "s0-1")
    assert path and np.array_equal(read_image(path), pixels) and pictures.kept == 1


def test_a_cameras_own_file_is_kept_unchanged(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", np.full((20, 30), 99, np.uint8))[1].tobytes()
    pictures = Pictures(tmp_path, 1 << 20)
    pictures.keep("s0-1", memoryview(data), "jpeg")
    pictures.close()
    path = picture_of(tmp_path, "s0-1")
    assert path and path.suffix == ".jpg" and path.read_bytes() == data


def test_the_oldest_make_room_over_restarts_too(tmp_path: Path) -> None:
    for session in range(3):
        pictures = Pictures(tmp_path, 1000)
        for number in range(4):
            while not pictures.keep(f"s{session}-{number}", bytes(300), "png"):
                time.sleep(0.001)
        pictures.close()
    assert sorted(path.stem for path in (tmp_path / FOLDER).iterdir()) == ["s2-1", "s2-2", "s2-3"]


def test_a_picture_never_waits_for_the_disk(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, 1 << 30)
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 1500)).astype(np.uint8)
    begun = time.perf_counter()
    taken = [pictures.keep(f"s0-{number}", pixels, "raw") for number in range(200)]
    assert time.perf_counter() - begun < 1
    pictures.close()
    assert pictures.dropped == taken.count(False) > 0 and pictures.kept == taken.count(True) >= 4


def test_a_disk_that_refuses_is_counted_and_the_next_picture_is_tried(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, 1 << 20)
    shutil.rmtree(tmp_path / FOLDER)
    pictures.keep("s0-1", b"gone", "png")
    while not pictures.failed:
        time.sleep(0.001)
    (tmp_path / FOLDER).mkdir()
    pictures.keep("s0-2", b"there", "png")
    pictures.close()
    assert (pictures.failed, pictures.kept) == (1, 1) and picture_of(tmp_path, "s0-1") is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_end_does_not_wait_for_a_thread_that_has_ended(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, 1 << 20)
    pictures.keep("s0-1", b"", "bmp")  # type: ignore[arg-type]  # what nobody foresaw
    pictures.thread.join(5)
    while pictures.keep("s0-2", b"", "png"):
        pass
    pictures.close()


def test_a_picture_larger_than_the_quota_pushes_no_other_out(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, 1000)
    pictures.keep("s0-1", bytes(400), "png")
    pictures.keep("s0-2", bytes(2000), "png")
    pictures.close()
    assert [path.stem for path in (tmp_path / FOLDER).iterdir()] == ["s0-1"] and pictures.failed == 1


def test_a_half_written_picture_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "s0-1.png.part").write_bytes(b"half")
    Pictures(tmp_path, 1000).close()
    assert not list((tmp_path / FOLDER).iterdir())


def test_no_name_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    assert picture_of(tmp_path, "../secret") is None


def test_a_folder_that_cannot_be_is_a_journal_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="pictures"):
        Pictures(tmp_path / "file", 1000)


def held() -> int:
    """Bytes that were allocated by the pictures' code and are still there."""
    gc.collect()
    own = tracemalloc.Filter(True, pictures_module.__file__, all_frames=True)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([own]).traces)


def kept_and_reread(folder: Path, count: int) -> tuple[int, int]:
    """Bytes that so many pictures hold where they were kept, and where they were found at a start."""
    tracemalloc.start(8)
    try:
        pictures = Pictures(folder, 1 << 20)
        for number in range(count):
            while not pictures.keep(f"e27a267bb3b0-{number}", b"small", "png"):
                time.sleep(0.0005)
        pictures.close()
        kept = held()
        again = Pictures(folder, 1 << 20)
        again.close()
        assert pictures.kept == count
        return kept, held() - kept
    finally:
        tracemalloc.stop()


def test_a_kept_picture_takes_little_memory_also_after_a_restart(tmp_path: Path) -> None:
    count, most = 2000, 250
    # Python's own table of names grows now and then, by megabytes at once, in whoever's code it happens to be.
    kept, reread = map(min, zip(*(kept_and_reread(tmp_path / f"{turn}", count) for turn in range(3)), strict=True))
    assert 0 < kept < most * count and 0 < reread < most * count, (kept / count, reread / count)
