"""Graphics: the cards, their drivers and device files, and which engine sees them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.doctor.diagnosis import Diagnosis
from edge.doctor.files import table, text
from edge.engines.session import Engine

VENDORS = {"0x10de": "NVIDIA", "0x8086": "Intel"}
DISPLAY = "0x03"  # the PCI class of everything that draws, and of NVIDIA's cards that only compute
SERVICE = "under systemd the unit hides devices (PrivateDevices=yes, DevicePolicy=closed): allow them in a drop-in"


def cards(root: Path) -> list[str]:
    """The makers of the box's graphics cards that engines can run on, by PCI, and NVIDIA's models where known."""
    found = []
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor = VENDORS.get(text(folder / "vendor") or "")
        if vendor and (text(folder / "class") or "").startswith(DISPLAY):
            found.append(vendor)
    models = [table(path).get("Model") for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))]
    named = [model for model in models if model]
    return [card for card in found if card != "NVIDIA"] + named if named else found


def gpu(root: Path, seen: Mapping[Engine, Sequence[str]], device: str) -> list[Diagnosis]:
    """Cards, device files and engines beside one another. seen: what each engine that could be loaded says it can run
    on. device: the line's."""
    found = cards(root)
    engines = [f"{engine} sees {name}" for engine, names in seen.items() for name in names if runs_on_gpu(name)]
    if not found and not nvidia_files(root):
        if device == "gpu":
            return [Diagnosis("gpu", "problem", "none", 'the line says device = "gpu"; set "auto" or "cpu"')]
        return [Diagnosis("gpu", "ok", "none: all graphs run on the CPU")]
    driver = (text(root / "proc/driver/nvidia/version") or "").partition("\n")[0]
    facts = "; ".join(filter(None, [", ".join(found) or "a card", driver, *engines]))
    rows = [_reached(facts, found, engines, device)]
    files = [*nvidia_files(root), *sorted((root / "dev/dri").glob("renderD*"))]
    closed = [f"/{path.relative_to(root)}" for path in files if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        advice = "add the user to the groups render and video, or to that of the file"
        rows.append(Diagnosis("gpu files", "warning", f"not readable and writable: {', '.join(closed)}", advice))
    elif not files:
        rows.append(Diagnosis("gpu files", "warning", "no /dev/nvidia0 and no /dev/dri", f"load the driver; {SERVICE}"))
    else:
        rows.append(Diagnosis("gpu files", "ok", ", ".join(f"/{path.relative_to(root)}" for path in files)))
    return rows


def nvidia_files(root: Path) -> list[Path]:
    return sorted((root / "dev").glob("nvidia[0-9]*"))


def runs_on_gpu(name: str) -> bool:
    """Whether an ONNX Runtime provider or an OpenVINO device is a GPU."""
    return name.startswith(("CUDA", "Tensorrt", "GPU"))


def _reached(facts: str, found: list[str], engines: list[str], device: str) -> Diagnosis:
    if engines:
        return Diagnosis("gpu", "ok", facts, "edge verify --warm builds its kernels before the first part")
    intel = "Intel" in found
    extra = "Intel's OpenCL driver (intel-opencl-icd) and the extra `openvino`" if intel else "the extra `gpu`"
    advice = f"no installed engine sees it; install {extra} to use it"
    return Diagnosis("gpu", "problem" if device == "gpu" else "note", facts, advice)
