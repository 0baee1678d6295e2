"""The CPU denoiser computes the modules' function."""

from dataclasses import replace

import pytest
import torch

from runtime.engine.choice import open_engines
from runtime.engine.cpu.denoiser import CpuDenoiser, _patchify, _unpatchify
from runtime.engine.kinds import EngineChoice
from runtime.errors import Unsupported
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import patchify, unpatchify
from tests.support.engines.exported import SHAPE
from tests.support.models.small_dit import SMALL, T, conditioning, noisy, random_dit
from tests.support.models.small_world import small_model

Call = tuple[torch.Tensor, StepInputs, WindowInputs]


def call_of(dit: DiT, config: DiTConfig = SMALL, speakers: int = 1) -> Call:
    cond = conditioning(speakers, config=config)
    if config.emotion:
        emotions = cond.ref_latents[:, None, :, 0].expand(-1, speakers, -1, -1, -1)
        cond = replace(cond, emotion_latents=emotions)
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
    found = CpuDenoiser(dit).denoise(x, step, window)
    assert found.shape == expected.shape
    assert (found - expected).norm() < 1e-5 * expected.norm()


@torch.inference_mode()
def test_it_equals_the_modules_for_two_speakers() -> None:
    dit = random_dit()
    x, step, window = call_of(dit, speakers=2)
    expected = dit.denoise(x, step, window)
    found = CpuDenoiser(dit).denoise(x, step, window)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@torch.inference_mode()
def test_it_equals_the_modules_if_torch_has_no_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    dit = random_dit()
    x, step, window = call_of(dit)
    expected = dit.denoise(x, step, window)
    found = CpuDenoiser(dit).denoise(x, step, window)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_patches_are_those_of_patchify(width: int, columns: int) -> None:
    size = (1, 2, width)
    x = torch.randn(1, 3, 2, 2 * 2, columns * width)
    patches = _patchify(x, size)
    assert patches.equal(patchify(x, size))
    assert _unpatchify(patches, size, 2).equal(unpatchify(patches, size, 2))


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
        CpuDenoiser(dit).denoise(x, padded, window)


def test_it_is_the_engine_of_a_cpu_unless_another_is_named() -> None:
    engines = open_engines(EngineChoice(), small_model(), SHAPE)
    assert isinstance(engines.denoiser, CpuDenoiser)
