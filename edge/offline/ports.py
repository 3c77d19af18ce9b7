"""What goes into a graph file and what comes out of it, read from the file itself."""

from __future__ import annotations

from edge.bundle import Format, Port
from edge.errors import BundleError


def describe(form: Format, graph: bytes, weights: bytes = b"") -> tuple[Port, tuple[Port, ...], int | None]:
    """Input, outputs and (of ONNX) opset. Raises BundleError where the file has several inputs, or a side other than
    the batch is not fixed."""
    inputs, outputs, opset = {"onnx": _of_onnx, "openvino": _of_openvino, "tflite": _of_tflite}[form](graph, weights)
    if len(inputs) != 1:
        raise BundleError(f"the {form} graph has {len(inputs)} inputs; a network of edge has one, the picture")
    if 0 in inputs[0].shape[1:]:
        raise BundleError(
            f"the {form} graph's input {inputs[0].name} is {inputs[0].shape}: fix all sides but the batch"
        )
    return inputs[0], tuple(outputs), opset


Ports = tuple[list[Port], list[Port], int | None]


def _of_onnx(graph: bytes, _: bytes) -> Ports:
    import onnx

    model = onnx.load_from_string(graph)
    given = {tensor.name for tensor in model.graph.initializer}
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)

    def port(value: onnx.ValueInfoProto) -> Port:
        return Port(value.name, tuple(side.dim_value for side in value.type.tensor_type.shape.dim))

    return [port(v) for v in model.graph.input if v.name not in given], [port(v) for v in model.graph.output], opset


def _of_openvino(graph: bytes, weights: bytes) -> Ports:
    import openvino as ov

    model = ov.Core().read_model(graph, weights)

    def port(value: ov.Output) -> Port:
        sides = tuple(side.get_length() if side.is_static else 0 for side in value.partial_shape)
        return Port(value.get_any_name() if value.get_names() else value.node.get_friendly_name(), sides)

    return [port(v) for v in model.inputs], [port(v) for v in model.outputs], None


def _of_tflite(graph: bytes, _: bytes) -> Ports:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=graph).get_signature_runner()

    def ports(details: dict[str, dict[str, tuple[int, ...]]]) -> list[Port]:
        return [Port(name, tuple(map(int, detail["shape"]))) for name, detail in sorted(details.items())]

    return ports(runner.get_input_details()), ports(runner.get_output_details()), None
