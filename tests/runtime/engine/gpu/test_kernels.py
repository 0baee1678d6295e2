"""The kernels between products against the plain modules; on a GPU if there is one."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.models.dit.layers import RMSNorm, modulate, normalize_heads
from runtime.models.dit.rope import apply_rope
from runtime.models.fp8.matmul import Fp8Matrix
from runtime.models.fp8.storage import FP8
from tests.support.models.fp8 import dequantized

pytest.importorskip("triton", reason="Triton comes with torch for CUDA on Linux")

from runtime.engine.gpu.kernels import Rows, concat_gelu, modulated_norm, rotated_heads

pytestmark = [pytest.mark.kernels, pytest.mark.slow]
IS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if IS_GPU else "cpu")
FP8_ERROR = 3e-2 if IS_GPU else 7.5e-2  # the interpreter truncates instead of rounding
ROWS, SIZE = 7, 96
HEADS, HEAD_SIZE, ROTATED = 6, 16, 5
TYPES = {torch.float32: 1e-6, torch.bfloat16: 6e-3}
types = pytest.mark.parametrize("dtype", TYPES, ids=str)


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=source).to(DEVICE, dtype)


def relative(found: Rows, expected: Tensor) -> float:
    values = dequantized(found) if isinstance(found, Fp8Matrix) else found.float()
    return float((values - expected.float()).norm() / expected.float().norm())


@types
@pytest.mark.parametrize("to_fp8", [False, True])
def test_rows_are_normalised_and_modulated(dtype: torch.dtype, to_fp8: bool) -> None:
    x, shift, scale = drawn(ROWS, SIZE, dtype=dtype), drawn(SIZE, seed=1), drawn(SIZE, seed=2)
    found = modulated_norm(x, shift.to(dtype), scale.to(dtype), to_fp8)
    expected = modulate(x.float(), shift.to(dtype).float(), scale.to(dtype).float())
    assert relative(found, expected) < (FP8_ERROR if to_fp8 else TYPES[dtype])


@types
def test_what_is_added_changes_the_rows_first(dtype: torch.dtype) -> None:
    x, more = drawn(ROWS, SIZE, dtype=dtype), drawn(ROWS, SIZE, dtype=dtype, seed=1)
    gate, shift, scale = (drawn(SIZE, dtype=dtype, seed=seed) for seed in (2, 3, 4))
    summed = torch.addcmul(x.float(), gate.float(), more.float())
    found = modulated_norm(x, shift, scale, False, (gate, more))
    assert relative(x, summed) < TYPES[dtype]
    assert relative(found, modulate(summed, shift.float(), scale.float())) < 2 * TYPES[dtype]


def expected_heads(qkv: Tensor, q: RMSNorm, k: RMSNorm, rotation: Tensor) -> Tensor:
    """(3, ROWS, HEADS, HEAD_SIZE) by the plain modules."""
    parts = qkv[:, : 3 * HEADS * HEAD_SIZE].float().unflatten(1, (3, HEADS, HEAD_SIZE))[None]
    with torch.no_grad():
        qk = normalize_heads(parts[:, :, :2], q, k)
    rotated = apply_rope(qk[:, :ROTATED], rotation[:, None, None])
    qk = torch.cat((rotated, qk[:, ROTATED:]), dim=1)
    return torch.cat((qk, parts[:, :, 2:]), dim=2)[0].transpose(0, 1)


def norms() -> tuple[RMSNorm, RMSNorm]:
    both = RMSNorm(HEAD_SIZE).to(DEVICE), RMSNorm(HEAD_SIZE).to(DEVICE)
    for seed, norm in enumerate(both):
        norm.weight.data = 1 + 0.2 * drawn(HEAD_SIZE, seed=seed)
    return both


@types
def test_queries_and_keys_are_normalised_and_rotated_into_their_rows(dtype: torch.dtype) -> None:
    qkv = drawn(ROWS, 3 * HEADS * HEAD_SIZE + 20, dtype=dtype)
    (q, k), rotation = norms(), drawn(ROTATED, HEAD_SIZE // 2, 2, seed=5)
    out = torch.zeros(3, ROWS + 3, HEADS, HEAD_SIZE, dtype=dtype, device=DEVICE)
    rotated_heads(qkv, q.weight, k.weight, rotation, out[:, 2 : 2 + ROWS])
    expected = expected_heads(qkv, q, k, rotation)
    assert relative(out[:, 2 : 2 + ROWS], expected) < TYPES[dtype]
    assert torch.equal(out[2, 2 : 2 + ROWS].float(), expected[2])
    assert not out[:, :2].any()
    assert not out[:, 2 + ROWS :].any()


def test_values_are_not_written_without_a_third_part() -> None:
    qkv = drawn(ROWS, 3 * HEADS * HEAD_SIZE)
    (q, k), rotation = norms(), drawn(ROTATED, HEAD_SIZE // 2, 2, seed=5)
    out = torch.zeros(2, ROWS, HEADS, HEAD_SIZE, device=DEVICE)
    rotated_heads(qkv, q.weight, k.weight, rotation, out)
    assert relative(out, expected_heads(qkv, q, k, rotation)[:2]) < 1e-6


def test_heads_in_fp8_are_scaled_first_and_saturate() -> None:
    qkv = drawn(ROWS, 3 * HEADS * HEAD_SIZE)
    qkv[0, -1] = 1e6
    (q, k), rotation = norms(), drawn(ROTATED, HEAD_SIZE // 2, 2, seed=5)
    out = torch.zeros(3, ROWS, HEADS, HEAD_SIZE, dtype=FP8, device=DEVICE)
    inverse = torch.tensor([10.0, 20.0, 30.0], device=DEVICE)
    rotated_heads(qkv, q.weight, k.weight, rotation, out, inverse)
    assert out[2, 0, -1, -1].float() == 448
    expected = expected_heads(qkv, q, k, rotation)
    expected[2, 0, -1, -1] = 448 / 30
    assert relative(out.float() / inverse[:, None, None, None], expected) < FP8_ERROR


@types
@pytest.mark.parametrize("to_fp8", [False, True])
@pytest.mark.parametrize("parts", ["both", "attention", "inner"])
def test_attention_and_gelu_lie_side_by_side(dtype: torch.dtype, to_fp8: bool, parts: str) -> None:
    attn, wide = drawn(ROWS, SIZE, dtype=dtype), drawn(ROWS, 5 * SIZE, dtype=dtype, seed=1)
    inner = wide[:, SIZE:]
    given = {"both": (attn, inner), "attention": (attn, None), "inner": (None, inner)}[parts]
    shown = [] if given[0] is None else [attn.float()]
    shown += [] if given[1] is None else [F.gelu(inner.float(), approximate="tanh")]
    found = concat_gelu(*given, to_fp8)
    assert relative(found, torch.cat(shown, dim=1)) < (FP8_ERROR if to_fp8 else TYPES[dtype])


def test_attention_in_fp8_is_read_by_its_scale() -> None:
    attn = Fp8Matrix(drawn(ROWS, SIZE).to(FP8), torch.tensor(0.25, device=DEVICE))
    inner = drawn(ROWS, 4 * SIZE, seed=1)
    expected = torch.cat((dequantized(attn), F.gelu(inner, approximate="tanh")), dim=1)
    assert relative(concat_gelu(attn, inner, True), expected) < FP8_ERROR


def test_a_row_of_zeros_stays_zero_in_fp8() -> None:
    found = concat_gelu(torch.zeros(2, SIZE, device=DEVICE), None, True)
    assert isinstance(found, Fp8Matrix)
    assert not dequantized(found).any()
