"""Float8 linears on data that the official converter produced."""

import pytest
import torch

from runtime.models.fp8.storage import FP8, Fp8Linear, quantize
from tests.support.released.golden import GOLDEN, GoldenCase, case_names

CASES = case_names("fp8")


@pytest.fixture(params=CASES)
def case(request):
    return GoldenCase.load("fp8", request.param)


@pytest.fixture
def linear(case):
    out_features, in_features = case.tensors["weight_fp8"].shape
    linear = Fp8Linear(in_features, out_features)
    names = {"weight": "weight_fp8", "bias": "bias", "weight_scale": "fp8_scale"}
    linear.load_state_dict({ours: case.tensors[theirs] for ours, theirs in names.items()})
    return linear


def test_there_are_golden_cases():
    assert CASES, f"no fp8/*.safetensors in {GOLDEN}"


def test_quantizing_gives_the_releases_weight_and_scale(case):
    weight, scale = quantize(case.tensors["weight_fp32_source"])
    torch.testing.assert_close(scale, case.tensors["fp8_scale"], rtol=1e-6, atol=0)
    assert torch.equal(weight.float(), case.tensors["weight_fp8"].float())


def test_the_weight_stays_float8(linear):
    assert linear.weight.dtype == FP8


def test_a_product_in_float32_equals_the_releases(case, linear):
    torch.testing.assert_close(linear(case.tensors["x"]), case.tensors["y_fp32"], rtol=0, atol=1e-5)


def test_a_product_in_bfloat16_equals_the_releases(case, linear):
    y = linear(case.tensors["x"].bfloat16())
    torch.testing.assert_close(y, case.tensors["y_bf16"], rtol=0, atol=2e-2)


def test_under_autocast_the_weight_is_dequantised_to_its_dtype(case, linear):
    with torch.autocast("cpu", torch.bfloat16):
        y = linear(case.tensors["x"])
    assert torch.equal(y, linear(case.tensors["x"].bfloat16()))
