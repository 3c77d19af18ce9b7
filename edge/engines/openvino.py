"""OpenVINO: the CPU plugin, or Intel's graphics where there are any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov

from edge.engines.session import Device, Engine, Floats, in_pieces
from edge.errors import EngineError

# Images at a time on a CPU. A DRAE patch takes 4.6 ms in a graph of open batch, 3.5 in one of batch 1, 2.9 by fours and
# 2.7 by twenties, which need five times the memory; the CAE's 1.00, 0.95, 0.84 and 0.84 (FP32).
GROUP = 4


class OpenvinoSession:
    """On a CPU a graph of open batch is compiled with a batch of 1, and with one of GROUP once it gets so many."""

    engine: Engine = "openvino"

    def __init__(self, compile_for: Callable[[int], ov.CompiledModel], group: int) -> None:
        self._compile_for, self._group = compile_for, group
        self._requests: dict[int, ov.InferRequest] = {}
        ran_on = self._request(1).get_compiled_model().get_property("EXECUTION_DEVICES")
        self.device = "gpu" if any(str(d).startswith("GPU") for d in ran_on) else "cpu"

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        return self._run(batch) if self.device == "gpu" else in_pieces(self._run, batch, self._group)

    def _run(self, batch: Floats) -> tuple[Floats, ...]:
        try:
            results = self._request(len(batch)).infer([batch], share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed while running: {error}") from error
        return tuple(np.asarray(results[number]) for number in range(len(results)))

    def _request(self, count: int) -> ov.InferRequest:
        size = count if self._group > 1 else 1
        if size not in self._requests:
            self._requests[size] = self._compile_for(size).create_infer_request()
        return self._requests[size]

    def close(self) -> None:
        del self._requests, self._compile_for


def open_graph(graph: bytes, threads: int, device: Device) -> OpenvinoSession:
    core = ov.Core()
    has_gpu = any(name.startswith("GPU") for name in core.available_devices)
    if device == "gpu" and not has_gpu:
        raise EngineError('no GPU for OpenVINO on this box; set device = "cpu" or "auto"')
    where = "GPU" if has_gpu and device != "cpu" else "CPU"
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if where == "CPU":
        # By itself OpenVINO takes bfloat16 where the processor has it: then "fp32" would not be true.
        settings |= {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    groups = where == "CPU" and core.read_model(graph).input().partial_shape[0].is_dynamic

    def compile_for(count: int) -> ov.CompiledModel:
        model = core.read_model(graph)
        if groups:
            model.reshape(ov.PartialShape([count, *list(model.input().partial_shape)[1:]]))
        return core.compile_model(model, where, settings)

    return OpenvinoSession(compile_for, GROUP if groups else 1)
