"""The choice of attention kernel, and rotations written in real numbers for compilers."""

import pytest
import torch
from torch.nn.attention import SDPBackend

from runtime.models.dit.attention import fastest_kernel, kernels
from runtime.models.dit.blocks import attend
from runtime.models.dit.rope import apply_rope, rope_freqs, rotations


@pytest.mark.parametrize("is_masked", [False, True])
def test_cudnn_comes_first_for_16_bit_numbers(is_masked: bool) -> None:
    assert kernels(torch.bfloat16, is_masked)[0] == SDPBackend.CUDNN_ATTENTION


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_masked", [False, True])
def test_the_kernel_that_writes_out_all_scores_is_never_chosen(
    dtype: torch.dtype, is_masked: bool
) -> None:
    assert SDPBackend.MATH not in kernels(dtype, is_masked)


def test_flash_attention_is_not_used_with_masks() -> None:
    assert SDPBackend.FLASH_ATTENTION not in kernels(torch.bfloat16, is_masked=True)


def test_on_a_cpu_torch_selects_the_kernel() -> None:
    q = torch.randn(1, 1, 4, 8)
    with fastest_kernel(q, None):
        found = torch.nn.functional.scaled_dot_product_attention(q, q, q)
    expected = torch.softmax(q @ q.mT * 8**-0.5, dim=-1) @ q
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_rotating_real_pairs_equals_the_complex_product() -> None:
    rotation = rotations(*rope_freqs(2, 3, 4, (4, 6, 6)))[:, None, None]
    x = torch.randn(2, 36, 2, 3, 16)
    written_out = apply_rope(x, torch.view_as_real(rotation))
    torch.testing.assert_close(written_out, apply_rope(x, rotation), atol=1e-6, rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("is_masked", [False, True])
def test_the_chosen_kernel_agrees_with_float32_on_a_gpu(is_masked: bool) -> None:
    qk, v = torch.randn(1, 256, 2, 4, 128), torch.randn(1, 256, 4, 128)
    mask = torch.ones(1, 1, 256, 256, dtype=torch.bool).tril() if is_masked else None
    expected = attend(qk, v, mask)
    on_gpu = attend(
        qk.bfloat16().cuda(), v.bfloat16().cuda(), None if mask is None else mask.cuda()
    )
    error = (on_gpu.float().cpu() - expected).norm() / expected.norm()
    assert error < 2e-2  # bfloat16 inputs
