"""FP8 products against the same product of what is stored, and against the float32 product."""

import pytest
import torch
from torch import Tensor

from runtime.errors import BadInput
from runtime.models.fp8.matmul import FP8, Fp8Matrix, fits, fp8_linear, product, quantize
from tests.support.models.fp8 import dequantized

ROUNDED_TO_BF16 = 4e-3  # half a bfloat16 step, relative
QUANTIZED = 5e-2  # two factors of 3 mantissa bits: about 2.5 % each, independent


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("left_by_row", [True, False])
@pytest.mark.parametrize("right_by_row", [True, False])
def test_a_product_is_that_of_the_stored_values(left_by_row: bool, right_by_row: bool) -> None:
    left, right = (
        quantize(noise(40, 64), left_by_row),
        quantize(noise(48, 64, seed=1), right_by_row),
    )
    expected = dequantized(left) @ dequantized(right).T
    assert error(product(left, right), expected) < ROUNDED_TO_BF16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_linear_layer_keeps_shape_and_dtype_and_comes_near_float32(dtype: torch.dtype) -> None:
    x, weight, bias = noise(2, 5, 64).to(dtype), noise(32, 64, seed=1), noise(32, seed=2)
    found = fp8_linear(x, quantize(weight), bias)
    assert found.shape == (2, 5, 32)
    assert found.dtype == dtype
    assert error(found, torch.nn.functional.linear(x.float(), weight, bias)) < QUANTIZED


def test_rows_of_any_size_are_stored_equally_well() -> None:
    sizes = torch.tensor([1e-6, 1.0, 1e4])[:, None]
    x = noise(3, 64) * sizes
    stored = dequantized(quantize(x))
    for row in range(3):
        assert error(stored[row], x[row]) < 4e-2


def test_a_row_of_zeros_stays_zero() -> None:
    assert not dequantized(quantize(torch.zeros(2, 16))).any()


def test_a_calibrated_scale_saturates_rather_than_overflows() -> None:
    weight = quantize(torch.eye(16))
    found = fp8_linear(torch.full((1, 16), 1e6), weight, x_scale=torch.tensor(1.0))
    torch.testing.assert_close(found, torch.full((1, 16), 448.0), rtol=ROUNDED_TO_BF16, atol=0.0)


def test_weights_that_do_not_fit_the_kernels_are_known() -> None:
    assert fits(64, 3072)
    assert not fits(64, 40)


def test_matrices_of_another_kind_are_refused() -> None:
    with pytest.raises(BadInput, match="two axes"):
        Fp8Matrix(torch.zeros(4, 16), torch.tensor(1.0))
    with pytest.raises(BadInput, match="float32"):
        Fp8Matrix(torch.zeros(4, 16).to(FP8), torch.tensor(1.0).half())
    with pytest.raises(BadInput, match=r"expected \(\) or \(4, 1\)"):
        Fp8Matrix(torch.zeros(4, 16).to(FP8), torch.ones(3, 1))
