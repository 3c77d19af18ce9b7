"""ONNX Runtime: CPU, or TensorRT and CUDA where onnxruntime-gpu finds a card."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state

from edge.engines.caches import gpu_cache
from edge.engines.cores import ANY, Cores, on, shared_out
from edge.engines.session import Device, Engine, Floats, in_turns
from edge.errors import EngineError

TENSORRT = "TensorrtExecutionProvider"
GPU_PROVIDERS = (TENSORRT, "CUDAExecutionProvider")
Provider = tuple[str, dict[str, object]]
CPU: Provider = ("CPUExecutionProvider", {})
# Threads that sleep between two layers wake too late to help; those that spin on starve whoever prepares a frame: they
# spin for 0.8 ms, where this release of ONNX Runtime knows how.
BRIEFLY = tuple(map(int, ort.__version__.split(".")[:2])) >= (1, 31)
SPINNING = {
    "session.intra_op.allow_spinning": "1" if BRIEFLY else "0",
    **({"session.intra_op.spin_duration_us": "800"} if BRIEFLY else {}),
}
# ONNX Runtime's own exceptions share no base but Exception.
OWN = [kind for kind in vars(onnxruntime_pybind11_state).values() if isinstance(kind, type)]
FAULTS: tuple[type[Exception], ...] = (RuntimeError, ValueError, *(kind for kind in OWN if issubclass(kind, Exception)))


class OnnxSession:
    engine: Engine = "onnx"

    def __init__(self, session: ort.InferenceSession, at_once: int, first: Cores) -> None:
        """first: the core of who calls."""
        self._session, self._first = session, first
        given = session.get_inputs()[0]
        self._input = given.name
        fixed = given.shape[0] if given.shape else 1
        self._at_once = fixed if isinstance(fixed, int) else at_once
        # ONNX Runtime falls back to the CPU without a word, so the device is read back.
        self.device = "gpu" if session.get_providers()[0] in GPU_PROVIDERS else "cpu"
        self.any_batch = self.device == "gpu" and not isinstance(fixed, int)

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        with on(self._first):
            return self._run(batch) if self.any_batch else in_turns(self._run, batch, self._at_once)

    def _run(self, batch: Floats) -> tuple[Floats, ...]:
        try:
            return tuple(np.asarray(out) for out in self._session.run(None, {self._input: batch}))
        except FAULTS as error:
            raise EngineError(f"ONNX Runtime failed while running: {error}") from error

    def close(self) -> None:
        del self._session


def provider_options(name: str, graph: bytes) -> dict[str, object]:
    """What a GPU's provider is told. TensorRT builds for minutes: it keeps its engines and its timings.

    Names after ONNX Runtime's documentation of its TensorRT provider. A graph with QuantizeLinear nodes is refused by
    TensorRT unless INT8 is allowed, and is the same on it otherwise.
    """
    if name != TENSORRT:
        return {}
    options: dict[str, object] = {"trt_int8_enable": b"QuantizeLinear" in graph}
    folder = gpu_cache(graph, "tensorrt", repr(options))
    if folder is not None:
        options |= {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(folder),
        }
    return options


def _open_first(graph: bytes, options: ort.SessionOptions, providers: list[Provider]) -> ort.InferenceSession:
    """On the first provider that opens it, the next ones behind it. Raises EngineError with what the last one said.

    ONNX Runtime's own fallback is off: it talks on stdout, and while running it would go on on the CPU in silence.
    """
    try:
        return ort.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except FAULTS as error:
        if len(providers) > 1:
            return _open_first(graph, options, providers[1:])
        raise EngineError(f"ONNX Runtime cannot open the graph: {error}") from error


@cache
def share_memory() -> None:
    """One arena for all sessions of the process: they run in turn, and each of its own would keep some 30 MB."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, None)


def open_native(graph: bytes, threads: int, device: Device) -> ort.InferenceSession:
    """ONNX Runtime's own session, set up as a line needs it. Raises EngineError."""
    share_memory()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    for key, value in {**SPINNING, "session.use_env_allocators": "1"}.items():
        options.add_session_config_entry(key, value)
    options.log_severity_level = 3
    available = ort.get_available_providers()
    wanted = [] if device == "cpu" else [p for p in GPU_PROVIDERS if p in available]
    if device == "gpu" and not wanted:
        raise EngineError('no GPU for ONNX Runtime: install the extra `gpu` on a box with one, or set device = "cpu"')
    session = _open_first(graph, options, [*((name, provider_options(name, graph)) for name in wanted), CPU])
    if device == "gpu" and session.get_providers()[0] not in GPU_PROVIDERS:
        raise EngineError('ONNX Runtime found no usable GPU (driver, CUDA, cuDNN?); mend it, or set device = "cpu"')
    session._model_bytes = None  # kept by it for the fallback that is off: the size of the file again
    return session


def open_graph(graph: bytes, _: bytes, threads: int, device: Device, at_once: int) -> OnnxSession:
    # A card's threads are its own affair.
    with_card = device != "cpu" and any(provider in GPU_PROVIDERS for provider in ort.get_available_providers())
    first, others = (ANY, ANY) if with_card else shared_out(threads)
    with on(others):
        session = open_native(graph, threads, device)
    if len(session.get_inputs()) != 1:
        raise EngineError(f"the graph has {len(session.get_inputs())} inputs; one is needed")
    return OnnxSession(session, at_once, first)
