"""Where an engine keeps what it built for a GPU: one folder for each graph, engine version, driver and card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from edge.engines.choose import cache_folder

# Packages whose versions an engine's kernels belong to, by how their names begin.
GPU_PACKAGES = ("onnxruntime", "openvino", "tensorrt")
DRIVER = "proc/driver/nvidia/version"
CARDS = "proc/driver/nvidia/gpus"


def gpu_cache(graph: bytes, engine: str, options: str = "", root: Path = Path("/")) -> Path | None:
    """The folder for one graph's built kernels, made where needed, only its owner's; None where it cannot be written.

    options: whatever else the engine was told that changes what it builds. An engine of another version, another
    driver or card gets another folder: ONNX Runtime's documentation asks for that, what TensorRT built is not portable.
    """
    key = [hashlib.sha256(graph).hexdigest(), engine, options, *_versions(GPU_PACKAGES), *_driver(root)]
    folder = cache_folder() / "gpu" / hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None  # a read-only box builds again at each start
    return folder


def _versions(beginnings: Sequence[str]) -> list[str]:
    found = {f"{d.metadata['Name']} {d.version}" for d in distributions()}
    return sorted(name for name in found if name.lower().startswith(tuple(beginnings)))


def _driver(root: Path) -> list[str]:
    """NVIDIA's driver and cards as /proc names them; nothing where there are none."""
    files = [root / DRIVER, *sorted((root / CARDS).glob("*/information"))]
    return [path.read_text(errors="replace") for path in files if path.is_file()]
