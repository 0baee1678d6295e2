"""Matrix products of 8-bit floats (E4M3) with scales: half the memory of bf16, twice the rate.

    weight = quantize(linear.weight)                  # once, or as the release stores it
    y = fp8_linear(x, weight, linear.bias)            # the weight is never dequantised

A number is `value * scale`, with one scale for the matrix or one for each row. The product is
torch's scaled matrix product: on the tensor cores of a GPU of compute capability 8.9 or later, or
emulated on a CPU. Products are summed in float32 and written as bfloat16, as the row-wise kernels
require, then converted to the dtype of x.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.errors import BadInput, Unsupported
from runtime.models.fp8.storage import FP8, FP8_MAX, round_to_fp8

SMALLEST_AMPLITUDE = 1e-12  # a row of zeros must not get a scale of zero
MULTIPLE = 16  # cuBLASLt requires multiples of it for both sides of an FP8 weight
NEEDED_CAPABILITY = (8, 9)


@dataclass(frozen=True, slots=True)
class Fp8Matrix:
    """The matrix `values * scale`, (rows, K). Raises BadInput if dtype or shapes do not fit."""

    values: Tensor  # (rows, K) float8_e4m3fn
    scale: Tensor  # float32, () for the whole matrix or (rows, 1)

    def __post_init__(self) -> None:
        if self.values.dim() != 2 or self.values.dtype != FP8:
            raise BadInput(
                f"An FP8 matrix has shape {tuple(self.values.shape)} and dtype "
                f"{self.values.dtype}; expected two axes of {FP8}. Quantise it with `quantize`."
            )
        if self.scale.dtype != torch.float32:
            raise BadInput(f"An FP8 scale is {self.scale.dtype}; pass it as float32.")
        if self.scale.shape not in ((), (self.values.shape[0], 1)):
            raise BadInput(
                f"The scale of an FP8 matrix with {self.values.shape[0]} rows has shape "
                f"{tuple(self.scale.shape)}; expected () or ({self.values.shape[0]}, 1)."
            )


def quantize(x: Tensor, by_row: bool = True) -> Fp8Matrix:
    """The nearest FP8 matrix of x (rows, K); the largest magnitude (of each row) becomes 448."""
    magnitude = x.abs().amax(dim=-1, keepdim=True) if by_row else x.abs().amax()
    scale = magnitude.float().clamp(min=SMALLEST_AMPLITUDE) / FP8_MAX
    return with_scale(x, scale)


def with_scale(x: Tensor, scale: Tensor) -> Fp8Matrix:
    """x (rows, K) with a known scale, () or (rows, 1); numbers beyond its range saturate."""
    return Fp8Matrix(round_to_fp8(x, scale), scale)


def fp8_linear(
    x: Tensor, weight: Fp8Matrix, bias: Tensor | None = None, x_scale: Tensor | None = None
) -> Tensor:
    """`x @ weight.T + bias`: x (..., K), weight (N, K), bias (N,) to (..., N) in the dtype of x.

    x is quantised row by row, or with `x_scale` (), a calibrated scale for all of it.
    """
    rows = x.flatten(0, -2)
    left = quantize(rows) if x_scale is None else with_scale(rows, x_scale)
    out = product(left, weight, None if bias is None else bias.to(torch.bfloat16))
    return torch.unflatten(out.to(x.dtype), 0, x.shape[:-1])


def product(left: Fp8Matrix, right: Fp8Matrix, bias: Tensor | None = None) -> Tensor:
    """`left @ right.T + bias` in bfloat16: (M, K), (N, K), (N,) bfloat16 to (M, N).

    If both scales are single numbers this uses the tensor-wise kernel, otherwise the row-wise one.
    """
    by_row = left.scale.dim() + right.scale.dim() > 0
    return torch._scaled_mm(
        left.values,
        right.values.t(),
        scale_a=_scale_of_rows(left) if by_row else left.scale,
        scale_b=_scale_of_rows(right).t() if by_row else right.scale,
        bias=bias,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )


def _scale_of_rows(matrix: Fp8Matrix) -> Tensor:
    """The scale as (rows, 1)."""
    return matrix.scale if matrix.scale.dim() else matrix.scale.repeat(matrix.values.shape[0], 1)


def fits(rows: int, columns: int) -> bool:
    """Whether a weight of this shape can be multiplied in FP8."""
    return rows % MULTIPLE == 0 and columns % MULTIPLE == 0


def check_device(device: torch.device) -> None:
    """Raise Unsupported if the GPU has no FP8 units; a CPU emulates them."""
    if device.type != "cuda":
        return
    found = torch.cuda.get_device_capability(device)
    if found < NEEDED_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        raise Unsupported(
            f"{name} has compute capability {found[0]}.{found[1]}, but FP8 products need "
            f"{NEEDED_CAPABILITY[0]}.{NEEDED_CAPABILITY[1]} or later. Use bf16 weights.",
            param="precision",
        )
