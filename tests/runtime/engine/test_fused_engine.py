"""The CPU's denoiser computes what the modules do."""

from dataclasses import replace

import pytest
import torch

from runtime.engine.choice import open_engines
from runtime.engine.fused_engine import FusedDenoiser
from runtime.engine.kinds import EngineChoice
from runtime.errors import Unsupported
from runtime.models.conditioning import StepInputs, WindowInputs
from runtime.models.config import DiTConfig
from runtime.models.dit import DiT
from tests.export.exported import SHAPE
from tests.runtime.models.test_dit import SMALL, T, conditioning, noisy, random_dit
from tests.runtime.small_world import small_model

Call = tuple[torch.Tensor, StepInputs, WindowInputs]


def call_of(dit: DiT, config: DiTConfig = SMALL) -> Call:
    cond = conditioning(config=config)
    if config.emotion:
        cond = replace(cond, emotion_latents=cond.ref_latents[:, None, :, 0])
    x, t = noisy()
    return x, dit.prepare_step(t, cond), dit.prepare_window(cond, T)


@pytest.mark.parametrize("newest", [None, 1, T])
@pytest.mark.parametrize("config", [SMALL, replace(SMALL, emotion=False)], ids=["ours", "released"])
@torch.inference_mode()
def test_it_equals_the_modules(config: DiTConfig, newest: int | None) -> None:
    dit = random_dit(config)
    x, step, window = call_of(dit, config)
    window = replace(window, newest=newest)
    expected = dit.denoise(x, step, window)
    found = FusedDenoiser(dit).denoise(x, step, window)
    assert found.shape == expected.shape
    assert (found - expected).norm() < 1e-5 * expected.norm()


@torch.inference_mode()
def test_the_newest_latent_frames_are_the_last_of_all() -> None:
    dit = random_dit()
    x, step, window = call_of(dit)
    every = dit.denoise(x, step, window)
    newest = dit.denoise(x, step, replace(window, newest=2))
    torch.testing.assert_close(newest, every[:, :, -2:])


@torch.inference_mode()
def test_padding_of_the_text_is_refused() -> None:
    dit = random_dit()
    x, step, window = call_of(dit)
    padded = replace(step, text_mask=torch.ones(1, step.text.shape[1], dtype=torch.bool))
    with pytest.raises(Unsupported, match="torch-eager"):
        FusedDenoiser(dit).denoise(x, padded, window)


def test_it_is_the_engine_of_a_cpu_unless_another_is_named() -> None:
    engines = open_engines(EngineChoice(), small_model(), SHAPE)
    assert isinstance(engines.denoiser, FusedDenoiser)
