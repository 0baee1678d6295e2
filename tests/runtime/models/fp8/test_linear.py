"""FP8 products in the transformer against the release's dequantised ones."""

import pytest
import torch

from runtime.errors import Unsupported
from runtime.models.dit.dit import DiT
from runtime.models.fp8.linear import ScaledFp8Linear, use_scaled_products
from runtime.models.fp8.storage import Fp8Linear, block_linears, quantize, use_fp8
from tests.support.models.small_dit import H, T, W, conditioning, random_dit

QUANTIZED = 6e-2  # the bound for an FP8 block: activations with 3 bits of mantissa


def fp8_dit() -> DiT:
    """A random transformer whose blocks hold FP8 weights."""
    dit = random_dit()
    weights = {name: linear for name, linear in block_linears(dit).items()}
    use_fp8(dit)
    for name, linear in weights.items():
        held = dit.get_submodule(name)
        assert isinstance(held, Fp8Linear)
        held.weight.data, held.weight_scale = quantize(linear.weight)
        if linear.bias is not None:
            held.bias = linear.bias
    return dit.requires_grad_(False)


def test_velocities_come_near_the_dequantised_ones() -> None:
    exact, scaled = fp8_dit(), fp8_dit()
    use_scaled_products(scaled)
    x, t = torch.randn(1, 16, T, H, W), torch.tensor([500.0])
    expected = exact(x, t, conditioning())
    error = (scaled(x, t, conditioning()) - expected).norm() / expected.norm()
    assert 0 < error < QUANTIZED


def test_weights_are_shared_under_the_same_names() -> None:
    dit = fp8_dit()
    before = dict(dit.named_parameters())
    use_scaled_products(dit)
    assert before.keys() == dict(dit.named_parameters()).keys()
    assert all(parameter is before[name] for name, parameter in dit.named_parameters())


def test_a_compiler_takes_the_product_whole() -> None:
    linear = ScaledFp8Linear(32, 16)
    linear.weight.data, linear.weight_scale = quantize(torch.randn(16, 32))
    x = torch.randn(3, 32)
    whole = torch.compile(linear, fullgraph=True, backend="eager")
    assert torch.equal(whole(x), linear(x))


def test_a_model_without_fp8_weights_is_refused() -> None:
    with pytest.raises(Unsupported, match="no FP8 weights"):
        use_scaled_products(random_dit())


def test_a_weight_of_a_wrong_size_is_named() -> None:
    with pytest.raises(Unsupported, match=r"0 is \(10, 32\)"):
        use_scaled_products(torch.nn.Sequential(Fp8Linear(32, 10)))
