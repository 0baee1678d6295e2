"""The choice among torch's attention kernels: the fastest that fits, requested by name.

On a GPU that is cuDNN's, then flash attention (arXiv 2307.08691). If none of the requested kernels
accepts the tensors, torch raises, rather than falling back to one that writes the score matrix to
memory. A CPU has one fused kernel, which torch selects by itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


def kernels(dtype: torch.dtype, is_masked: bool) -> list[SDPBackend]:
    """The kernels that a GPU may use, fastest first."""
    if dtype == torch.float32:
        return [SDPBackend.EFFICIENT_ATTENTION]  # the others accept 16-bit numbers only
    if is_masked:
        return [SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]  # flash has no mask
    return [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]


def fastest_kernel(q: Tensor, mask: Tensor | None) -> AbstractContextManager[None]:
    """A context for a scaled_dot_product_attention of q: it allows the fast kernels only."""
    if not q.is_cuda:
        return nullcontext()
    return sdpa_kernel(kernels(q.dtype, mask is not None), set_priority=True)
