"""Signed bundles: a thousand ways to tamper with one, each of them refused while the one that is open goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge.bundle import MANIFEST, open_bundle, sign_bundle
from edge.bundle_signature import SIGNATURE, fingerprint
from edge.config import Line, read_line
from edge.errors import BundleError, ConfigError
from edge.inspection.assemble import line_bundles
from edge.signing import box_key, public_bytes, public_path
from tests.lines import called, edit

pytest.importorskip("cryptography", reason="cryptography is not here (extra `certify`)")

from tests.tampered import demanding_line, make_shop, quiet, tamper, trusted  # it needs cryptography


@pytest.fixture
def shop(small_line: Line, tmp_path: Path) -> Path:
    return make_shop(small_line.bundles, tmp_path)


def test_a_thousand_tampered_bundles_are_refused_while_the_old_one_serves(shop: Path) -> None:
    assert tamper(shop, 1000) == 1000


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
