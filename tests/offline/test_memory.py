"""What a nearest judge remembers of good images: the cells that are kept, and how far a place may be from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.bundle import Graph
from edge.errors import DataError
from edge.inspection.nearest import LEAST, ROWS, Memory, directions, equal_parts, pack_cells, unpack_cells
from edge.offline.coreset import coreset
from edge.offline.teach import Seen, Settings, held_out, make_memories, rooms


def test_a_place_where_good_parts_vary_counts_less() -> None:
    good, scale = np.eye(2, dtype=np.float32), np.ones(2, np.float32)
    cells = np.array([[1.0, 0.2], [0.2, 1.0]], np.float32)
    even = Memory(scale, good, np.ones(2, np.float32)).distances(cells)
    uneven = Memory(scale, good, np.array([1.0, 2.0], np.float32)).distances(cells)
    assert even[0] == pytest.approx(even[1])
    assert uneven == pytest.approx([even[0], even[1] / 2])


def seen(images: int, places: int = 20, odd: int | None = None) -> Seen:
    """Cells that point all ways but one, which the odd image's do."""
    rng = np.random.default_rng(0)
    cells = np.abs(rng.normal(size=(images, places, 4)))
    cells[..., 3] = rng.uniform(0, 0.1, (images, places))
    if odd is not None:
        cells[odd] = [-1.0, -1.0, -1.0, 0.05]
    graph = Graph(file="model.onnx", sha256="0" * 64, format="onnx", precision="fp32")
    return Seen(graph, np.zeros((images, 1), np.float32), cells.astype(np.float16))


ONE = Settings(worst=1)


def test_an_image_is_scored_by_what_the_others_look_like() -> None:
    each = seen(20, odd=7)
    (scores,), _ = held_out([each], ONE, lambda *_: None)
    assert scores.argmax() == 7
    (memory,) = make_memories([each], np.ones(20, np.bool_), ONE)
    assert memory.distances(each.cells[7].astype(np.float32)).max() < 0.1 * scores[7], "it knows itself"


def test_room_is_what_other_images_cells_are_away_and_even_says_how_much_it_counts() -> None:
    good = np.eye(3, dtype=np.float32)
    near, far = np.array([0.99, 0.14107, 0.0]), np.array([0.0, 0.8, 0.6])
    rows, image = np.array([near] * 30 + [far] * 30, np.float32), np.array([1] * 30 + [2] * 30)
    room = rooms(rows, image, good, np.zeros(3, np.int64))
    assert room[0] < 0.5 < 1.2 < room[1], "cells near the second are further away"
    own = rooms(rows, image, good, np.array([1, 0, 0]))
    assert own[0] == 1 and own[1] != room[1], "a cell's own image does not count"
    even = [make_memories([seen(20)], np.ones(20, np.bool_), replace(ONE, even=v))[0].room for v in (0.0, 1.0)]
    assert np.ptp(even[0]) == 0 < np.ptp(even[1])


def test_what_is_the_same_everywhere_tells_nothing() -> None:
    each = seen(20)
    each.cells[..., 0] = 5
    (memory,) = make_memories([each], np.ones(20, np.bool_), ONE)
    assert memory.scale[0] == 0 and (memory.scale[1:] > 0).all()
    with pytest.raises(DataError, match="are they blank"):
        make_memories([Seen(each.graph, each.features, np.ones_like(each.cells))], np.ones(20, np.bool_), ONE)


def test_many_cells_are_compared_as_few_are() -> None:
    cells = np.random.default_rng(1).normal(size=(700, 4)).astype(np.float32)
    (memory,) = make_memories([seen(20)], np.ones(20, np.bool_), ONE)
    one_by_one = np.concatenate([memory.distances(cell[None]) for cell in cells])
    assert memory.distances(cells) == pytest.approx(one_by_one, abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 65, 196, 256, 257, 700, 1500])
@pytest.mark.parametrize("threads", [2, 3, 5, 64])
@pytest.mark.parametrize("remembered", [100, 300, 4000])
def test_cells_are_compared_to_the_same_bits_on_several_threads(count: int, threads: int, remembered: int) -> None:
    rng = np.random.default_rng(count)
    good, cells = (
        directions(rng.normal(size=(n, 112)).astype(np.float32), np.ones(1, np.float32)) for n in (remembered, count)
    )
    memory = Memory(np.ones(112, np.float32), np.ascontiguousarray(good.T), np.ones(remembered, np.float32))
    np.testing.assert_array_equal(memory.distances(cells, threads), memory.distances(cells))


@given(st.integers(0, 20_000), st.integers(1, 256))
def test_rows_are_shared_out_whole_and_evenly(count: int, threads: int) -> None:
    parts = equal_parts(count, threads)
    sizes = [part.stop - part.start for part in parts]
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(count))
    assert max(sizes) <= ROWS and max(sizes) - min(sizes) <= 1
    assert len(parts) == 1 or (min(sizes) >= LEAST and len(parts) % min(threads, count // LEAST) == 0)


def test_only_a_cells_direction_counts() -> None:
    memory = Memory(np.ones(2, np.float32), np.eye(2, dtype=np.float32), np.ones(2, np.float32))
    cells = np.array([[3.0, 1.0], [300.0, 100.0]], np.float32)
    assert memory.distances(cells)[0] == pytest.approx(memory.distances(cells)[1])


def test_cells_are_kept_in_a_byte_each_and_come_back_nearly_the_same() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 112)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    back = unpack_cells(pack_cells(rows)).T
    assert np.linalg.norm(back, axis=1) == pytest.approx(np.ones(50), abs=1e-6)
    assert np.linalg.norm(back - rows, axis=1).max() < 0.03


def test_a_coreset_leaves_no_row_far_away() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 8)).astype(np.float32)
    chosen, drawn = coreset(rows, 100), rng.permutation(3000)[:100]

    def farthest(kept: NDArray[np.int64]) -> float:
        return float(np.linalg.norm(rows[:, None] - rows[kept], axis=2).min(axis=1).max())

    assert len(set(chosen.tolist())) == 100
    assert farthest(chosen) < 0.9 * farthest(drawn)
