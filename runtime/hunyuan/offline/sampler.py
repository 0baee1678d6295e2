"""The released offline sampling: every step covers the whole clip with wrapping windows.

    clip = start_clip(noise, plan)
    while clip.step < settings.steps:
        clip = advance(clip, denoiser, plan, settings)

Noise levels and Euler step are those of `runtime/flow_matching.py`, windows and ramps those of
`plan.py`.
All windows of a step read the latents that the step before left; where they overlap their results
are averaged. Checked against tensors of the official pipeline.
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
    """What the loop asks of a model."""

    def at_step(self, step: int, t: Tensor) -> Velocities:
        """What gives the velocities of any window at timestep t (), 0 .. 1000.

        Latents (1, C, f, H, W) of the window in; out (2, C, f, H, W), without conditions and with
        them, or (1, C, f, H, W), with them, where there is no guidance.
        """
        ...


@dataclass(frozen=True, slots=True)
class OfflineSettings:
    """The release's sampling; its defaults are those of its scripts.

    A guidance scale of 1 or less computes the conditioned half only. `rounding` is what the result
    of every Euler step is rounded to, None for none.
    """

    steps: int = 50
    guidance_scale: float = 7.5
    flow_shift: float = 5.0
    rounding: torch.dtype | None = torch.bfloat16

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadInput(f"steps is {self.steps}; use 1 or more.", param="steps")
        if not math.isfinite(self.guidance_scale):
            raise BadInput(
                f"guidance_scale is {self.guidance_scale}; use a number, 1 or less for none.",
                param="guidance_scale",
            )
        if not 0 < self.flow_shift < math.inf:
            raise BadInput(f"flow_shift is {self.flow_shift}; use more than 0.", param="flow_shift")

    @property
    def is_guided(self) -> bool:
        return self.guidance_scale > 1


@dataclass(frozen=True, slots=True)
class Clip:
    """Latents (1, C, l, H, W) on which `step` steps are done."""

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

    Equal to the release's where the device is of the same kind and the dtype its text encoder's,
    half precision: it draws on that device, and for a clip block more than a short clip uses.
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
    """The clip before the first step; of more noise than the plan covers the first part is used."""
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

    def moved(window: ReleaseWindow) -> Tensor:
        seen = clip.latents[:, :, list(window.latents)]
        velocity = guide(velocities(seen, window), scale)
        stepped = euler_step(seen, velocity, sigmas[step], sigmas[step + 1])
        return stepped if settings.rounding is None else stepped.to(settings.rounding)

    return Clip(step + 1, fuse(clip.latents, plan, step, moved))


def guide(velocities: Tensor, scale: float) -> Tensor:
    """One velocity (1, ...) of what `WindowDenoiser` gives."""
    if velocities.shape[0] == 1:
        return velocities
    without, conditioned = velocities.chunk(2)
    return without + scale * (conditioned - without)


def fuse(
    latents: Tensor, plan: ReleasePlan, step: int, moved: Callable[[ReleaseWindow], Tensor]
) -> Tensor:
    """The mean of what `moved` makes of each window of the step, in the latents' dtype."""
    total = torch.zeros_like(latents)
    for window in plan.windows(step):
        total[:, :, list(window.latents)] += moved(window).to(latents.dtype)
    counts = torch.tensor(plan.counts(step), dtype=latents.dtype, device=latents.device)
    return total / counts[:, None, None]
