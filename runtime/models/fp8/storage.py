"""Linear layers whose weights stay float8 (e4m3) in memory, in the form of the released FP8 file.

Of that file only the linears inside the double and single blocks are float8, modulations included:
320 in the 13 B model. A weight has one float32 scale, the weight meant is `float8 * scale`, and
activations are never quantised. Source: the official converter's golden data.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max  # 448
SCALE_SUFFIX = "_scale"  # of a weight's name, as in compressed-tensors files
BLOCKS = ("double_blocks.", "single_blocks.")


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight of any shape as float8, and its scale (1,) float32: the largest value becomes 448.

    A weight of zeros gets the scale 1.
    """
    largest = weight.float().abs().max().reshape(1)
    scale = torch.where(largest > 0, largest / FP8_MAX, torch.ones_like(largest))
    return stored(weight, scale), scale


def stored(values: Tensor, scale: Tensor) -> Tensor:
    """What float8 keeps of `values / scale`; what lies beyond its range saturates."""
    return (values.float() / scale).clamp_(-FP8_MAX, FP8_MAX).to(FP8)


def dequantize(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight meant; weight and scale are both converted before they are multiplied."""
    return weight.to(dtype) * scale.to(dtype)


class Fp8Linear(nn.Module):
    """`nn.Linear` with a float8 weight, dequantised in every call to the dtype of the product.

    That is its input's, or autocast's where that is on. Move it with `.to(device)`; `.to(dtype)`
    would convert the float8 weight too.
    """

    weight_scale: Tensor

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        weight = torch.empty(out_features, in_features, dtype=FP8)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(out_features), requires_grad=False) if bias else None
        self.register_buffer("weight_scale", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in_features) to (..., out_features)."""
        dtype = product_dtype(x)
        bias = None if self.bias is None else self.bias.to(dtype)
        return F.linear(x, dequantize(self.weight, self.weight_scale, dtype), bias)


def product_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which a matrix product of x is computed."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def block_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """The linears that the released FP8 file stores as float8, by their names."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(BLOCKS)
    }


def use_fp8(model: nn.Module) -> None:
    """Puts an empty `Fp8Linear` in place of every linear of the blocks."""
    for name, linear in block_linears(model).items():
        empty = Fp8Linear(linear.in_features, linear.out_features, linear.bias is not None)
        model.set_submodule(name, empty)
