"""Rotary positions on the (time, row, column) grid, with the reference image at time -1.

HunyuanVideo-Avatar puts one extra latent frame, the reference, before the video: same rows and
columns, time -1. Numbers 2k and 2k+1 are rotated as a pair; cos and sin contain each angle twice.
"""

from __future__ import annotations

import torch
from torch import Tensor


def axis_angles(positions: Tensor, dim: int, theta: float) -> Tensor:
    """Angles (tokens, dim / 2) of integer positions (tokens,) along one axis."""
    rates = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    return torch.outer(positions.float(), rates)


def rope_freqs(
    frames: int,
    rows: int,
    columns: int,
    dims: tuple[int, int, int],
    theta: float = 256.0,
    reference: bool = True,
) -> tuple[Tensor, Tensor]:
    """cos and sin, float32, each (tokens, sum(dims)), time-major, then rows, then columns.

    `frames` counts latent frames from time 0; `rows` and `columns` count tokens. With `reference`
    the tokens of the reference (time -1) come first.
    """
    start = -1 if reference else 0
    grid = torch.meshgrid(
        torch.arange(start, frames), torch.arange(rows), torch.arange(columns), indexing="ij"
    )
    angles = [axis_angles(axis.flatten(), dim, theta) for axis, dim in zip(grid, dims, strict=True)]
    doubled = torch.cat(angles, dim=1).repeat_interleave(2, dim=1)
    return doubled.cos(), doubled.sin()


def rotations(cos: Tensor, sin: Tensor) -> Tensor:
    """cos and sin of `rope_freqs` (tokens, head_dim) as complex (tokens, head_dim / 2)."""
    return torch.complex(cos[:, ::2].float(), sin[:, ::2].float())


def apply_rope(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the pairs (a, b) of the last axis of x (..., head_dim), in float32.

    out[2k] = a cos - b sin and out[2k+1] = b cos + a sin. A complex `rotation` broadcasts against x
    seen as (..., head_dim / 2) pairs: one complex product, on a CPU ten times faster than the
    formula in real numbers. A `rotation` in real pairs (`torch.view_as_real`) takes the formula,
    which compilers fuse with the operations around it; they do not support complex numbers.
    """
    pairs = torch.unflatten(x.float(), -1, (-1, 2))
    if rotation.is_complex():
        rotated = torch.view_as_real(torch.view_as_complex(pairs) * rotation)
    else:
        (a, b), (cos, sin) = pairs.unbind(-1), rotation.unbind(-1)
        rotated = torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1)
    return rotated.flatten(-2).type_as(x)
