"""OpenVINO's own format, the same bytes for the same network."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

COUNTED = re.compile(r"([A-Z][A-Za-z]*)_\d+")


def written(model: Any, half: bool) -> tuple[bytes, bytes]:
    """The XML and its weights. model: ov.Model. half: weights in FP16."""
    import openvino as ov

    # Names that OpenVINO makes up count on through a whole process: here through the network.
    for place, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(COUNTED.sub(rf"\1_{place}", operation.get_friendly_name(), count=1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, path, compress_to_fp16=half)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
