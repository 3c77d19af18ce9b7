"""LiteRT (formerly TensorFlow Lite): the small interpreter, CPU only."""

from __future__ import annotations

from edge.engines.cores import Cores, on, shared_out
from edge.engines.session import Device, Engine, Floats, in_turns
from edge.errors import EngineError

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter  # the frozen predecessor, same class

SIGNATURE = "serving_default"


class LitertSession:
    """A TFLite graph has the batch that it was exported with, one for most; images are run so many at a time."""

    engine: Engine = "litert"
    device = "cpu"
    any_batch = False

    def __init__(self, interpreter: Interpreter, first: Cores) -> None:
        """first: the core of who calls."""
        self._interpreter, self._first = interpreter, first
        given = interpreter.get_input_details()[0]
        self._input, self._at_once = given["index"], int(given["shape"][0])
        signature = interpreter.get_signature_list()[SIGNATURE]
        runner = interpreter.get_signature_runner(SIGNATURE)
        details = runner.get_output_details()
        self._outputs = [details[name]["index"] for name in sorted(signature["outputs"])]

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        with on(self._first):
            return in_turns(self._run, batch, self._at_once)

    def _run(self, batch: Floats) -> tuple[Floats, ...]:
        try:
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"LiteRT failed while running: {error}") from error
        return tuple(self._interpreter.get_tensor(index) for index in self._outputs)

    def close(self) -> None:
        del self._interpreter


def open_native(graph: bytes, threads: int) -> Interpreter:
    """LiteRT's own interpreter, before its tensors have a place. Raises ValueError where it refuses the graph."""
    return Interpreter(model_content=graph, num_threads=threads)


def open_graph(graph: bytes, _: bytes, threads: int, device: Device, at_once: int) -> LitertSession:
    if device == "gpu":
        raise EngineError('LiteRT runs on the CPU only; set device = "cpu" or "auto", or choose another engine')
    first, others = shared_out(threads)
    with on(others):
        interpreter = open_native(graph, threads)
        interpreter.allocate_tensors()
    if SIGNATURE not in interpreter.get_signature_list():
        raise EngineError(f"the graph has no signature {SIGNATURE}; export it with tools/train")
    return LitertSession(interpreter, first)
