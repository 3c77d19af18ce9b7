"""OpenVINO: the CPU plugin, or Intel's graphics where there are any."""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import openvino as ov

from edge.engines.caches import gpu_cache
from edge.engines.session import Device, Engine, Floats, in_turns
from edge.errors import EngineError

ANY = 0  # images at once: as many as there are


class OpenvinoSession:
    engine: Engine = "openvino"

    def __init__(self, compiled: ov.CompiledModel, at_once: int) -> None:
        self._request = compiled.create_infer_request()
        self._given: Floats | None = None  # what the input tensor shares its memory with
        self._at_once = at_once
        ran_on = compiled.get_property("EXECUTION_DEVICES")
        self.device = "gpu" if any(str(d).startswith("GPU") for d in ran_on) else "cpu"
        self.any_batch = at_once == ANY
        self._answer = _own_outputs(self._request, compiled) if self.device == "cpu" else ()

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        return self._run(batch) if self.any_batch else in_turns(self._run, batch, self._at_once)

    def _run(self, batch: Floats) -> tuple[Floats, ...]:
        try:
            if batch is not self._given:
                self._give(batch)
            # infer() makes a dictionary of what it found: a tenth of a millisecond on caches as a graph leaves them.
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed while running: {error}") from error
        return self._answer or tuple(tensor.data for tensor in self._request.output_tensors)

    def _give(self, batch: Floats) -> None:
        """Shared where it can be: what is kept lives until the next one; a tensor takes no read-only memory."""
        given = np.require(batch, requirements=["C", "W"])
        self._request.set_input_tensor(ov.Tensor(given, shared_memory=True))
        self._given = given

    def close(self) -> None:
        del self._request, self._answer, self._given


def _own_outputs(request: ov.InferRequest, compiled: ov.CompiledModel) -> tuple[Floats, ...]:
    """Where it writes its outputs to, run after run; none where their shapes are open."""
    if any(out.partial_shape.is_dynamic for out in compiled.outputs):
        return ()
    outputs = tuple(np.empty(tuple(out.shape), out.element_type.to_dtype()) for out in compiled.outputs)
    for number, output in enumerate(outputs):
        request.set_output_tensor(number, ov.Tensor(output, shared_memory=True))
    return outputs


@cache
def core() -> ov.Core:
    """The only one of this process that compiles. With a Core comes a stack for the signals of the thread that is the
    first to use it, and goes with it (OpenVINO's SigAltStackSetup): once engines were closed in another order, or by
    another thread, the next signal, to stop or to read the line's file, would be a segmentation fault."""
    return ov.Core()


def open_graph(graph: bytes, weights: bytes, threads: int, device: Device, at_once: int) -> OpenvinoSession:
    where = plugin(device)
    model = core().read_model(graph, weights) if weights else core().read_model(graph)
    at_once = _batch(model) or (_fix_batch(model, at_once) if where == "CPU" else ANY)
    return OpenvinoSession(core().compile_model(model, where, settings(where, graph, threads)), at_once)


def plugin(device: Device) -> str:
    """GPU or CPU. Raises EngineError where a GPU is asked for that is not there."""
    has_gpu = any(name.startswith("GPU") for name in core().available_devices)
    if device == "gpu" and not has_gpu:
        raise EngineError('no GPU for OpenVINO on this box; set device = "cpu" or "auto"')
    return "GPU" if has_gpu and device != "cpu" else "CPU"


def settings(where: str, graph: bytes, threads: int) -> dict[str, object]:
    """What a plugin is told. A GPU's kernels take seconds to compile: they are kept."""
    told: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if where == "CPU":
        # By itself OpenVINO takes bfloat16 where the processor has it: then "fp32" would not be true. It also binds its
        # threads to the first cores that there are, every daemon of a box to the same.
        own = len(os.sched_getaffinity(0)) <= threads
        told |= {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": own}
        return told
    folder = gpu_cache(graph, "openvino")
    return told if folder is None else told | {"CACHE_DIR": str(folder)}


def _batch(model: ov.Model) -> int | None:
    """The images that the graph takes at once; None where it leaves that open."""
    shape = model.input().partial_shape
    if shape.rank.is_dynamic or not len(shape):
        return 1
    return None if shape[0].is_dynamic else int(shape[0].get_length())


def _fix_batch(model: ov.Model, at_once: int) -> int:
    """An open batch becomes the one that is run, which is returned: by ones a DRAE patch then takes 3.1 ms and not 4.1,
    a gate's view 1.3 and not 1.8. By fours they take 2.7 and 1.1, but the demonstration line then starts 0.8 s later
    and takes 40 MB more."""
    shape = model.input().partial_shape
    shape[0] = at_once
    model.reshape(shape)
    return at_once
