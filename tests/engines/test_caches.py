"""What an engine builds for a GPU is kept, and never read by another engine, driver, card or graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle, open_bundle
from edge.engines.caches import DRIVER, gpu_cache
from edge.engines.session import installed
from edge.errors import EngineError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(exported_models: Path) -> Bundle:
    return open_bundle(exported_models / "segdec-commutator")


def driver(root: Path, version: str) -> Path:
    (root / DRIVER).parent.mkdir(parents=True, exist_ok=True)
    (root / DRIVER).write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}\n")
    return root


def test_the_same_graph_finds_its_folder_again_and_it_is_its_owners_alone(cache: Path) -> None:
    folder = gpu_cache(b"graph", "openvino")
    assert folder is not None and folder == gpu_cache(b"graph", "openvino")
    assert folder.is_relative_to(cache) and folder.stat().st_mode & 0o077 == 0


def test_another_graph_option_engine_driver_or_version_has_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [
        gpu_cache(b"graph", "openvino"),
        gpu_cache(b"other", "openvino"),
        gpu_cache(b"graph", "tensorrt"),
        gpu_cache(b"graph", "openvino", "int8"),
        gpu_cache(b"graph", "openvino", root=driver(tmp_path, "550.54")),
        gpu_cache(b"graph", "openvino", root=driver(tmp_path, "570.10")),
    ]
    for version in ("10.0", "10.1"):
        installed = tmp_path / version / f"tensorrt_cu12-{version}.dist-info"
        installed.mkdir(parents=True)
        (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tensorrt-cu12\nVersion: {version}\n")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / version)
            folders.append(gpu_cache(b"graph", "openvino"))
    assert len(set(folders)) == len(folders) and None not in folders


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "file" / "cache"))
    assert gpu_cache(b"graph", "openvino") is None


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_tensorrt_is_told_where_to_keep_its_engines_and_which_graph_is_int8(bundle: Bundle, cache: Path) -> None:
    from edge.engines.onnx import provider_options

    graphs = {graph.file: bundle.read(graph) for graph in bundle.manifest.graph}
    fp32, int8 = (provider_options("TensorrtExecutionProvider", graphs[f"model{k}.onnx"]) for k in ("", ".int8"))
    assert (fp32["trt_int8_enable"], int8["trt_int8_enable"]) == (False, True)
    for told in (fp32, int8):
        assert told["trt_engine_cache_enable"] is told["trt_timing_cache_enable"] is True
        assert Path(str(told["trt_engine_cache_path"])).is_relative_to(cache)
    assert fp32["trt_engine_cache_path"] != int8["trt_engine_cache_path"]
    assert provider_options("CUDAExecutionProvider", graphs["model.onnx"]) == {}


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not here (extra `openvino`)")
def test_openvino_keeps_what_it_compiled_where_it_is_told(bundle: Bundle, cache: Path) -> None:
    import openvino

    from edge.engines.openvino import settings

    data = next(bundle.read(graph) for graph in bundle.manifest.graph if graph.file == "model.onnx")
    told = settings("GPU", data, 2)
    assert "CACHE_DIR" not in settings("CPU", data, 2)
    core = openvino.Core()
    core.compile_model(core.read_model(data), "CPU", told)
    assert any(Path(str(told["CACHE_DIR"])).iterdir())


@pytest.mark.skipif(not installed("onnx"), reason="ONNX Runtime is not here (extra `onnx`)")
def test_a_provider_that_cannot_open_the_graph_gives_way_to_the_next_without_a_word(
    bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime's own fallback prints on stdout, where a command's JSON is."""
    import onnxruntime

    from edge.engines.onnx import CPU, FAULTS, _open_first

    data = bundle.read(bundle.manifest.graph[0])
    refused: Any = ("CPUExecutionProvider", "no options")
    with pytest.raises(FAULTS):
        onnxruntime.InferenceSession(data, providers=[refused], enable_fallback=0)
    session = _open_first(data, onnxruntime.SessionOptions(), [refused, CPU])
    assert session.get_providers() == ["CPUExecutionProvider"] and not session._enable_fallback
    assert not capfd.readouterr().out
    with pytest.raises(EngineError, match="cannot open the graph"):
        _open_first(data, onnxruntime.SessionOptions(), [refused])
