"""Compares an export with the same module in torch, computed in float64."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.emulate import in_float32
from export.modules import Exportable
from export.run_graph import run_graph
from runtime.errors import EngineError

ALLOWED = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 2e-2, "fp8": 6e-2}
"""Largest allowed relative L2 error of a part's output. int8 is judged by its lip sync instead,
see docs/benchmarks.md.
"""


def error_of(graph: onnx.ModelProto, part: Exportable, values: Mapping[str, Tensor]) -> float:
    """Relative L2 error of the graph's worst output; 16-bit graphs are emulated on the CPU."""
    expected = in_float64(part, values)
    found = run_graph(in_float32(graph), values, part.outputs)
    return max(relative_l2(found[name], expected[name]) for name in part.outputs)


def check_error(error: float, name: str, precision: str) -> None:
    """EngineError if an engine differs from torch by more than its precision explains."""
    allowed = ALLOWED.get(precision)
    if allowed is not None and not error <= allowed:
        raise EngineError(
            f"{name} in {precision} differs from float64 torch by {error:.2g} relative L2; at most "
            f"{allowed:g} is allowed. Calibrate on more windows, or choose a finer precision."
        )


def in_float64(part: Exportable, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The module's outputs, computed in float64."""
    module = copy.deepcopy(part.module).double()
    with torch.no_grad():
        found = module(*(values[name].double() for name in part.inputs))
    outputs = found if isinstance(found, tuple) else (found,)
    return dict(zip(part.outputs, outputs, strict=True))


def relative_l2(found: NDArray[np.generic] | Tensor, expected: Tensor) -> float:
    """|found - expected| / |expected|."""
    got = torch.as_tensor(np.asarray(found, np.float64))
    return float((got - expected).norm() / expected.norm())
