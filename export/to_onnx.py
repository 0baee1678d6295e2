"""Modules to ONNX files: static shapes, weights beside the graph, no modulation weights."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor

from export.modules import Exportable
from runtime.engine.onnx_engine import MODEL

OPSET = 20  # TensorRT-RTX 1.7.1 refuses opset 23's Attention for heads of 32 numbers
WEIGHTS = "model.data"
DTYPES = {
    "fp32": torch.float32,
    "int8": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.bfloat16,
}
"""The number type of an exported graph; for "int8" and "fp8" quantize.py then changes products."""


def to_graph(part: Exportable, values: Mapping[str, Tensor], precision: str) -> onnx.ModelProto:
    """The part's graph, with weights, inputs and outputs in the precision's number type.

    `values` give the static shapes. The model itself does not change.
    """
    dtype = DTYPES[precision]
    module = part.module if dtype == torch.float32 else copy.deepcopy(part.module).to(dtype)
    inputs = tuple(values[name].to(dtype).contiguous() for name in part.inputs)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=part.inputs,
            output_names=part.outputs,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph: onnx.ModelProto = program.model_proto
    return graph


def save_graph(graph: onnx.ModelProto, folder: Path) -> None:
    """Writes `model.onnx` and a separate file of weights: one ONNX file is limited to 2 GB."""
    onnx.save_model(
        graph,
        str(folder / MODEL),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=WEIGHTS,
        size_threshold=1024,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporter's warnings about its own deprecations and torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
