"""What one installed engine can run on, as JSON: `python -m edge.doctor.sees ENGINE` (internal).

A child process, so that an engine that crashes while it is loaded takes only its own row along.
"""

from __future__ import annotations

import json
import sys
from typing import cast, get_args

from edge.engines.session import Engine


def sees(engine: Engine) -> list[str]:
    """ONNX Runtime's providers, OpenVINO's devices; LiteRT has the CPU alone."""
    if engine == "onnx":
        import onnxruntime

        return list(onnxruntime.get_available_providers())
    if engine == "openvino":
        import openvino

        return list(openvino.Core().available_devices)
    import edge.engines.litert

    return [edge.engines.litert.LitertSession.device.upper()]


def main() -> None:
    (engine,) = sys.argv[1:]
    if engine not in get_args(Engine):
        raise SystemExit(f"no such engine: {engine}")
    print(json.dumps(sees(cast(Engine, engine))))


if __name__ == "__main__":
    main()
