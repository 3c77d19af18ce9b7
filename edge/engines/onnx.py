"""ONNX Runtime: CPU, or CUDA where onnxruntime-gpu finds a card."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state

from edge.engines.session import Device, Engine, Floats, in_turns
from edge.errors import EngineError

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
# ONNX Runtime's own exceptions share no base but Exception.
OWN = [kind for kind in vars(onnxruntime_pybind11_state).values() if isinstance(kind, type)]
FAULTS: tuple[type[Exception], ...] = (RuntimeError, ValueError, *(kind for kind in OWN if issubclass(kind, Exception)))


class OnnxSession:
    engine: Engine = "onnx"

    def __init__(self, session: ort.InferenceSession, at_once: int) -> None:
        self._session = session
        given = session.get_inputs()[0]
        self._input = given.name
        fixed = given.shape[0] if given.shape else 1
        self._at_once = fixed if isinstance(fixed, int) else at_once
        # ONNX Runtime falls back to the CPU without a word, so the device is read back.
        self.device = "gpu" if session.get_providers()[0] in GPU_PROVIDERS else "cpu"

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        return self._run(batch) if self.device == "gpu" else in_turns(self._run, batch, self._at_once)

    def _run(self, batch: Floats) -> tuple[Floats, ...]:
        try:
            return tuple(np.asarray(out) for out in self._session.run(None, {self._input: batch}))
        except FAULTS as error:
            raise EngineError(f"ONNX Runtime failed while running: {error}") from error

    def close(self) -> None:
        del self._session


@cache
def share_memory() -> None:
    """One arena for all sessions of the process: they run in turn, and each of its own would keep some 30 MB."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, None)


def open_graph(graph: bytes, threads: int, device: Device, at_once: int) -> OnnxSession:
    share_memory()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning worker threads starve whatever prepares the next frame.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 3
    available = ort.get_available_providers()
    wanted = [] if device == "cpu" else [p for p in GPU_PROVIDERS if p in available]
    if device == "gpu" and not wanted:
        raise EngineError('no GPU for ONNX Runtime: install the extra `gpu` on a box with one, or set device = "cpu"')
    try:
        session = ort.InferenceSession(graph, options, providers=[*wanted, "CPUExecutionProvider"])
    except FAULTS as error:
        raise EngineError(f"ONNX Runtime cannot open the graph: {error}") from error
    if len(session.get_inputs()) != 1:
        raise EngineError(f"the graph has {len(session.get_inputs())} inputs; one is needed")
    opened = OnnxSession(session, at_once)
    if device == "gpu" and opened.device != "gpu":
        raise EngineError('ONNX Runtime found no usable GPU (driver, CUDA, cuDNN?); mend it, or set device = "cpu"')
    return opened
