"""Runs a graph in memory exactly as it is, without optimising it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor


def run_graph(
    graph: onnx.ModelProto, values: Mapping[str, Tensor], outputs: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Computes `outputs` on the CPU; inputs are taken from `values` as float32.

    Nothing is optimised, because an optimiser would remove the casts that round.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {one.name: _float32(values[one.name]) for one in session.get_inputs()}
    return dict(zip(outputs, session.run(list(outputs), feed), strict=True))


def _float32(value: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = value.detach().float().contiguous().numpy()
    return array
