"""Signed bundles: a thousand ways to tamper with one, each of them refused while the one that is open goes on."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import MANIFEST, Bundle, open_bundle, sign_bundle
from edge.bundle_signature import SIGNATURE, Trusted, fingerprint, read_trusted
from edge.config import Line, read_line
from edge.engines.session import open_graph
from edge.errors import BundleError, ConfigError
from edge.inspection.assemble import line_bundles, open_pipeline
from edge.records import Evaluation, Frame
from edge.signing import box_key, public_bytes, public_path
from tests.lines import called, edit
from tests.secured import SECURITY, secure_line

pytest.importorskip("cryptography", reason="cryptography is not here (extra `certify`)")

GOOD = Frame(np.full((64, 64), 51, np.uint8), 255)


def quiet(_: str) -> None:
    pass


@pytest.fixture
def shop(small_line: Line, tmp_path: Path) -> Path:
    """Bundles of their own, each signed with release.key."""
    shutil.copytree(small_line.bundles, tmp_path / "models")
    key = box_key(tmp_path / "release.key", quiet)
    for name in ("gate", "smoother", "brittle"):
        sign_bundle(tmp_path / "models" / name, key)
    return tmp_path


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


def test_a_thousand_tampered_bundles_are_refused_while_the_old_one_serves(shop: Path) -> None:
    folder, keys, draw = shop / "models" / "smoother", trusted(shop), random.Random(20261123)
    pipeline = open_pipeline(read_line(demanding_line(shop)))
    refused = 0
    for number in range(1000):
        name, way = WAYS[number % len(WAYS)]
        path = folder / name
        before = path.read_bytes()
        after = way(before, draw)
        if after in (before, before.removesuffix(b"\n")):
            after = before[:-2]  # the same once more, or only the line's end is gone, which changes nothing
        path.write_bytes(after)
        with pytest.raises(BundleError):
            opened_whole(folder, keys)
        refused += 1
        path.write_bytes(before)
        if number % 100 == 0:
            assert pipeline.inspect(GOOD).evaluation == Evaluation.OK
    assert refused == 1000 and opened_whole(folder, keys).manifest.name == "smoother"
    pipeline.close()


def test_a_signature_does_not_change_the_bundles_digest(small_line: Line, shop: Path) -> None:
    unsigned, signed = open_bundle(small_line.bundles / "gate"), open_bundle(shop / "models" / "gate", trusted(shop))
    assert unsigned.sha256 == signed.sha256 and (shop / "models" / "gate" / SIGNATURE).stat().st_size < 512


def test_an_unsigned_bundle_and_an_unknown_key_are_named_with_what_to_do(shop: Path) -> None:
    folder = shop / "models" / "gate"
    other = box_key(shop / "other.key", quiet)
    who = sign_bundle(folder, other)
    assert who == fingerprint(public_bytes(other))
    with pytest.raises(BundleError, match=f"{who[:16]}.*bundle_keys"):
        open_bundle(folder, trusted(shop))
    (folder / SIGNATURE).unlink()
    with pytest.raises(BundleError, match=r"not signed.*edge sign"):
        open_bundle(folder, trusted(shop))
    assert open_bundle(folder).manifest.name == "gate"


def test_a_signed_bundle_in_another_ones_folder_is_refused(shop: Path) -> None:
    shutil.rmtree(shop / "models" / "smoother")
    shutil.copytree(shop / "models" / "brittle", shop / "models" / "smoother")
    with pytest.raises(BundleError, match="signed under that name"):
        line_bundles(read_line(demanding_line(shop)))


def test_a_manifest_that_was_changed_after_signing_is_refused_before_it_is_parsed(shop: Path) -> None:
    (shop / "models" / "gate" / MANIFEST).write_bytes(b"a = " + b"[" * 9000)
    with pytest.raises(BundleError, match=r"not what the key \w{16} signed"):
        open_bundle(shop / "models" / "gate", trusted(shop))


def test_a_key_that_is_none_is_a_wrong_config(shop: Path) -> None:
    line = read_line(demanding_line(shop))
    public_path(shop / "release.key").write_text("no key")
    with pytest.raises(ConfigError, match=r"security\.bundle_keys.*release\.key\.pub"):
        line_bundles(line)


def test_a_damaged_bundle_is_not_signed(shop: Path) -> None:
    folder = shop / "models" / "gate"
    (folder / "model.onnx").write_bytes(b"other")
    code, _, said = called("sign", folder, "--key", shop / "release.key")
    assert code == 11 and "model.onnx" in said


def test_edge_sign_makes_the_key_and_the_line_opens_what_it_signed(shop: Path) -> None:
    config = edit(demanding_line(shop), "release.key.pub", "new.key.pub")
    bundles = [shop / "models" / name for name in ("gate", "smoother")]
    code, out, said = called("sign", *bundles, "--key", shop / "new.key")
    assert code == 0 and "made" in said and out.count("signed by the key") == 2
    assert set(line_bundles(read_line(config))) == {"gate", "smoother"}
