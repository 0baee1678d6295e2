"""Attention in FP8 by cuDNN, through NVIDIA's own front end: torch does not offer it.

    attention = Fp8Attention(tokens, heads, head_dim, device)
    out = attention(qkv, scales)            # qkv (3, N, heads, head_dim) float8, scales (3,)

Queries, keys and values are E4M3 with one scale each. Probabilities are too; they lie in [0, 1], so
their scale is a constant. Sums are float32. A mean of values is no larger than the largest one, so
the result has the values' scale. Needs Hopper or later, and cuDNN 9.1 or later.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from runtime.errors import Unsupported
from runtime.models.fp8.matmul import SMALLEST_AMPLITUDE, Fp8Matrix
from runtime.models.fp8.storage import FP8, FP8_MAX

PROBABILITY_SCALE = 256.0  # a power of two: 1 becomes 256, below the largest FP8 number, 448
NEEDED_CAPABILITY = (9, 0)


class Fp8Attention:
    """Attention of all tokens to all, for a fixed number of tokens. Not for two threads at once.

    Raises Unsupported if the GPU or the front end is missing; cuDNN's own errors pass through.
    """

    def __init__(self, tokens: int, heads: int, head_dim: int, device: torch.device) -> None:
        self._cudnn = _front_end(device)
        self._shape = (tokens, heads * head_dim)
        self._handle = self._cudnn.create_handle()
        one = torch.ones(1, 1, 1, 1, device=device)
        self._fixed = {"scale_s": one * PROBABILITY_SCALE, "descale_s": one / PROBABILITY_SCALE}
        self._largest = {
            "amax_s": one.clone(),
            "amax_o": one.clone(),
        }  # cuDNN insists on writing them
        self._graph, self._tensors = self._build(tokens, heads, head_dim)
        space = max(self._graph.get_workspace_size(), 1)
        self._workspace = torch.empty(space, dtype=torch.uint8, device=device)

    def __call__(self, qkv: Tensor, scales: Tensor) -> Fp8Matrix:
        """qkv (3, N, heads, head_dim) float8, which stands for `qkv * scales` (3,), to (N, D)."""
        out = torch.empty(self._shape, dtype=FP8, device=qkv.device)
        bound = {
            **dict(zip("qkv", qkv, strict=True)),
            **dict(zip(("descale_q", "descale_k", "descale_v"), scales, strict=True)),
            **self._fixed,
            **self._largest,
            "scale_o": scales[2].reciprocal(),
            "o": out,
        }
        stream = torch.cuda.current_stream(qkv.device).cuda_stream
        self._cudnn.set_stream(handle=self._handle, stream=stream)
        self._graph.execute(
            {self._tensors[name]: tensor.data_ptr() for name, tensor in bound.items()},
            self._workspace.data_ptr(),
            handle=self._handle,
        )
        return Fp8Matrix(out, scales[2])

    def _build(self, tokens: int, heads: int, head_dim: int) -> tuple[Any, dict[str, Any]]:
        """cuDNN's plan, and its tensors by name."""
        cudnn, kinds = self._cudnn, self._cudnn.data_type
        graph = cudnn.pygraph(
            io_data_type=kinds.FP8_E4M3,
            intermediate_data_type=kinds.FLOAT,
            compute_data_type=kinds.FLOAT,
            handle=self._handle,
        )
        dims = [1, heads, tokens, head_dim]
        strides = [tokens * heads * head_dim, head_dim, heads * head_dim, 1]
        number = {"dim": [1, 1, 1, 1], "stride": [1, 1, 1, 1], "data_type": kinds.FLOAT}
        tensors = {
            name: graph.tensor(name=name, dim=dims, stride=strides, data_type=kinds.FP8_E4M3)
            for name in "qkv"
        }
        scales = ("descale_q", "descale_k", "descale_v", "descale_s", "scale_s", "scale_o")
        tensors |= {name: graph.tensor(name=name, **number) for name in scales}
        out, _, largest_s, largest_o = graph.sdpa_fp8(
            **tensors, generate_stats=False, attn_scale=head_dim**-0.5
        )
        out.set_output(True).set_dim(dims).set_stride(strides).set_data_type(kinds.FP8_E4M3)
        for largest in (largest_s, largest_o):
            largest.set_output(True).set_dim([1, 1, 1, 1]).set_stride([1, 1, 1, 1])
            largest.set_data_type(kinds.FLOAT)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A])
        graph.check_support()
        graph.build_plans()
        return graph, {**tensors, "o": out, "amax_s": largest_s, "amax_o": largest_o}


def scale_of(values: Tensor) -> Tensor:
    """The scale () float32 with which the largest of the values is the largest FP8 number."""
    largest: Tensor = torch.linalg.vector_norm(values, float("inf"), dtype=torch.float32)
    return largest.clamp(min=SMALLEST_AMPLITUDE) / FP8_MAX


def _front_end(device: torch.device) -> ModuleType:
    """Import NVIDIA's module; Unsupported if it, or a new enough GPU, is missing."""
    found, name = (0, 0), str(device)
    if device.type == "cuda":
        found = torch.cuda.get_device_capability(device)
        name = f"{torch.cuda.get_device_name(device)} with {found[0]}.{found[1]}"
    if found < NEEDED_CAPABILITY:
        raise Unsupported(
            "FP8 attention needs an NVIDIA GPU of compute capability 9.0 or later, but this is "
            f"{name}. Use precision fp8, whose attention is in bf16.",
            param="precision",
        )
    try:
        return importlib.import_module("cudnn")
    except ImportError as error:
        raise Unsupported(
            "FP8 attention needs nvidia-cudnn-frontend: pip install 'avatar-server[gpu]'. Or use "
            "precision fp8, whose attention is in bf16.",
            param="precision",
        ) from error
