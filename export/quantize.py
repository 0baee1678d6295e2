"""Graphs with 8-bit matrix products: FP8 with calibrated scales, or dynamic int8.

FP8 (e4m3, arXiv 2209.05433) is written as QuantizeLinear and DequantizeLinear around each product
with a weight, which TensorRT turns into FP8 kernels. The activations have one scale, from the
largest magnitude in calibration; the weight has one for every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from export.emulate import in_float32
from export.run_graph import run_graph

LARGEST_E4M3 = 448.0
SMALLEST_WEIGHT = 4096  # numbers; products with smaller weights are not quantised


@dataclass(frozen=True, slots=True)
class WeightMatmul:
    """A node that multiplies activations (.., K) with a weight (K, N) held by the graph."""

    node: onnx.NodeProto
    activations: str
    weight: onnx.TensorProto


def products(graph: onnx.ModelProto, smallest: int = SMALLEST_WEIGHT) -> list[WeightMatmul]:
    """All matrix products with a weight of at least `smallest` numbers, in the graph's order."""
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    return [
        WeightMatmul(node, node.input[0], weights[node.input[1]])
        for node in graph.graph.node
        if node.op_type in ("MatMul", "Gemm")
        and node.input[1] in weights
        and np.prod(weights[node.input[1]].dims) >= smallest
    ]


def activation_peaks(
    graph: onnx.ModelProto, windows: Iterable[Mapping[str, Tensor]]
) -> dict[str, float]:
    """The largest magnitude of every product's activations over the calibration windows."""
    names = sorted({product.activations for product in products(graph)})
    watched = in_float32(graph)
    known = {value.name for value in (*watched.graph.input, *watched.graph.output)}
    for name in names:
        if name not in known:
            watched.graph.output.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            )
    peaks = dict.fromkeys(names, 0.0)
    for values in windows:
        found = run_graph(watched, values, names)
        for name in names:
            peaks[name] = max(peaks[name], float(np.abs(found[name]).max()))
    return peaks


def to_fp8(graph: onnx.ModelProto, peaks: Mapping[str, float]) -> onnx.ModelProto:
    """The graph with its products in FP8, scaled by `activation_peaks`."""
    found = {product.node.output[0]: product for product in products(graph)}
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    for node in graph.graph.node:
        product = found.get(node.output[0])
        if product is None:
            nodes.append(node)
        else:
            before, held = _fp8_product(product, peaks[product.activations])
            nodes += before
            weights += held
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.graph.initializer if tensor.name in read]
    body = graph.graph
    quantised = helper.make_graph(nodes, body.name, body.input, body.output, [*kept, *weights])
    quantised.value_info.extend(body.value_info)
    return helper.make_model(
        quantised, opset_imports=graph.opset_import, ir_version=graph.ir_version
    )


def _fp8_product(
    product: WeightMatmul, peak: float
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes of the quantised product, and the weight, scales and zeros that they read."""
    name, dtype = product.node.output[0], product.weight.data_type
    weight = np.asarray(numpy_helper.to_array(product.weight), np.float32)
    rows = np.maximum(np.abs(weight).max(axis=0), 1e-12)  # one for each output number
    x_scale = _scale(
        f"{name}/x_scale", np.asarray(max(peak, 1e-6) / LARGEST_E4M3, np.float32), dtype
    )
    w_scale = _scale(f"{name}/w_scale", rows / LARGEST_E4M3, dtype)
    scaled = np.divide(weight, np.asarray(numpy_helper.to_array(w_scale), np.float32))
    held = [
        x_scale,
        numpy_helper.from_array(np.zeros((), ml_dtypes.float8_e4m3fn), f"{name}/x_zero"),
        w_scale,
        numpy_helper.from_array(_e4m3(scaled), f"{name}/w_fp8"),
    ]
    x_in, x_out, w_out = f"{name}/x_fp8", f"{name}/x", f"{name}/w"
    nodes = [
        helper.make_node(
            "QuantizeLinear", [product.activations, x_scale.name, held[1].name], [x_in]
        ),
        helper.make_node("DequantizeLinear", [x_in, x_scale.name], [x_out]),
        helper.make_node("DequantizeLinear", [held[3].name, w_scale.name], [w_out], axis=1),
        onnx.NodeProto(),
    ]
    nodes[3].CopyFrom(product.node)
    nodes[3].input[0], nodes[3].input[1] = x_out, w_out
    return nodes, held


def _scale(name: str, values: NDArray[np.float32], dtype: int) -> onnx.TensorProto:
    """Scales in the number type of the graph.

    Their rounding may put the largest value slightly outside of e4m3; quantising clips it.
    """
    return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(dtype)), name)


def _e4m3(values: NDArray[np.float32]) -> NDArray[np.generic]:
    return np.clip(values, -LARGEST_E4M3, LARGEST_E4M3).astype(ml_dtypes.float8_e4m3fn)


def to_int8(source: Path, target: Path) -> None:
    """Writes a float32 file with its products in int8; activations are scaled at run time.

    Weights have 7 bits, because an AVX2 processor without VNNI adds pairs of products in 16 bits.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(source),
        str(target),
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
    )
