"""Signed bundles, and a thousand ways to tamper with one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import MANIFEST, Bundle, open_bundle, sign_bundle
from edge.bundle_signature import SIGNATURE, Trusted, read_trusted
from edge.config import read_line
from edge.engines.session import open_graph
from edge.errors import BundleError
from edge.inspection.assemble import open_pipeline
from edge.records import Evaluation, Frame
from edge.signing import box_key, public_path
from tests.lines import edit
from tests.secured import SECURITY, secure_line

GOOD = Frame(np.full((64, 64), 51, np.uint8), 255)


def quiet(_: str) -> None:
    pass


def make_shop(models: Path, folder: Path) -> Path:
    """Bundles of their own, each signed with release.key. Returns the folder."""
    shutil.copytree(models, folder / "models")
    key = box_key(folder / "release.key", quiet)
    for name in ("gate", "smoother", "brittle"):
        sign_bundle(folder / "models" / name, key)
    return folder


def trusted(shop: Path) -> Trusted:
    return read_trusted([public_path(shop / "release.key")])


def demanding_line(shop: Path) -> Path:
    path = secure_line(shop, "models")
    return edit(path, SECURITY, f'{SECURITY}bundle_keys = ["release.key.pub"]\n')


def opened_whole(folder: Path, keys: Trusted) -> Bundle:
    """As the daemon does: the manifest, then every file that it names, the graph by its engine."""
    bundle = open_bundle(folder, keys)
    for entry in bundle.files:
        bundle.read(entry)
    open_graph("onnx", bundle, bundle.manifest.graph[0], 1, "cpu").close()
    return bundle


def flip(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def grow(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.randbytes(draw.randint(1, 9)) + data[at:]


def swap(data: bytes, draw: random.Random) -> bytes:
    first, second = sorted(draw.sample(range(1, len(data)), 2))
    return data[second:] + data[first:second] + data[:first]


def escape(data: bytes, draw: random.Random) -> bytes:
    path = draw.choice([b"../gate/model.onnx", b"/etc/passwd", b"..", b"../smoother/model.onnx", b"a/../../b"])
    return data.replace(draw.choice([b"model.onnx", b"golden.npz"]), path)


WAYS: list[tuple[str, Callable[[bytes, random.Random], bytes]]] = [
    *((name, way) for name in (MANIFEST, SIGNATURE, "model.onnx", "golden.npz") for way in (flip, cut, grow, swap)),
    (MANIFEST, escape),
]


def tamper(shop: Path, times: int) -> int:
    """Each is refused, while the pipeline that was opened before goes on. Returns how many were."""
    folder, keys, draw = shop / "models" / "smoother", trusted(shop), random.Random(20261123)
    pipeline = open_pipeline(read_line(demanding_line(shop)))
    for number in range(times):
        name, way = WAYS[number % len(WAYS)]
        path = folder / name
        before = path.read_bytes()
        after = way(before, draw)
        if after in (before, before.removesuffix(b"\n")):
            after = before[:-2]  # the same once more, or only the line's end is gone, which changes nothing
        path.write_bytes(after)
        with pytest.raises(BundleError):
            opened_whole(folder, keys)
        path.write_bytes(before)
        if number % 100 == 0:
            assert pipeline.inspect(GOOD).evaluation == Evaluation.OK
    assert opened_whole(folder, keys).manifest.name == "smoother"
    pipeline.close()
    return times
