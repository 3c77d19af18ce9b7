"""The machine's ceiling, and how many operations a network takes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bench.ceiling import INT8_GRAPH, SIDE, measure, operations
from edge.engines.session import installed


def test_the_int8_product_is_one_node_of_this_size() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx, which reads the graph, is not here (extra `test`)")
    helper, kinds = onnx.helper, onnx.TensorProto
    names = (("left", kinds.UINT8), ("right", kinds.INT8), ("out", kinds.INT32))
    left, right, out = (helper.make_tensor_value_info(name, kind, [SIDE, SIDE]) for name, kind in names)
    node = helper.make_node("MatMulInteger", ["left", "right"], ["out"])
    graph = helper.make_graph([node], "matmul", [left, right], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert onnx.load(INT8_GRAPH) == model


def test_the_ceiling_is_of_this_machine() -> None:
    found = measure(1)
    assert found.threads == 1 and 1 < found.fp32_gflops < 1e5
    assert found.int8_gops is None or 1 < found.int8_gops < 1e6


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO, which counts, is not here (extra `openvino`)")
def test_operations_are_two_for_each_weight_that_an_output_meets(tmp_path: Path) -> None:
    """A convolution of 3 to 4 channels, 3 x 3, on 8 x 10; one in two groups; a deconvolution by two; a product."""
    onnx = pytest.importorskip("onnx", reason="onnx, which writes the graph, is not here (extra `test`)")
    numpy = pytest.importorskip("numpy")
    helper = onnx.helper

    def weights(name: str, *shape: int) -> object:
        return onnx.numpy_helper.from_array(numpy.ones(shape, numpy.float32), name)

    nodes = [
        helper.make_node("Conv", ["in", "a"], ["x"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "b"], ["y"], group=2),
        helper.make_node("ConvTranspose", ["y", "c"], ["z"], strides=[2, 2]),
        helper.make_node("MatMul", ["z", "d"], ["out"]),
    ]
    given = [weights("a", 4, 3, 3, 3), weights("b", 4, 2, 1, 1), weights("c", 4, 1, 2, 2), weights("d", 20, 5)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("in", 1, ["n", 3, 8, 10])], [value("out", 1, ["n", 1, 16, 5])], initializer=given
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "g.onnx")
    products = 4 * 27 * 80 + 4 * 2 * 80 + 4 * 4 * 80 + 16 * 20 * 5
    assert operations(tmp_path / "g.onnx") == pytest.approx(2 * products / 1e9)
    (tmp_path / "text.onnx").write_text("no graph")
    assert operations(tmp_path / "text.onnx") is None
