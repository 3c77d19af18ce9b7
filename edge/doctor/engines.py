"""Which packages are installed, what their engines can run on, and which packages stand in each other's way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions

import msgspec

from edge.doctor.diagnosis import Diagnosis, State
from edge.engines.choose import DISTRIBUTIONS
from edge.engines.session import ENGINES, PACKAGES, Engine, installed

TIMEOUT_S = 60
# Packages that install the same files: the last one in wins, and whichever leaves takes the files along.
RUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-training",
    "onnxruntime-qnn",
)
PICTURES = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def packages(paths: Sequence[str] | None = None) -> dict[str, str]:
    """Version of each installed package by its name, lower case with dashes. paths: where to look, sys.path if None."""
    found = distributions() if paths is None else distributions(path=list(paths))
    named = {str(each.metadata["Name"] or ""): each.version for each in found}
    return {name.lower().replace("_", "-"): version for name, version in named.items()}


def ask_engines() -> dict[Engine, list[str] | str]:
    """What each installed engine says it can run on, or as a sentence why it could not be loaded."""
    return {engine: _ask(engine) for engine in ENGINES if installed(engine)}


def _ask(engine: Engine) -> list[str] | str:
    command = [sys.executable, "-m", "edge.doctor.sees", engine]
    try:
        child = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    try:
        return msgspec.json.decode(child.stdout.strip().rpartition("\n")[2], type=list[str])
    except msgspec.DecodeError:
        return (child.stderr.strip().splitlines() or [f"it ended with {child.returncode}"])[-1]


def engines(versions: Mapping[str, str], answers: Mapping[Engine, list[str] | str], wanted: str) -> list[Diagnosis]:
    """A row for each engine. wanted: the line's `engine`."""
    rows = []
    for engine in ENGINES:
        names = [name for name in DISTRIBUTIONS if name.replace("-", "_").startswith(PACKAGES[engine])]
        had = [f"{name} {versions[name]}" for name in names if name in versions]
        rows.append(_engine(engine, ", ".join(had), answers.get(engine), wanted))
    if not any(isinstance(answer, list) for answer in answers.values()):
        rows.append(Diagnosis("engines", "problem", "none can be loaded", "pip install '.[all]' in edge's checkout"))
    if "tflite-runtime" in versions and "ai-edge-litert" not in versions:
        found = f"tflite-runtime {versions['tflite-runtime']}: frozen, and slower than its successor"
        rows.append(Diagnosis("tflite-runtime", "note", found, "pip install '.[litert]' in edge's checkout"))
    return rows


def _engine(engine: Engine, had: str, answer: list[str] | str | None, wanted: str) -> Diagnosis:
    mend: State = "problem" if wanted == engine else "warning"
    if isinstance(answer, list):
        return Diagnosis(engine, "ok", f"{had or 'version unknown'}; runs on {', '.join(answer)}")
    if answer is not None:
        return Diagnosis(engine, mend, f"{had} cannot be loaded: {answer}", "install it anew, or uninstall it")
    state: State = mend if wanted == engine else "note"
    return Diagnosis(engine, state, "not installed", f"pip install '.[{engine}]' in edge's checkout, if it is wanted")


def conflicts(versions: Mapping[str, str]) -> list[Diagnosis]:
    """Packages that overwrite each other."""
    runtimes = [name for name in RUNTIMES if name in versions]
    pictures = [name for name in PICTURES if name in versions]
    rows = []
    if len(runtimes) > 1:
        kept = "gpu" if "onnxruntime-gpu" in runtimes else "onnx"
        advice = f"pip uninstall -y {' '.join(runtimes)}, then pip install '.[{kept}]' in edge's checkout"
        found = f"{' beside '.join(runtimes)}: they install the same files, and CUDA may be gone without a word"
        rows.append(Diagnosis("conflicts", "problem", found, advice))
    if len(pictures) > 1:
        advice = f"pip uninstall -y {' '.join(pictures)}, then pip install opencv-python-headless"
        rows.append(Diagnosis("conflicts", "warning", f"{' beside '.join(pictures)}: the same files", advice))
    return rows or [Diagnosis("conflicts", "ok", "no two packages install the same files")]
