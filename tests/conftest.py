"""Where things are: the checkout, the bundles, the real images."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge
from edge.config import Line, read_line
from edge.engines.session import installed
from tests.small_line import write_small_line

# A shell that starts the tests in the background has Ctrl-C ignored, here and in every child that they send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_report_header() -> str:
    return f"edge {edge.__version__} from {Path(edge.__file__).parent}"


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def exported_models() -> Path:
    return REPOSITORY / "exported_models"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real surfaces: `data` in the folder that $EDGE_SHARED names, by default `../shared`."""
    data = Path(os.environ.get("EDGE_SHARED") or REPOSITORY.parent / "shared") / "data"
    if not (data / "split.csv").is_file():
        pytest.skip(f"no real images in {data}; $EDGE_SHARED names the folder above them")
    return data


@pytest.fixture
def vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor on which every engine's INT8 is right."""
    monkeypatch.setattr("edge.engines.session.int8_overflows", lambda: False)


@pytest.fixture
def no_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("session", "choose"):
        monkeypatch.setattr(f"edge.engines.{module}.int8_overflows", lambda: True)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def own_cache(cache_folder: Path) -> Iterator[Path]:
    """The measured choices of small bundles stay out of the user's cache, and are measured once a session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(cache_folder))
        yield cache_folder


@pytest.fixture(scope="session")
def small_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """See tests/small_line.py."""
    pytest.importorskip("onnx", reason="onnx, which writes the small graphs, is not here (extra `test`)")
    if not installed("onnx"):
        pytest.skip("ONNX Runtime is not here (extra `onnx`)")
    return read_line(write_small_line(tmp_path_factory.mktemp("line")))
