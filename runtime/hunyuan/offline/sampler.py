"""The released offline sampler: every step covers the whole clip with windows that wrap around.

    clip = start_clip(noise, plan)
    while clip.step < settings.steps:
        clip = advance(clip, denoiser, plan, settings)

Noise levels and Euler step come from `runtime/flow_matching.py`, windows and ramps from
`schedule.py`. All windows of a step read the latents of the step before; overlapping results are
averaged. Checked against tensors of the official pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from runtime.errors import BadInput
from runtime.flow_matching import TIMESTEPS, euler_step, noise_levels
from runtime.hunyuan.offline.schedule import ReleasePlan, ReleaseWindow, guidance_at, latents_drawn

Velocities = Callable[[Tensor, ReleaseWindow], Tensor]


class WindowDenoiser(Protocol):
    """The model, as the sampler calls it."""

    def at_step(self, step: int, t: Tensor) -> Velocities:
        """A function that gives the velocities of any window at timestep t (), 0 .. 1000.

        It takes latents (1, C, f, H, W) of the window. With guidance it returns (2, C, f, H, W),
        unconditioned and conditioned; without guidance (1, C, f, H, W), conditioned.
        """
        ...


@dataclass(frozen=True, slots=True)
class OfflineSettings:
    """The release's sampling options, with the defaults of its scripts.

    A guidance scale of 1 or less computes only the conditioned half. The result of every Euler step
    is rounded to `rounding`; None: not at all.
    """

    steps: int = 50
    guidance_scale: float = 7.5
    flow_shift: float = 5.0
    rounding: torch.dtype | None = torch.bfloat16

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadInput(f"steps is {self.steps}. Use 1 or more.", param="steps")
        if not math.isfinite(self.guidance_scale):
            raise BadInput(
                f"guidance_scale is {self.guidance_scale}. Use a number; 1 or less is no guidance.",
                param="guidance_scale",
            )
        if not 0 < self.flow_shift < math.inf:
            raise BadInput(f"flow_shift is {self.flow_shift}. Use more than 0.", param="flow_shift")

    @property
    def is_guided(self) -> bool:
        return self.guidance_scale > 1


@dataclass(frozen=True, slots=True)
class Clip:
    """Latents (1, C, l, H, W) after `step` steps."""

    step: int
    latents: Tensor


def draw_noise(
    audio_frames: int,
    frame_shape: tuple[int, int, int],
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float16,
) -> Tensor:
    """Standard normal noise (1, C, l, H, W) for padded `audio_frames`; frame_shape is (C, H, W).

    Equal to the release's noise if the device is of the same kind and the dtype is that of its text
    encoder, half precision: the release draws on that device, and one clip block more than a short
    clip uses.
    """
    channels, height, width = frame_shape
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(
        (1, channels, latents_drawn(audio_frames), height, width),
        generator=generator,
        device=device,
        dtype=dtype,
    )


def start_clip(noise: Tensor, plan: ReleasePlan) -> Clip:
    """The clip before the first step. If the plan covers less than the noise, its start is used."""
    return Clip(0, noise[:, :, : plan.length])


@torch.inference_mode()
def advance(
    clip: Clip, denoiser: WindowDenoiser, plan: ReleasePlan, settings: OfflineSettings
) -> Clip:
    """The clip after one more step."""
    step = clip.step
    sigmas = noise_levels(settings.steps, settings.flow_shift).to(clip.latents.device)
    scale = guidance_at(step, settings.steps, settings.guidance_scale)
    velocities = denoiser.at_step(step, TIMESTEPS * sigmas[step])

    def denoised(window: ReleaseWindow) -> Tensor:
        latents = clip.latents[:, :, list(window.latents)]
        velocity = guide(velocities(latents, window), scale)
        stepped = euler_step(latents, velocity, sigmas[step], sigmas[step + 1])
        return stepped if settings.rounding is None else stepped.to(settings.rounding)

    return Clip(step + 1, fuse(clip.latents, plan, step, denoised))


def guide(velocities: Tensor, scale: float) -> Tensor:
    """The guided velocity (1, ...) from the velocities of `WindowDenoiser`."""
    if velocities.shape[0] == 1:
        return velocities
    without, conditioned = velocities.chunk(2)
    return without + scale * (conditioned - without)


def fuse(
    latents: Tensor, plan: ReleasePlan, step: int, denoised: Callable[[ReleaseWindow], Tensor]
) -> Tensor:
    """The mean of the `denoised` windows of the step, in the latents' dtype."""
    total = torch.zeros_like(latents)
    for window in plan.windows(step):
        total[:, :, list(window.latents)] += denoised(window).to(latents.dtype)
    counts = torch.tensor(plan.counts(step), dtype=latents.dtype, device=latents.device)
    return total / counts[:, None, None]
