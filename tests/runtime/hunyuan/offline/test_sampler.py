import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from runtime.errors import BadInput
from runtime.hunyuan.offline.sampler import (
    OfflineSettings,
    Velocities,
    advance,
    draw_noise,
    start_clip,
)
from runtime.hunyuan.offline.schedule import ReleasePlan, ReleaseWindow

SHAPE = (4, 2, 2)  # channels, rows, columns
EXACT = {"rounding": None}


class RecordingVelocities:
    """A denoiser that computes a formula and records its calls."""

    def __init__(self, velocity: Callable[[Tensor], Tensor], branches: int = 1) -> None:
        self.velocity = velocity
        self.branches = branches
        self.asked: list[tuple[int, float]] = []

    def at_step(self, step: int, t: Tensor) -> Velocities:
        self.asked.append((step, float(t)))

        def velocities(seen: Tensor, window: ReleaseWindow) -> Tensor:
            return torch.cat([self.velocity(seen)] * self.branches)

        return velocities


def sample(
    noise: Tensor, frames: int, denoiser: RecordingVelocities, settings: OfflineSettings
) -> Tensor:
    plan = ReleasePlan.of_clip(frames)
    clip = start_clip(noise, plan)
    while clip.step < settings.steps:
        clip = advance(clip, denoiser, plan, settings)
    return clip.latents


@pytest.mark.parametrize("frames", [129, 155, 405, 1005])
def test_a_model_that_knows_the_clean_clip_reaches_it(frames: int) -> None:
    noise = draw_noise(frames, SHAPE, seed=1, dtype=torch.float32)
    # The velocity of latents x = sigma * noise on the way to zeros is x / sigma.
    settings = OfflineSettings(steps=4, guidance_scale=1, **EXACT)
    denoiser = RecordingVelocities(lambda seen: seen)
    denoiser.velocity = lambda seen: seen / (denoiser.asked[-1][1] / 1000)
    final = sample(noise, frames, denoiser, settings)
    assert final.shape[2] == ReleasePlan.of_clip(frames).length
    torch.testing.assert_close(final, torch.zeros_like(final), atol=1e-6, rtol=0)


def test_every_step_runs_once_from_noise_down() -> None:
    denoiser = RecordingVelocities(torch.zeros_like)
    sample(draw_noise(129, SHAPE, 0), 129, denoiser, OfflineSettings(steps=5))
    steps, levels = zip(*denoiser.asked, strict=True)
    assert steps == (0, 1, 2, 3, 4)
    assert levels[0] == 1000
    assert list(levels) == sorted(levels, reverse=True)


def test_two_equal_branches_are_the_same_as_one() -> None:
    noise = draw_noise(155, SHAPE, 0, dtype=torch.float32)
    settings = OfflineSettings(steps=3, **EXACT)
    one = sample(noise, 155, RecordingVelocities(torch.sin), settings)
    two = sample(noise, 155, RecordingVelocities(torch.sin, branches=2), settings)
    torch.testing.assert_close(one, two)


def test_results_of_steps_are_rounded_to_bfloat16_by_default() -> None:
    noise = draw_noise(129, SHAPE, 0)
    final = sample(noise, 129, RecordingVelocities(torch.sin), OfflineSettings(steps=2))
    assert final.dtype == torch.float16
    assert torch.equal(final, final.bfloat16().half())


def test_a_short_clip_takes_the_first_part_of_a_longer_draw() -> None:
    noise = draw_noise(129, SHAPE, seed=7)
    assert noise.shape == (1, 4, 65, 2, 2)
    assert torch.equal(start_clip(noise, ReleasePlan.of_clip(129)).latents, noise[:, :, :33])


def test_the_seed_alone_decides_the_noise() -> None:
    first = draw_noise(129, SHAPE, seed=7)
    assert torch.equal(first, draw_noise(129, SHAPE, seed=7))
    assert not torch.equal(first, draw_noise(129, SHAPE, seed=8))


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"flow_shift": 0}, {"flow_shift": math.nan}, {"guidance_scale": math.nan}],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        OfflineSettings(**wrong)
