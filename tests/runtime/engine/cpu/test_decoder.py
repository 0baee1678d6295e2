"""The CPU decoder computes the module's function."""

import pytest
import torch
from torch import Tensor

from runtime.engine.choice import open_engines
from runtime.engine.cpu.decoder import CpuDecoder
from runtime.engine.kinds import EngineChoice
from runtime.errors import Unsupported
from runtime.models.autoencoder.autoencoder import Autoencoder
from runtime.weights.checkpoint import load_builtin
from tests.support.engines.exported import SHAPE
from tests.support.models.small_world import small_model

Pixels = tuple[int, int]


def random_autoencoder(seed: int = 0) -> Autoencoder:
    """One in which every parameter matters, biases and scaling included."""
    torch.manual_seed(seed)
    autoencoder = Autoencoder(small_model().autoencoder.config).requires_grad_(False).eval()
    for name, tensor in autoencoder.decoder.named_parameters():
        tensor.add_(0.1 * torch.randn_like(tensor) if "bias" in name else 0)
    autoencoder.decoder.flow.weight.mul_(50)
    autoencoder.latent_mean.normal_()
    autoencoder.latent_std.mul_(0.7)
    return autoencoder


def smooth_picture(size: Pixels) -> Tensor:
    """(1, 3, H, W). In float32 a position is exact to 1e-5 px, which a hard edge would show."""
    coarse = torch.rand(1, 3, size[0] // 8, size[1] // 8) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


@pytest.mark.parametrize("size", [(64, 64), (48, 80)], ids=["square", "wide"])
@torch.inference_mode()
def test_it_equals_the_module(size: Pixels) -> None:
    autoencoder = random_autoencoder()
    state = autoencoder.start(smooth_picture(size))
    decoder, cpu_state = CpuDecoder(autoencoder), state
    for _ in range(3):
        latent = state.previous + 0.5 * torch.randn_like(state.previous)
        expected, state = autoencoder.decode(latent, state)
        found, cpu_state = decoder.decode(latent, cpu_state)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@torch.inference_mode()
def test_it_equals_the_module_with_trained_weights() -> None:
    autoencoder = load_builtin().autoencoder
    torch.manual_seed(0)
    state = autoencoder.start(smooth_picture((256, 256)))
    latent = state.previous + 0.5 * torch.randn_like(state.previous)
    expected, _ = autoencoder.decode(latent, state)
    found, _ = CpuDecoder(autoencoder).decode(latent, state)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@torch.inference_mode()
def test_decoding_again_from_an_old_state_gives_the_same_frames() -> None:
    autoencoder = random_autoencoder()
    state = autoencoder.start(smooth_picture((64, 64)))
    latents = [state.previous + torch.randn_like(state.previous) for _ in range(3)]
    decoder = CpuDecoder(autoencoder)
    _, after_one = decoder.decode(latents[0], state)
    first, _ = decoder.decode(latents[1], after_one)
    decoder.decode(latents[2], after_one)
    again, _ = decoder.decode(latents[1], after_one)
    assert torch.equal(first, again)


@torch.inference_mode()
def test_several_streams_at_once_are_refused() -> None:
    autoencoder = random_autoencoder()
    state = autoencoder.start(smooth_picture((64, 64)).repeat(2, 1, 1, 1))
    with pytest.raises(Unsupported, match="torch-eager"):
        CpuDecoder(autoencoder).decode(state.previous, state)


def test_it_is_the_decoder_of_a_cpu_unless_another_is_named() -> None:
    model = small_model()
    assert isinstance(open_engines(EngineChoice(), model, SHAPE).decoder, CpuDecoder)
    eager = open_engines(EngineChoice("torch-eager"), model, SHAPE)
    assert eager.decoder is model.autoencoder
