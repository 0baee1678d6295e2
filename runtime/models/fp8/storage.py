"""Linear layers with float8 (e4m3) weights in memory, in the form of the released FP8 file.

In that file the linears inside the double and single blocks are float8, modulations included: 320
in the 13 B model. Each weight has one float32 scale and stands for `float8 * scale`. Activations
are not quantised. Source: the official converter's golden data.
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
    """A weight of any shape as float8, and its scale (1,) float32; its largest magnitude is 448.

    A weight of zeros gets the scale 1.
    """
    largest = weight.float().abs().max().reshape(1)
    scale = torch.where(largest > 0, largest / FP8_MAX, torch.ones_like(largest))
    return round_to_fp8(weight, scale), scale


def round_to_fp8(values: Tensor, scale: Tensor) -> Tensor:
    """`values / scale` as float8; numbers beyond its range saturate."""
    return (values.float() / scale).clamp_(-FP8_MAX, FP8_MAX).to(FP8)


def dequantize(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """`weight * scale`; both are converted to `dtype` before they are multiplied."""
    return weight.to(dtype) * scale.to(dtype)


class Fp8Linear(nn.Module):
    """`nn.Linear` with a float8 weight, dequantised in every call to the dtype of the product.

    That is the dtype of its input, or autocast's if autocast is on. Move it with `.to(device)`;
    `.to(dtype)` would convert the float8 weight too.
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
    """The dtype of a matrix product of x: autocast's if it is on, else that of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def block_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """The linears that the released FP8 file stores as float8, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(BLOCKS)
    }


def use_fp8(model: nn.Module) -> None:
    """Replace every linear of the blocks by an empty `Fp8Linear`."""
    for name, linear in block_linears(model).items():
        empty = Fp8Linear(linear.in_features, linear.out_features, linear.bias is not None)
        model.set_submodule(name, empty)
