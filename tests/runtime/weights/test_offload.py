"""Weights that take turns on the device compute what weights that stay there compute."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from runtime.models.dit.conditioning import Conditioning
from runtime.models.dit.dit import DiT
from runtime.models.dit.rope import rope_freqs
from runtime.models.fp8.storage import use_fp8
from runtime.weights.offload import LayerOffload, turns_of
from tests.support.models.small_dit import SMALL_OFFICIAL

CONFIG = replace(
    SMALL_OFFICIAL,
    double_blocks=3,
    single_blocks=4,
    audio_dim=4,
    audio_hidden=16,
    adapter_dim=16,
)
FRAMES, SIDE = 2, 4


def small_dit() -> DiT:
    """Random weights in which everything has an effect."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = DiT(CONFIG).eval().requires_grad_(False)
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return model


def conditions(device: str) -> Conditioning:
    random = torch.Generator().manual_seed(1)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(device)

    cos, sin = rope_freqs(FRAMES, SIDE // 2, SIDE // 2, CONFIG.rope_dims)
    return Conditioning(
        text_states=some(1, 3, 8),
        text_mask=None,
        pooled_text=some(1, 8),
        ref_latents=some(1, 16, FRAMES, SIDE, SIDE),
        audio=some(1, 1, 4 * FRAMES - 3, 10, 5, 4),
        face_masks=torch.ones(1, 1, 1, SIDE, SIDE, device=device),
        motion_exp=torch.full((1, 4), 30, device=device),
        motion_pose=torch.full((1, 4), 25, device=device),
        fps=torch.full((1,), 25.0, device=device),
        freqs_cos=cos.to(device),
        freqs_sin=sin.to(device),
    )


@torch.inference_mode()
def outputs(model: DiT, device: str = "cpu") -> list[Tensor]:
    """Three steps of two windows, and a step that only runs the last block."""
    told = conditions(device)
    x = torch.randn(1, 16, FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    x = x.to(device)
    found = []
    for t in (1000.0, 600.0, 200.0):
        step = model.prepare_step(torch.full((1,), t, device=device), told)
        for scale in (1.0, 0.5):
            window = model.prepare_window(replace(told, audio=told.audio * scale), FRAMES)
            hidden = model.hidden_before_last(x, step, window)
            found += [model.finish(hidden, x, step, window), model.finish(hidden, x, step, window)]
    return [tensor.cpu() for tensor in found]


@pytest.fixture
def offloaded() -> Iterator[DiT]:
    model = small_dit()
    turns = LayerOffload(model, turns_of(model), torch.device("cpu"))
    yield model
    turns.close()


def test_taking_turns_changes_no_bit(offloaded: DiT) -> None:
    for found, expected in zip(outputs(offloaded), outputs(small_dit()), strict=True):
        assert torch.equal(found, expected)


def test_float8_weights_take_turns_with_their_scales() -> None:
    def in_fp8() -> DiT:
        model = small_dit()
        use_fp8(model)
        for name, tensor in model.named_parameters():
            if tensor.dtype == torch.float8_e4m3fn:
                random = torch.Generator().manual_seed(len(name))
                tensor.data = torch.randn(tensor.shape, generator=random).to(tensor.dtype)
        for number, (_, scale) in enumerate(model.named_buffers()):
            scale.fill_(0.01 + 0.001 * number)
        return model

    expected = outputs(in_fp8())
    model = in_fp8()
    turns = LayerOffload(model, turns_of(model), torch.device("cpu"))
    for found, wanted in zip(outputs(model), expected, strict=True):
        assert torch.equal(found, wanted)
    turns.close()


def test_every_weight_is_home_between_calls(offloaded: DiT) -> None:
    outputs(offloaded)
    for name, tensor in small_dit().state_dict().items():
        assert torch.equal(offloaded.state_dict()[name], tensor), name


def test_a_model_computes_without_turns_once_they_are_closed() -> None:
    model = small_dit()
    turns = LayerOffload(model, turns_of(model), torch.device("cpu"))
    expected = outputs(model)
    turns.close()
    for found, wanted in zip(outputs(model), expected, strict=True):
        assert torch.equal(found, wanted)


def test_a_call_that_fails_leaves_the_weights_home(offloaded: DiT) -> None:
    with pytest.raises(ValueError, match="unpack"):
        offloaded.single_blocks[0](torch.zeros(1), torch.zeros(1), torch.zeros(1), None)
    for name, tensor in small_dit().state_dict().items():
        assert torch.equal(offloaded.state_dict()[name], tensor), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_turns_on_a_gpu_change_no_bit_and_hold_two_parts_at_most() -> None:
    expected = outputs(small_dit().cuda(), "cuda")
    model = small_dit()
    turns = LayerOffload(model, turns_of(model), torch.device("cuda"))
    for found, wanted in zip(outputs(model, "cuda"), expected, strict=True):
        assert torch.equal(found, wanted)
    on_device = [t for part in turns_of(model) for t in part.parameters() if t.is_cuda]
    assert not on_device
    turns.close()
