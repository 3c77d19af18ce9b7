"""LiteRT (formerly TensorFlow Lite): the small interpreter, CPU only."""

from __future__ import annotations

from edge.engines.session import Device, Engine, Floats, one_by_one
from edge.errors import EngineError

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter  # the frozen predecessor, same class

SIGNATURE = "serving_default"


class LitertSession:
    """TFLite graphs have a batch of one, so a batch is run image by image."""

    engine: Engine = "litert"
    device = "cpu"

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        signature = interpreter.get_signature_list()[SIGNATURE]
        runner = interpreter.get_signature_runner(SIGNATURE)
        details = runner.get_output_details()
        self._outputs = [details[name]["index"] for name in sorted(signature["outputs"])]

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        return one_by_one(self._run_one, batch)

    def _run_one(self, image: Floats) -> tuple[Floats, ...]:
        try:
            self._interpreter.set_tensor(self._input, image)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"LiteRT failed while running: {error}") from error
        return tuple(self._interpreter.get_tensor(index) for index in self._outputs)

    def close(self) -> None:
        del self._interpreter


def open_graph(graph: bytes, _: bytes, threads: int, device: Device) -> LitertSession:
    if device == "gpu":
        raise EngineError('LiteRT runs on the CPU only; set device = "cpu" or "auto", or choose another engine')
    interpreter = Interpreter(model_content=graph, num_threads=threads)
    interpreter.allocate_tensors()
    if SIGNATURE not in interpreter.get_signature_list():
        raise EngineError(f"the graph has no signature {SIGNATURE}; export it with tools/train")
    return LitertSession(interpreter)
