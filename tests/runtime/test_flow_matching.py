import itertools

import pytest
import torch

from runtime.flow_matching import euler_step, noise_levels, noise_of_latent, noised


@pytest.mark.parametrize("steps", [1, 3, 4, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_levels_fall_from_noise_to_clean(steps: int, shift: float) -> None:
    levels = noise_levels(steps, shift)
    assert levels[0] == 1
    assert levels[-1] == 0
    assert (levels.diff() < 0).all()


def test_a_shift_of_one_spaces_the_levels_evenly() -> None:
    torch.testing.assert_close(noise_levels(4, 1.0), torch.tensor([1, 0.75, 0.5, 0.25, 0]))


def test_euler_steps_along_the_true_velocity_arrive_at_the_clean_latents() -> None:
    clean, noise = torch.randn(4, 8), torch.randn(4, 8)
    levels = noise_levels(5, 3.0)
    x = noised(clean, noise, levels[0])
    for sigma, following in itertools.pairwise(levels):
        x = euler_step(x, noise - clean, sigma, following)
    torch.testing.assert_close(x, clean, atol=1e-5, rtol=0)


def test_noise_depends_on_seed_and_latent_frame_only() -> None:
    shape = (16, 4, 4)
    assert torch.equal(noise_of_latent(3, -5, shape), noise_of_latent(3, -5, shape))
    draws = torch.stack([noise_of_latent(s, n, shape) for s in range(4) for n in range(-4, 30)])
    likeness = torch.corrcoef(draws.flatten(1)).fill_diagonal_(0)
    assert likeness.abs().max() < 0.3
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
