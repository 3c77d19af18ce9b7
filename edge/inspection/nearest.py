"""A judge that needs no training: how far is each place of a frame from all that good parts ever looked like?

After PatchCore (Roth et al. 2022): middle features of a network trained on other pictures, averaged over each cell's
neighbours; a memory of good cells; the distance to the nearest. Cells are compared by their direction alone: how strong
a feature is follows the light. The network is the gate's own, so a frame that the gate has just looked at costs a
matrix product; where a surface needs more pixels than the gate does, the frame is cut into tiles. Of several views the
cells of `whole` are used, and without a gate it alone is looked at.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event, get_native_id

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Graph
from edge.engines.cores import on, shared_out
from edge.engines.session import Floats
from edge.errors import BundleError, EngineError, ScoreError
from edge.inspection.judge import Scorer
from edge.inspection.model import Model
from edge.records import Frame
from edge.vision.image import WHOLE, InputRule

ARRAYS = ("memory", "scale", "room")
LEAST, ROWS = 32, 256  # cells that a thread compares at a time: many tiles need no more memory than one, for each
SMALL = 1 << 15  # numbers of a memory that is compared alone: there the last bit may hang on how many cells there are
MOST = 512  # numbers of a cell: OpenCV's channels
MOST_THREADS = 256  # of a line
ENLARGED = 4  # the map is drawn this much finer than its cells, so that boxes follow what lies between them
HELPERS = ThreadPoolExecutor(MOST_THREADS, "nearest")  # they start as they are wanted, see _call_helpers


def smooth_cells(cells: Floats, rule: InputRule) -> Floats:
    """A frame's `(batch, d, h, w)` -> `(down * h, across * w, d)`: the whole view (of all, or the only one) or all
    tiles side by side, each cell averaged with its neighbours; edges repeated. Raises BundleError."""
    if cells.shape[1] > MOST:
        raise BundleError(f"the network's cells have {cells.shape[1]} numbers each; at most {MOST} can be compared")
    across, down = rule.tiles
    chosen = cells[rule.views.index("whole") if len(cells) > 1 else 0] if rule.tiles == WHOLE else cells
    _, h, w = chosen.shape[-3:]
    tiles = chosen.reshape(down, across, -1, h, w).transpose(0, 3, 1, 4, 2).reshape(down * h, across * w, -1)
    return cv2.blur(tiles, (3, 3), borderType=cv2.BORDER_REPLICATE)  # type: ignore[return-value]  # cv2 keeps the dtype


@dataclass(frozen=True, slots=True)
class Memory:
    """What good parts look like. scale: `(d,)`, what each number of a cell is multiplied with first; good: `(d, m)`
    good cells, scaled and of length 1; room: `(m,)`, how much good parts vary there: distances are divided by it."""

    scale: Floats
    good: Floats
    room: Floats

    def distances(self, cells: Floats, threads: int = 1) -> Floats:
        """Distance of each of `(n, d)` cells to the nearest good one, `(n,)`: the same bits on however many threads."""
        found = np.empty(len(cells), np.float32)
        rows = directions(cells, self.scale)
        threads = threads if self.good.size >= SMALL else 1
        parts = equal_parts(len(rows), threads)

        def compare(share: Sequence[slice]) -> None:
            for part in share:
                which, apart = nearest(rows[part] @ self.good)
                found[part] = apart / self.room[which]

        helped = [HELPERS.submit(compare, parts[n::threads]) for n in range(1, min(threads, len(parts)))]
        compare(parts[::threads])
        for each in helped:
            each.result()
        return found


def equal_parts(count: int, threads: int) -> list[slice]:
    """Of so many rows: at most ROWS each, and as many parts for each thread, so that all end together. Fewer threads
    share where one would have less than LEAST."""
    sharing = max(1, min(threads, count // LEAST))
    parts = math.ceil(math.ceil(count / ROWS) / sharing) * sharing
    ends = np.linspace(0, count, max(parts, 1) + 1).astype(int).tolist()
    return [slice(first, last) for first, last in pairwise(ends)]


def nearest(likeness: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The column that each row of `(n, m)` cosines is nearest to, and its distance, both `(n,)`."""
    which = likeness.argmax(axis=1)
    best = np.take_along_axis(likeness, which[:, None], axis=1)[:, 0]
    return which, np.sqrt(np.maximum(2 - 2 * best, 0))


def directions(cells: Floats, scale: Floats) -> Floats:
    """`(n, d)` scaled and brought to length 1."""
    scaled = cells * scale
    lengths = np.sqrt(np.einsum("nd,nd->n", scaled, scaled))
    scaled /= np.maximum(lengths, 1e-12)[:, None]
    return scaled


def pack_cells(good: Floats) -> NDArray[np.int8]:
    """`(m, d)` of length 1 as they are kept: only their direction matters, so each row fills the range of int8."""
    return np.asarray(np.rint(good * (127 / np.abs(good).max(axis=1, keepdims=True))), np.int8)


def unpack_cells(packed: NDArray[np.int8]) -> Floats:
    """`(m, d)` int8 -> `(d, m)` of length 1."""
    return np.ascontiguousarray(directions(packed.astype(np.float32), np.ones(1, np.float32)).T)


def memory_arrays(memory: Memory, graph: Graph) -> dict[str, NDArray[np.generic]]:
    """As the bundle keeps the memory of one graph."""
    arrays: dict[str, NDArray[np.generic]] = {
        "memory": pack_cells(memory.good.T),
        "scale": memory.scale,
        "room": memory.room,
    }
    return {f"{graph.file}/{name}": array for name, array in arrays.items()}


def enough(rule: InputRule) -> InputRule:
    """What of its network's input the judge needs: of several views `whole`."""
    return msgspec.structs.replace(rule, views=("whole",)) if rule.tiles == WHOLE else rule


def worst_mean(distance: Floats, worst: int) -> float:
    """Mean of the `worst` largest distances."""
    return float(np.partition(distance, -worst)[-worst:].mean())


class NearestJudge(Scorer):
    def __init__(self, model: Model, threshold: float | None = None) -> None:
        """Raises BundleError where the bundle's arrays are missing or make no memory."""
        super().__init__(model, threshold)
        entry, rule = model.manifest.arrays, model.manifest.input
        if entry is None:
            raise BundleError(f"{model.bundle.path}: a nearest judge needs [arrays] with its memory of good cells")
        if rule.tiles == WHOLE and "whole" not in rule.views:
            raise BundleError(f"{model.bundle.path}: input.views lacks `whole`, the one that covers the frame")
        self.alone = enough(rule)
        graph = taught_on(model)
        arrays = model.bundle.read_arrays(entry, [f"{graph.file}/{name}" for name in ARRAYS])
        self.memory = _memory(arrays, graph, model.bundle.path / entry.file)
        self._priority = os.getpriority(os.PRIO_PROCESS, get_native_id())
        _call_helpers(model.threads - 1)

    def score_all(self, frames: Sequence[Frame]) -> list[tuple[float, Floats]]:
        """The mean of a frame's worst cells, and the distance of each to the nearest good one, drawn finer."""
        return [self._score(frame) for frame in frames]

    def _score(self, frame: Frame) -> tuple[float, Floats]:
        name, worst = self.model.manifest.name, self.model.manifest.scoring.worst
        cells = smooth_cells(self.model.look_again(frame, self.alone)[-1], self.model.manifest.input)
        h, w, d = cells.shape
        if d != len(self.memory.scale) or h * w < worst:
            raise ScoreError(f"the judge {name} answered with {h * w} cells of {d} numbers; its memory is of others")
        found = self.memory.distances(cells.reshape(-1, d), 1 if self._gives_way() else self.model.threads)
        fine = cv2.resize(found.reshape(h, w), (w * ENLARGED, h * ENLARGED), interpolation=cv2.INTER_LINEAR)
        return worst_mean(found, worst), np.asarray(fine, np.float32)

    def _gives_way(self) -> bool:
        """Does this thread run below the one that opened the judge, as one does that shows live frames to other
        engines? A helper would not."""
        return os.getpriority(os.PRIO_PROCESS, get_native_id()) > self._priority


def _call_helpers(count: int) -> None:
    """Start so many, unless they are there: the first wait until the last has come, so that each is another. Raises
    EngineError."""
    all_here = Event()
    try:
        with on(shared_out(count + 1)[1]):
            for _ in range(count):
                HELPERS.submit(all_here.wait)
    except RuntimeError as error:
        raise EngineError(f"no thread to compare cells with: {error}; allow more, or lower `threads`") from error
    finally:
        all_here.set()


def taught_on(model: Model) -> Graph:
    """The graph whose memory serves: of INT8 its own; others differ by rounding alone and share the first FP32's."""
    whole = [graph for graph in model.manifest.graph if graph.precision == "fp32"]
    return whole[0] if model.graph.precision != "int8" and whole else model.graph


def _memory(arrays: dict[str, NDArray[np.generic]], graph: Graph, where: Path) -> Memory:
    try:
        good, scale, room = (arrays[f"{graph.file}/{name}"] for name in ARRAYS)
        scale, room = scale.astype(np.float32), room.astype(np.float32)
    except KeyError as error:
        raise BundleError(f"{where} lacks the array {error}; teach the surface again, on this box") from error
    except ValueError as error:
        raise BundleError(f"{where}: {error}") from error
    if (
        good.ndim != 2
        or good.shape[1] > MOST
        or not len(good)
        or (room.shape, scale.shape) != (good.shape[:1], good.shape[1:])
    ):
        shapes = f"{good.shape}, {scale.shape} and {room.shape}"
        raise BundleError(f"{where}: memory is `(m, d)`, d up to {MOST}, scale `(d,)` and room `(m,)`, not {shapes}")
    if good.dtype != np.int8 or not good.any(axis=1).all():
        raise BundleError(f"{where}: memory is int8 and has no empty row")
    if not (np.isfinite(scale).all() and np.isfinite(room).all()) or room.min() <= 0:
        raise BundleError(f"{where}: not every number is finite, or a room is not positive")
    return Memory(scale, unpack_cells(good), room)  # type: ignore[arg-type]  # its dtype was looked at
