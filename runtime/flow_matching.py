"""Flow matching: x_sigma = (1 - sigma) * clean + sigma * noise, velocity = noise - clean.

Noise levels and Euler step are those of the release (its flow-match discrete scheduler: evenly
spaced levels bent by a shift, no special last step).
"""

import torch
from torch import Tensor

TIMESTEPS = 1000  # the denoiser's `t` is 1000 * sigma


def noise_levels(steps: int, flow_shift: float) -> Tensor:
    """Sigmas from 1 (noise) to 0 (clean): float32 (steps + 1,)."""
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float32)
    return flow_shift * even / (1 + (flow_shift - 1) * even)


def euler_step(latents: Tensor, velocity: Tensor, sigma: Tensor, next_sigma: Tensor) -> Tensor:
    """Latents at `sigma` moved along `velocity` to `next_sigma`, in float32."""
    return latents.float() + velocity.float() * (next_sigma - sigma)


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Clean latents brought to noise level `sigma`."""
    return (1 - sigma) * clean + sigma * noise


def noise_of_latent(seed: int, latent: int, shape: tuple[int, int, int]) -> Tensor:
    """Standard normal noise (C, H, W) of one latent frame of the stream, any integer `latent`.

    Depends on (seed, latent) only, so no cut of the stream and no rewind changes it.
    """
    key = (seed * 0x9E3779B97F4A7C15 + latent * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
    generator = torch.Generator().manual_seed(key)
    return torch.randn(shape, generator=generator)
