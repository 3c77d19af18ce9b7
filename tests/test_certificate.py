"""A certificate says what was signed, and each line of defence stops what it is there for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.bundle import open_bundle
from edge.certificate import (
    FORMAT_VERSION,
    Certificate,
    CertifiedBundle,
    Defence,
    Host,
    RanGraph,
    Subject,
    Target,
    examine,
    failed,
    read_certificate,
    settings_sha256,
    sign,
    this_host,
    to_json,
)
from edge.config import Line, LineConfig, RegionConfig, read_line
from edge.errors import DataError
from tests.lines import edit, write_line

pytest.importorskip("cryptography", reason="cryptography is not here (extra `certify`)")
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TRUSTED = KEY.public_key().public_bytes_raw()
HOST = Host("ab" * 32, "a processor", True, 4, 8000, "6.1", {"edge": "0.1.0", "onnxruntime": "1.31.1"})
GRAPH = RanGraph({"model.onnx": "cd" * 32, "model.bin": "ef" * 32}, "onnx", "cpu", "fp32")
TARGET = Target("frame", 15.0, 0.99, 0.99, 700, 662, 8.25, 9.5, "PASS")
UNSIGNED = Certificate(
    format=FORMAT_VERSION,
    date="2026-11-22T12:00:00+00:00",
    subject="line.toml",
    kind="line",
    settings_sha256="12" * 32,
    scenario="single stream",
    threads=2,
    device="auto",
    frames="2 golden",
    timed={"gate": 700, "frame": 700},
    host=HOST,
    bundles=[CertifiedBundle("smoother", "34" * 32, [GRAPH])],
    targets=[TARGET, replace(TARGET, stage="judge dark", upper_ms=None, estimate_ms=None)],
    answer="PASS",
    public_key="",
    signature="",
)
GOOD = sign(UNSIGNED, KEY)


def stopped_by(certificate: Certificate, subject: Subject | None = None, here: Host = HOST) -> list[str]:
    return [row.line for row in failed(examine(certificate, TRUSTED, here, subject))]


def found(rows: list[Defence], line: str) -> str:
    (row,) = [row for row in rows if row.line == line]
    return row.found


def test_what_was_signed_holds_after_it_was_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(to_json(GOOD))
    assert read_certificate(path) == GOOD
    assert not stopped_by(read_certificate(path))


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, dict | list):
        for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def other(value: Any) -> list[Any]:
    """Values near this one that a forger may want."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, -value, value * 1.0001]
    if value is None:
        return [1.0, "ab"]
    return [
        f"{value}0",
        value[:-1],
        value.upper() if value.upper() != value else "",
        "PASS" if value != "PASS" else "FAIL",
    ]


TREE: dict[str, Any] = msgspec.to_builtins(GOOD)


@pytest.mark.parametrize("path", list(leaves(TREE)), ids=lambda path: ".".join(map(str, path)))
def test_a_change_of_any_field_breaks_the_signature_or_the_form(path: tuple[Any, ...]) -> None:
    for value in other(at(TREE, path)):
        tree = deepcopy(TREE)
        at(tree, path[:-1])[path[-1]] = value
        try:
            altered = msgspec.convert(tree, Certificate)
        except msgspec.ValidationError:
            continue
        assert "signature" in stopped_by(altered)


@pytest.mark.parametrize("path", sorted({p[:end] for p in leaves(TREE) for end in (-1, None)}, key=str))
def test_a_field_that_is_lost_or_added_breaks_it_too(path: tuple[Any, ...]) -> None:
    tree = deepcopy(TREE)
    inner = at(tree, path)
    if isinstance(inner, dict):
        inner["more"] = 1
    elif isinstance(inner, list):
        inner.append(inner[0])
    else:
        del at(tree, path[:-1])[path[-1]]
    try:
        altered = msgspec.convert(tree, Certificate)
    except msgspec.ValidationError:
        return
    assert "signature" in stopped_by(altered)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.integers(0, len(to_json(GOOD)) - 1), st.binary(max_size=3), st.integers(0, 9))
def test_no_change_of_the_file_makes_it_say_something_else(tmp_path: Path, start: int, put: bytes, cut: int) -> None:
    data, path = to_json(GOOD).encode(), tmp_path / "certificate.json"
    path.write_bytes(data[:start] + put + data[start + cut :])
    try:
        read = read_certificate(path)
    except DataError:
        return
    assert read == GOOD or "signature" in stopped_by(read)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 9000, b'{"format": 2}'])
def test_what_is_no_certificate_is_named(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"certificate\.json"):
        read_certificate(path)
    with pytest.raises(DataError, match="cannot read"):
        read_certificate(tmp_path)


def test_another_key_and_no_key_are_not_trusted() -> None:
    forged = sign(UNSIGNED, Ed25519PrivateKey.from_private_bytes(bytes(31) + b"1"))
    assert stopped_by(forged) == ["key"]
    assert [row.line for row in failed(examine(GOOD, None, HOST, None))] == ["key"]


@pytest.mark.parametrize(
    "change",
    [{"machine": "cd" * 32}, {"cpu": "another"}, {"vnni": False}, {"logical_cores": 8}, {"memory_mib": 16000}],
    ids=lambda change: next(iter(change)),
)
def test_another_box_is_another_box(change: dict[str, Any]) -> None:
    here = replace(HOST, **change)
    rows = examine(GOOD, TRUSTED, here, None)
    assert [row.line for row in failed(rows)] == ["host"]
    assert next(iter(change)) in found(rows, "host")


def test_other_versions_are_told_and_another_kernel_is_only_a_note() -> None:
    newer = replace(HOST, versions={"edge": "0.1.0", "onnxruntime": "2.0", "openvino": "2026.4"})
    rows = examine(GOOD, TRUSTED, newer, None)
    assert [row.line for row in failed(rows)] == ["software"]
    assert "onnxruntime 1.31.1 there, 2.0 here; openvino none there" in found(rows, "software")
    patched = examine(GOOD, TRUSTED, replace(HOST, kernel="6.2", memory_mib=8100), None)
    assert not failed(patched) and "6.2" in found(patched, "software")


@pytest.mark.parametrize("answer", ["FAIL", "INSUFFICIENT"])
def test_only_a_pass_passes(answer: Any) -> None:
    target = replace(TARGET, answer=answer, samples=10, upper_ms=None)
    certificate = sign(replace(UNSIGNED, answer=answer, targets=[target]), KEY)
    assert stopped_by(certificate) == ["verdict"]
    told = found(examine(certificate, TRUSTED, HOST, None), "verdict")
    assert told.startswith(f"{answer}: ") and "15 ms" in told and ("662 may" in told) == (answer == "INSUFFICIENT")


def test_another_format_is_not_believed() -> None:
    assert stopped_by(sign(replace(UNSIGNED, format=2), KEY)) == ["format"]


def covering(line: Line, *names: str) -> Certificate:
    """A certificate of these bundles as they lie there."""
    bundles = []
    for name in names:
        bundle = open_bundle(line.bundles / name)
        (graph,) = bundle.manifest.graph
        ran = RanGraph({graph.file: graph.sha256}, "onnx", "cpu", "fp32")
        bundles.append(CertifiedBundle(name, bundle.sha256, [ran]))
    return sign(replace(UNSIGNED, bundles=bundles, settings_sha256=settings_sha256(line.config)), KEY)


def test_bundles_are_covered_by_their_bytes(small_line: Line, tmp_path: Path) -> None:
    for name in ("gate", "smoother"):
        (tmp_path / name).mkdir()
        for file in (small_line.bundles / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    line = read_line(write_line(tmp_path, "."))
    both = covering(line, "gate", "smoother")

    def subject() -> Subject:
        bundles = [open_bundle(tmp_path / name) for name in ("gate", "smoother")]
        return Subject(bundles, settings_sha256(line.config))

    assert not stopped_by(both, subject())
    assert stopped_by(covering(line, "smoother"), subject()) == ["bundles"]
    with (tmp_path / "smoother" / "model.onnx").open("ab") as graph:
        graph.write(b"\0")
    assert stopped_by(both, subject()) == ["bundles"]
    assert "altered" in found(examine(both, TRUSTED, HOST, subject()), "bundles")
    edit(tmp_path / "gate" / "manifest.toml", "by hand", "by foot")
    assert str(tmp_path / "gate") in found(examine(both, TRUSTED, HOST, subject()), "bundles")


Change = Callable[[LineConfig], LineConfig]


def judged(**changes: Any) -> Change:
    return lambda config: replace(config, judges={"dark": replace(config.judges["dark"], **changes)})


SLOWER: dict[str, Change] = {
    "threads": lambda config: replace(config, threads=8),
    "engine": lambda config: replace(config, engine="litert"),
    "device": lambda config: replace(config, device="gpu"),
    "gate": lambda config: replace(config, gate=None),
    "bundle": judged(bundle="brittle"),
    "mode": judged(mode="dense"),
    "kinds": judged(kinds="kinds"),
    "regions": judged(regions={"left": RegionConfig(((0, 0, 8, 8),))}),
}
SAME: dict[str, Change] = {
    "line": lambda config: replace(config, line="other"),
    "frames": lambda config: replace(config, frames="ipc:///elsewhere"),
    "certificate": lambda config: replace(config, certificate="there.json"),
    "threshold": judged(threshold=0.25),
    "awake": lambda config: replace(config, awake=True),
}


@pytest.mark.parametrize("name", SLOWER.keys() | SAME.keys())
def test_a_line_is_another_where_its_latency_may_be(name: str, small_line: Line) -> None:
    config = small_line.config
    changed = (SLOWER | SAME)[name](config)
    certificate = sign(replace(UNSIGNED, settings_sha256=settings_sha256(config)), KEY)
    rows = examine(certificate, TRUSTED, HOST, Subject([], settings_sha256(changed)))
    assert [row.line for row in failed(rows)] == (["settings"] if name in SLOWER else [])


def test_a_bundles_certificate_is_not_the_lines() -> None:
    alone = sign(replace(UNSIGNED, kind="segdec", settings_sha256=None), KEY)
    assert stopped_by(alone, Subject([], "12" * 32)) == ["settings"]


def test_this_box_is_itself_and_shows_its_machine_id_to_nobody(tmp_path: Path) -> None:
    assert this_host() == this_host() and this_host().logical_cores > 0 and "edge" in this_host().versions
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal:       8192000 kB\nMemFree: 1 kB\n")
    (tmp_path / "proc/cpuinfo").write_text("model name : Ryzen\nflags : avx2 avx_vnni\n")
    host = this_host(tmp_path)
    assert (host.cpu, host.vnni, host.memory_mib) == ("Ryzen", True, 8000)
    assert len(host.machine) == 64 and "0123456789abcdef" not in host.machine
    bare = this_host(tmp_path / "nowhere")
    assert (bare.machine, bare.vnni, bare.memory_mib) == ("", False, 0)
    rows = examine(sign(replace(UNSIGNED, host=bare), KEY), TRUSTED, bare, None)
    assert not failed(rows) and "machine-id" in found(rows, "host")
