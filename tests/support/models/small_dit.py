"""A narrow transformer with random weights, and inputs for it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from runtime.models.dit.conditioning import Conditioning
from runtime.models.dit.config import DiTConfig, Injection
from runtime.models.dit.dit import DiT
from runtime.models.dit.rope import rope_freqs
from tests.support.models.small_model import SMALL_DIT

# Without the modules that this project adds to the official model.
SMALL_OFFICIAL = replace(
    SMALL_DIT,
    refiner_blocks=2,
    emotion=False,
    motion_cues=0,
    frame_maps=False,
    prediction="velocity",
)
# Narrower inputs than SMALL_DIT's, all of other sizes.
SMALL = replace(
    SMALL_DIT,
    audio_steps=2,
    audio_layers=2,
    audio_dim=4,
    audio_hidden=16,
    adapter_dim=24,
    motion_cues=3,
    prediction="velocity",
)
INJECTIONS: tuple[Injection, ...] = ("token", "channel", "add")
every_injection = pytest.mark.parametrize("injection", INJECTIONS)

T, H, W = 2, 4, 8
TOKENS = (H // 2) * (W // 2)
FRAMES = 4 * T
ALIKE = {"atol": 2e-5, "rtol": 1e-5}  # float32 sums in another order


def random_dit(config: DiTConfig = SMALL, seed: int = 0) -> DiT:
    """A model in which every weight matters (a fresh one predicts zero)."""
    generator = torch.Generator().manual_seed(seed)
    dit = DiT(config).eval()
    with torch.no_grad():
        for parameter in dit.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return dit


def conditioning(
    speakers: int = 1, batch: int = 1, config: DiTConfig = SMALL, seed: int = 1
) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    cos, sin = rope_freqs(T, H // 2, W // 2, config.rope_dims, config.rope_theta)
    frames = config.audio_frame_count(T)
    features = (config.audio_steps, config.audio_layers, config.audio_dim)
    return Conditioning(
        text_states=noise(batch, 3, config.text_dim),
        text_mask=None,
        pooled_text=noise(batch, config.pooled_text_dim),
        ref_latents=noise(batch, config.in_channels, T, H, W),
        audio=noise(batch, speakers, frames, *features),
        face_masks=torch.ones(batch, speakers, 1, H, W) / speakers,
        motion_exp=torch.full((batch, 4), 30),
        motion_pose=torch.full((batch, 4), 25),
        fps=torch.full((batch,), 25.0),
        freqs_cos=cos,
        freqs_sin=sin,
        cues=noise(batch, speakers, frames, config.motion_cues) if config.motion_cues else None,
    )


def halves(batch: int = 1) -> Tensor:
    """Masks (B, 2, 1, H, W) of two speakers, left and right."""
    masks = torch.zeros(batch, 2, 1, H, W)
    masks[:, 0, ..., : W // 2] = 1
    masks[:, 1, ..., W // 2 :] = 1
    return masks


def noisy(batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, SMALL.in_channels, T, H, W, generator=generator)
    return x, torch.linspace(300.0, 700.0, batch)


def with_emotion(cond: Conditioning, scale: float = 1.0) -> Conditioning:
    batch, speakers = cond.audio.shape[:2]
    generator = torch.Generator().manual_seed(4)
    latents = torch.randn(batch, speakers, SMALL.in_channels, H, W, generator=generator)
    strength = torch.full((batch, speakers), scale)
    return replace(cond, emotion_latents=latents, emotion_scale=strength)
