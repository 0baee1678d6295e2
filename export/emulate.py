"""Turns a 16-bit graph into one that a CPU can run: in float32, rounded to 16 bits at every node.

Hardware multiplies 16-bit numbers, sums in float32 and rounds what it writes. This graph does the
same: each result is cast to the 16-bit type and back. So exported bfloat16 and FP8 graphs can be
checked without a GPU.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MOVING = frozenset(
    ("Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze",
     "Transpose", "Unsqueeze")
)  # fmt: skip
"""Operations that only move numbers and need no rounding."""
NARROW = frozenset((TensorProto.BFLOAT16, TensorProto.FLOAT16))


def in_float32(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same function of float32 inputs, with 16-bit rounding after every computing node.

    It rounds the results that the graph's value_info, as torch's exporter writes it, calls 16-bit.
    Dequantised FP8 numbers have no value_info and stay unrounded: hardware never writes them.
    """
    body = graph.graph
    narrow = _narrow_results(body)
    nodes = [one for node in body.node for one in _rounded(node, narrow)]
    wide = helper.make_graph(
        nodes,
        body.name,
        [_wide_value(value) for value in body.input],
        [_wide_value(value) for value in body.output],
        [_wide_tensor(tensor) for tensor in body.initializer],
    )
    return helper.make_model(wide, opset_imports=graph.opset_import, ir_version=graph.ir_version)


def _narrow_results(body: onnx.GraphProto) -> dict[str, int]:
    """The type of each 16-bit tensor, by name."""
    values = (*body.value_info, *body.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name: kind for name, kind in types.items() if kind in NARROW}


def _rounded(original: onnx.NodeProto, narrow: dict[str, int]) -> list[onnx.NodeProto]:
    """The node, and for each of its 16-bit results a cast to 16 bits and back."""
    node = onnx.NodeProto()
    node.CopyFrom(original)
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i in NARROW:
            attribute.i = TensorProto.FLOAT
        if attribute.HasField("t"):
            attribute.t.CopyFrom(_wide_tensor(attribute.t))
    casts = []
    for place, name in enumerate(node.output):
        if name in narrow and node.op_type not in MOVING:
            raw, short = f"{name}/raw", f"{name}/short"
            node.output[place] = raw
            casts.append(helper.make_node("Cast", [raw], [short], to=narrow[name]))
            casts.append(helper.make_node("Cast", [short], [name], to=TensorProto.FLOAT))
    return [node, *casts]


def _wide_value(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    wide = onnx.ValueInfoProto()
    wide.CopyFrom(value)
    if wide.type.tensor_type.elem_type in NARROW:
        wide.type.tensor_type.elem_type = TensorProto.FLOAT
    return wide


def _wide_tensor(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type not in NARROW:
        return tensor
    values = numpy_helper.to_array(tensor).astype(np.float32)
    return numpy_helper.from_array(values, tensor.name)
