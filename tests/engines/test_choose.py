"""`engine = "auto"`: real child processes measure real graphs, and what they found is kept."""

from __future__ import annotations

import os
import shutil
import sys
from itertools import product
from pathlib import Path

import msgspec
import pytest

from edge.bundle import MANIFEST, Bundle, open_bundle
from edge.config import Line
from edge.engines import choose as choosing
from edge.engines import session
from edge.engines.choose import Row, candidates, choose, graphics, measure_all
from edge.engines.session import ENGINES, Device, Engine, installed, readable
from edge.errors import BundleError, EngineError, MissingExtra
from tests.lines import edit


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(small_line: Line, tmp_path: Path) -> Bundle:
    """A copy of the small judge, an ONNX graph alone."""
    return open_bundle(Path(shutil.copytree(small_line.bundles / "smoother", tmp_path / "smoother")))


@pytest.fixture
def one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not matter how many there are, one is quicker."""
    monkeypatch.setattr(choosing, "ENGINES", ("onnx",))


def measured(bundle: Bundle) -> tuple[list[Row], list[str]]:
    """Its rows, and what was said while they were measured: nothing where they were kept."""
    said: list[str] = []
    return measure_all([bundle], 1, "cpu", said.append)[bundle.sha256], said


def shadow(package: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In child processes the package is this text instead."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))


def test_the_fastest_is_taken_and_the_measurement_kept(
    bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, said = measured(bundle)
    assert {row.engine for row in rows} == {engine for engine in ("onnx", "openvino") if installed(engine)}
    assert len(said) == len(rows) and all(row.ms is not None and row.ms > 0 for row in rows)
    engine, graph = choose(bundle, "auto", rows)
    fastest = min(rows, key=lambda row: row.ms or 0.0)
    assert (engine, graph.file) == (fastest.engine, fastest.file) == (engine, "model.onnx")
    assert choose(bundle, "onnx", rows)[0] == "onnx"
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # whoever starts a process now fails
    assert measured(bundle) == (rows, [])


def test_a_changed_bundle_other_threads_another_box_and_another_edge_measure_anew(
    bundle: Bundle, cache: Path, one_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured(bundle)[1]
    edit(bundle.path / MANIFEST, "score = 0.05", "score = 0.06")
    changed = open_bundle(bundle.path)
    assert measured(changed)[1] and not measured(changed)[1]
    said: list[str] = []
    measure_all([changed], 2, "cpu", said.append)
    assert said
    monkeypatch.setattr(os, "cpu_count", lambda: 4711)
    assert measured(changed)[1] and not measured(changed)[1]
    monkeypatch.setattr(choosing, "__version__", "4711")
    assert measured(changed)[1]


def test_a_gpu_that_comes_or_goes_has_the_choice_measured_anew(
    bundle: Bundle, cache: Path, one_engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(device: Device) -> list[str]:
        words: list[str] = []
        measure_all([bundle], 1, device, words.append)
        return words

    assert said("auto") and said("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert said("auto") and not said("auto") and not said("cpu")
    (tmp_path / "dev" / "dri").mkdir(parents=True)
    (tmp_path / "dev" / "dri" / "renderD128").touch()
    (tmp_path / "dev" / "nvidia0").touch()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert graphics(tmp_path) == ["nvidia0", "renderD128", "CUDA_VISIBLE_DEVICES="]


@pytest.mark.parametrize("data", [b"", b"[", b"[]", b"{}", b'[{"engine":"abacus","file":"a"}]', b'[{"file":"\xff"}]'])
def test_a_broken_cache_file_is_measured_anew(data: bytes, bundle: Bundle, cache: Path, one_engine: None) -> None:
    file = choosing._cache_file(bundle, 1, "cpu")
    file.parent.mkdir()
    file.write_bytes(data)
    rows, said = measured(bundle)
    assert said and rows[0].ms is not None
    assert measured(bundle) == (rows, [])


def test_a_cache_that_cannot_be_written_is_no_fault(
    bundle: Bundle, tmp_path: Path, one_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "file" / "cache"))
    assert measured(bundle)[0][0].ms is not None


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not here (extra `openvino`)")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with -9"),
        ("raise ImportError('built for another numpy')", "cannot be loaded: built for another numpy"),
        ("import os; os.write(1, b'[ INFO ] \\xff\\n[half a line\\n'); raise SystemExit('no plugin')", "no plugin"),
    ],
)
def test_an_engine_that_dies_takes_only_itself_along(
    text: str, why: str, bundle: Bundle, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow("openvino", text, tmp_path / "shadow", monkeypatch)
    rows, _ = measured(bundle)
    assert choose(bundle, "auto", rows)[0] == "onnx"
    (lost,) = [row for row in rows if row.engine == "openvino"]
    assert lost.ms is None and why in lost.why
    with pytest.raises(EngineError, match=f"'openvino'.*{why}"):
        choose(bundle, "openvino", rows)


@pytest.mark.skipif(not installed("litert"), reason="LiteRT is not here (extra `litert`)")
def test_a_second_engine_has_to_be_worth_it(bundle: Bundle) -> None:
    gate = [Row("onnx", "model.onnx", 9.0), Row("openvino", "model.onnx", 3.0)]
    near = [Row("onnx", "model.onnx", 1.0), Row("openvino", "model.onnx", 1.1)]
    far = [Row("onnx", "model.onnx", 1.0), Row("openvino", "model.onnx", 1.5)]
    common = choosing.common_engine([gate, near, far])
    assert common == "openvino"
    assert [choose(bundle, "auto", rows, common)[0] for rows in (gate, near, far)] == ["openvino", "openvino", "onnx"]
    assert choose(bundle, "auto", near)[0] == "onnx"


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not here (extra `openvino`)")
@pytest.mark.usefixtures("vnni")
def test_int8_that_is_no_faster_than_fp32_on_its_engine_is_never_used(exported_models: Path) -> None:
    bundle = open_bundle(exported_models / "segdec-commutator")
    files = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
    kinds: list[tuple[Engine, str]] = [(engine, p) for engine in ("onnx", "openvino") for p in ("int8", "fp32")]
    commons: tuple[Engine | None, ...] = (None, "onnx", "openvino")
    used = 0
    for times in product((1.0, 1.0000001, 1.2, 3.0, None), repeat=len(kinds)):
        ms = dict(zip(kinds, times, strict=True))
        rows = [Row(engine, files[precision], spent) for (engine, precision), spent in ms.items()]
        for common, wanted in product(commons, ("auto", "onnx", "openvino")):
            try:
                engine, graph = choose(bundle, wanted, rows, common)
            except EngineError:
                continue  # nothing ran
            int8, fp32 = ms[engine, "int8"], ms[engine, "fp32"]
            if graph.precision == "int8" and fp32 is not None:
                assert int8 is not None and int8 < fp32
                used += 1
    assert used


@pytest.mark.usefixtures("no_vnni")
def test_without_vnni_int8_is_run_by_litert_alone(exported_models: Path) -> None:
    graphs = open_bundle(exported_models / "segdec-commutator").manifest.graph
    read = {engine: [str(g.precision) for g in readable(engine, graphs)] for engine in ENGINES}
    assert "int8" in read["litert"]
    assert "int8" not in read["onnx"] + read["openvino"] and "fp32" in read["onnx"] and "fp32" in read["openvino"]


@pytest.mark.usefixtures("no_vnni")
def test_a_bundle_of_int8_alone_is_refused_without_vnni_with_the_reason(exported_models: Path) -> None:
    if not installed("onnx"):
        pytest.skip("ONNX Runtime is not here (extra `onnx`)")
    bundle = open_bundle(exported_models / "segdec-commutator")
    graphs = tuple(g for g in bundle.manifest.graph if g.file == "model.int8.onnx")
    alone = msgspec.structs.replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, graph=graphs))
    with pytest.raises(EngineError, match=r"model\.int8\.onnx overflows on a processor without VNNI; give it an FP32"):
        choose(alone, "onnx", [])


def test_fp16_is_measured_where_a_gpu_may_run_it_alone(bundle: Bundle) -> None:
    (fp32,) = bundle.manifest.graph
    fp16 = msgspec.structs.replace(fp32, file="model.fp16.onnx", precision="fp16")
    assert candidates([fp32, fp16], "cpu") == [fp32]
    assert candidates([fp32, fp16], "gpu") == candidates([fp32, fp16], "auto") == [fp32, fp16]


def test_an_engine_that_cannot_run_all_is_not_the_lines() -> None:
    some, other = (
        [Row("onnx", "model.onnx", 1.0)],
        [Row("onnx", "model.onnx", None, "too old"), Row("openvino", "x", 9.0)],
    )
    assert choosing.common_engine([some, other]) is None
    assert choosing.common_engine([some]) == "onnx"


def test_a_named_engine_without_a_graph_says_so(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"smoother.*'litert'.*no graph for it"):
        choose(bundle, "litert", [Row("onnx", "model.onnx", 1.0)])


@pytest.mark.parametrize("wanted", ["auto", "onnx", "openvino", "litert"])
def test_where_no_engine_is_installed_the_extra_is_named(
    wanted: str, bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "find_spec", lambda _: None)
    rows, said = measured(bundle)
    assert not rows and not said
    extra = "all" if wanted == "auto" else wanted
    with pytest.raises(MissingExtra, match=rf'engine = "{wanted}".*\.\[{extra}\]'):
        choose(bundle, wanted, rows)


def test_an_altered_graph_is_told_before_anything_is_measured(bundle: Bundle, cache: Path) -> None:
    with (bundle.path / "model.onnx").open("ab") as graph:
        graph.write(b"\0")
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        measured(bundle)
