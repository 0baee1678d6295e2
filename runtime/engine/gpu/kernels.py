"""Three Triton kernels for everything between a large transformer's matrix products on a GPU.

A product reads its input once and writes its output once; everything else should pass over memory
once as well. One kernel adds a residual, normalises, modulates and rounds to FP8, with the row in
registers. The second normalises and rotates queries and keys. The third writes attention beside
GELU and rounds both.

Rows are tokens. An FP8 result is an `Fp8Matrix` with one scale for each row. Sums and norms are in
float32, whatever the tensors' type.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from runtime.models.dit.layers import NORM_EPS, SQRT_2_OVER_PI
from runtime.models.fp8.matmul import SMALLEST_AMPLITUDE, Fp8Matrix
from runtime.models.fp8.storage import FP8, FP8_MAX

Rows = Tensor | Fp8Matrix
"""(M, K): the left side of a product."""

WIDEST_CHUNK = 1024  # of a row that is no power of two long
LARGEST = tl.constexpr(FP8_MAX)
SMALLEST = tl.constexpr(SMALLEST_AMPLITUDE)
EPS = tl.constexpr(NORM_EPS)
SLOPE = tl.constexpr(2 * SQRT_2_OVER_PI)
BEND = tl.constexpr(2 * SQRT_2_OVER_PI * 0.044715)


def modulated_norm(
    x: Tensor,
    shift: Tensor,
    scale: Tensor,
    to_fp8: bool,
    residual: tuple[Tensor, Tensor] | None = None,
) -> Rows:
    """LayerNorm of x (M, D) without weights, times 1 + scale (D,) plus shift (D,).

    With `residual`, a gate (D,) and a branch (M, D), x first becomes x + gate * branch, in place.
    """
    size = x.shape[1]
    out, scales = _result(len(x), size, x, to_fp8)
    gate, branch = (x, x) if residual is None else residual
    block = triton.next_power_of_2(size)
    _modulated_norm[(len(x),)](
        x, branch, gate, shift, scale, out, scales, size, residual is not None, to_fp8, block,
        num_warps=_warps(block),
    )  # fmt: skip
    return Fp8Matrix(out, scales) if to_fp8 else out


def rotated_heads(
    qkv: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    rotation: Tensor,
    out: Tensor,
    inverse_scales: Tensor | None = None,
) -> None:
    """Queries and keys of qkv (M, at least 3 * heads * head_dim), RMS-normalised and rotated.

    `rotation` (R, head_dim / 2, 2) float32 rotates the first R rows; the others stay unrotated.
    `out` (2 or 3, M, heads, head_dim), possibly rows of a larger tensor, receives queries, keys
    and, if it has a third part, unchanged values. For an FP8 `out`, numbers are multiplied by
    `inverse_scales` (3,) before rounding. head_dim is a power of two.
    """
    parts, rows, count, size = out.shape
    group = _divisor(count, 8)
    to_fp8 = inverse_scales is not None
    _rotated_heads[(rows, parts * count // group)](
        qkv, qkv.stride(0), q_weight, k_weight, rotation, len(rotation),
        out, out.stride(0), out.stride(1), inverse_scales if to_fp8 else q_weight,
        count, size, group, to_fp8, num_warps=_warps(group * size),
    )  # fmt: skip


def concat_gelu(attn: Rows | None, inner: Tensor | None, to_fp8: bool) -> Rows:
    """attn (M, A) beside the tanh GELU of inner (M, F): (M, A + F). One of them may be None.

    An attn in FP8 has one scale for the whole matrix.
    """
    kept = attn.values if isinstance(attn, Fp8Matrix) else attn
    present = [each for each in (kept, inner) if each is not None]
    first, last = present[0], present[-1]
    width, size = 0 if kept is None else kept.shape[1], sum(each.shape[1] for each in present)
    like = last if inner is not None else first
    out, scales = _result(len(first), size, like, to_fp8)
    chunk = _divisor(size, WIDEST_CHUNK)
    chunks = triton.next_power_of_2(size // chunk)
    _concat_gelu[(len(first),)](
        first, first.stride(0), attn.scale if isinstance(attn, Fp8Matrix) else first,
        last, last.stride(0), out, scales, width, size, isinstance(attn, Fp8Matrix),
        to_fp8, chunk, chunks, num_warps=_warps(chunk * chunks),
    )  # fmt: skip
    return Fp8Matrix(out, scales) if to_fp8 else out


def _result(rows: int, columns: int, like: Tensor, to_fp8: bool) -> tuple[Tensor, Tensor]:
    """Memory for a result and for the scales of its rows."""
    out = like.new_empty(rows, columns, dtype=FP8 if to_fp8 else like.dtype)
    return out, like.new_empty(rows if to_fp8 else 1, 1, dtype=torch.float32)


def _warps(values: int) -> int:
    """Warps of a program that holds so many values: a wide one has 32 values a thread."""
    return min(16, max(1, values // 1024))


def _divisor(value: int, largest: int) -> int:
    """The largest power of two up to `largest` that divides the value."""
    return min(largest, value & -value)


@triton.jit
def _store(out, scales, row, at, inside, values, SIZE: tl.constexpr, FP8: tl.constexpr):
    """Writes a row; FP8 numbers are divided by its scale."""
    if FP8:
        scale = tl.maximum(tl.max(tl.abs(values)), SMALLEST) / LARGEST
        tl.store(scales + row, scale)
        values = tl.minimum(tl.maximum(values / scale, -LARGEST), LARGEST)
    tl.store(out + row * SIZE + at, values.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _modulated_norm(
    x, branch, gate, shift, scale, out, scales,
    SIZE: tl.constexpr, ADDS: tl.constexpr, FP8: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < SIZE
    values = tl.load(x + row * SIZE + at, mask=inside, other=0.0).to(tl.float32)
    if ADDS:
        more = tl.load(branch + row * SIZE + at, mask=inside, other=0.0).to(tl.float32)
        by = tl.load(gate + at, mask=inside, other=0.0).to(tl.float32)
        rounded = (values + by * more).to(x.dtype.element_ty)
        tl.store(x + row * SIZE + at, rounded, mask=inside)
        values = rounded.to(tl.float32)
    centred = tl.where(inside, values - tl.sum(values) / SIZE, 0.0)
    values = centred * tl.rsqrt(tl.sum(centred * centred) / SIZE + EPS)
    up = tl.load(scale + at, mask=inside, other=0.0).to(tl.float32)
    onto = tl.load(shift + at, mask=inside, other=0.0).to(tl.float32)
    _store(out, scales, row, at, inside, values * (1.0 + up) + onto, SIZE, FP8)


@triton.jit
def _rotated_heads(
    qkv, qkv_stride, q_weight, k_weight, rotation, rotated,
    out, part_stride, row_stride, inverse_scales,
    HEADS: tl.constexpr, SIZE: tl.constexpr, GROUP: tl.constexpr, FP8: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1) // (HEADS // GROUP)
    first = tl.program_id(1) % (HEADS // GROUP) * GROUP
    at = (first + tl.arange(0, GROUP))[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    values = tl.load(qkv + row * qkv_stride + part * HEADS * SIZE + at).to(tl.float32)
    if part < 2:
        weight = q_weight if part == 0 else k_weight
        weights = tl.load(weight + tl.arange(0, SIZE)).to(tl.float32)
        squares = tl.sum(values * values, axis=1, keep_dims=True) / SIZE
        values = values * tl.rsqrt(squares + EPS) * weights[None, :]
        pairs = tl.arange(0, SIZE // 2)
        angle = rotation + row * SIZE + 2 * pairs
        cos = tl.load(angle, mask=row + 0 * pairs < rotated, other=1.0)[None, :]
        sin = tl.load(angle + 1, mask=row + 0 * pairs < rotated, other=0.0)[None, :]
        a, b = tl.split(tl.reshape(values, (GROUP, SIZE // 2, 2)))
        both = tl.join(a * cos - b * sin, b * cos + a * sin)
        values = tl.reshape(both, (GROUP, SIZE))
    if FP8:
        values = values * tl.load(inverse_scales + part)
        values = tl.minimum(tl.maximum(values, -LARGEST), LARGEST)
    place = out + part * part_stride + row * row_stride + at
    tl.store(place, values.to(out.dtype.element_ty))


@triton.jit
def _concat_gelu(
    attn, attn_stride, attn_scale, inner, inner_stride, out, scales,
    KEPT: tl.constexpr, SIZE: tl.constexpr, FROM_FP8: tl.constexpr, FP8: tl.constexpr,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, CHUNKS)[:, None] * CHUNK + tl.arange(0, CHUNK)[None, :]
    inside = at < SIZE
    values = tl.load(
        inner + row * inner_stride + at - KEPT, mask=inside & (at >= KEPT), other=0.0
    ).to(tl.float32)
    values = values * tl.sigmoid(values * (SLOPE + BEND * values * values))
    if KEPT > 0:
        kept = tl.load(attn + row * attn_stride + at, mask=at < KEPT, other=0.0).to(tl.float32)
        if FROM_FP8:
            kept *= tl.load(attn_scale)
        values = tl.where(at < KEPT, kept, values)
    _store(out, scales, row, at, inside, values, SIZE, FP8)
