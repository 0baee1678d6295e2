"""A graph of 16-bit numbers as one that a CPU can run: computed in float32, rounded at every step.

Hardware multiplies 16-bit numbers, sums in float32 and rounds what it writes. So does this graph:
each result is cast to the 16-bit type and back. It is how exported bfloat16 and FP8 graphs are
checked where no GPU is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MOVING = frozenset(
    ("Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze",
     "Transpose", "Unsqueeze")
)  # fmt: skip
"""These only move numbers: nothing to round."""
NARROW = frozenset((TensorProto.BFLOAT16, TensorProto.FLOAT16))


def in_float32(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same function of float32 inputs, with 16-bit rounding after every computing node."""
    wide = onnx.ModelProto()
    wide.CopyFrom(onnx.shape_inference.infer_shapes(graph, data_prop=False))
    body = wide.graph
    narrow = _narrow_results(body)
    for tensor in body.initializer:
        if tensor.data_type in NARROW:
            _widen(tensor)
    for value in (*body.input, *body.output):
        if value.type.tensor_type.elem_type in NARROW:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del body.value_info[:]
    nodes = list(body.node)
    del body.node[:]
    for node in nodes:
        body.node.extend(_rounded(node, narrow))
    return wide


def _narrow_results(body: onnx.GraphProto) -> dict[str, int]:
    """Each 16-bit tensor's type, by name."""
    values = (*body.value_info, *body.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name: kind for name, kind in types.items() if kind in NARROW}


def _rounded(node: onnx.NodeProto, narrow: dict[str, int]) -> Iterable[onnx.NodeProto]:
    """The node, then for each of its 16-bit results a cast there and back."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i in NARROW:
            attribute.i = TensorProto.FLOAT
        if attribute.HasField("t") and attribute.t.data_type in NARROW:
            _widen(attribute.t)
    casts = []
    for place, name in enumerate(node.output):
        if name in narrow and node.op_type not in MOVING:
            raw, short = f"{name}/raw", f"{name}/short"
            node.output[place] = raw
            casts.append(helper.make_node("Cast", [raw], [short], to=narrow[name]))
            casts.append(helper.make_node("Cast", [short], [name], to=TensorProto.FLOAT))
    return (node, *casts)


def _widen(tensor: onnx.TensorProto) -> None:
    values = numpy_helper.to_array(tensor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
