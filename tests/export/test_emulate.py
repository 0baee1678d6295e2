"""16-bit graphs on a CPU: float32 sums, 16-bit results."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export.emulate import in_float32
from export.run_graph import run_graph


def product_graph(kind: int):
    """y = relu(x @ w) in 16-bit numbers, w fixed."""
    weight = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    narrow = weight.astype(helper.tensor_dtype_to_np_dtype(kind))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    body = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", kind, (2, 4))],
        [helper.make_tensor_value_info("y", kind, (2, 3))],
        [numpy_helper.from_array(narrow, "w")],
        value_info=[helper.make_tensor_value_info("z", kind, (2, 3))],
    )
    graph = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return graph, torch.from_numpy(narrow.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(TensorProto.BFLOAT16, torch.bfloat16), (TensorProto.FLOAT16, torch.float16)],
)
def test_every_result_is_rounded(kind: int, dtype: torch.dtype) -> None:
    graph, weight = product_graph(kind)
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).to(dtype).float()
    found = run_graph(in_float32(graph), {"x": x}, ["y"])["y"]
    expected = (x @ weight).to(dtype).float().relu()
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=0, rtol=0)


def test_the_graph_itself_stays_16_bit() -> None:
    graph, _ = product_graph(TensorProto.BFLOAT16)
    before = graph.SerializeToString()
    in_float32(graph)
    assert graph.SerializeToString() == before
