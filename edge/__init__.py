"""Inspection beside the line: a gate that knows its surfaces, a judge for each, one verdict for every frame."""

import os
import sys

# Engines send usage figures to their makers unless told not to before they are loaded; a line PC calls nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime since 1.31, also on Linux
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # none: no such module

__version__ = "0.1.0"
