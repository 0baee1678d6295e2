"""Which attention kernel of torch runs: the fastest that fits, asked for by name.

On a GPU that is cuDNN's, then flash attention (arXiv 2307.08691); torch raises where none of the
named kernels takes the tensors, instead of falling back to one that writes the score matrix out.
A CPU has one fused kernel, and torch takes it by itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


def kernels(dtype: torch.dtype, is_masked: bool) -> list[SDPBackend]:
    """The kernels that a GPU may use, best first."""
    if dtype == torch.float32:
        return [SDPBackend.EFFICIENT_ATTENTION]  # the others take 16-bit numbers only
    if is_masked:
        return [SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]  # flash has no mask
    return [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]


def fastest_kernel(q: Tensor, mask: Tensor | None) -> AbstractContextManager[None]:
    """`with fastest_kernel(q, mask):` around a scaled_dot_product_attention of q."""
    if not q.is_cuda:
        return nullcontext()
    return sdpa_kernel(kernels(q.dtype, mask is not None), set_priority=True)
