"""Prompts, guidance branches, step cache and memory around a transformer of one token a frame."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from runtime.errors import Unsupported
from runtime.hunyuan.encoders.preprocess import Size
from runtime.hunyuan.offline.conditions import ClipConditions, PromptStates
from runtime.hunyuan.offline.guided_dit import DevicePlacement, GuidedDiT
from runtime.hunyuan.offline.sampler import Clip, OfflineSettings, advance, start_clip
from runtime.hunyuan.offline.saved_clip import SavedClip
from runtime.hunyuan.offline.schedule import ReleasePlan
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.weights.offload import LayerOffload, turns_of
from tests.support.models.small_dit import SMALL_OFFICIAL

CPU = torch.device("cpu")
TOGETHER, APART = DevicePlacement(CPU, CPU), DevicePlacement(CPU, CPU, branches_apart=True)
CONFIG = replace(
    SMALL_OFFICIAL,
    hidden_size=16,
    rope_dims=(4, 2, 2),
    in_channels=4,
    out_channels=4,
    refiner_blocks=1,
    audio_steps=1,
    audio_layers=1,
    audio_dim=4,
    audio_hidden=8,
    adapter_dim=8,
)
FRAMES = 140  # of padded sound: 65 latent frames in two windows
PLAN = ReleasePlan.of_clip(FRAMES)
SETTINGS = OfflineSettings(steps=18, rounding=None)  # the last two steps are cached
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small_dit(config: DiTConfig = CONFIG) -> DiT:
    """Random weights in which everything has an effect."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = DiT(config).eval().requires_grad_(False)
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return model


def a_prompt(valid: int, seed: int) -> PromptStates:
    mask = (torch.arange(5) < valid).long()[None]
    return PromptStates(some(1, 5, 8, seed=seed), mask, some(1, 8, seed=seed))


def conditions(speakers: int = 1) -> ClipConditions:
    masks = torch.linspace(1, 0.5, speakers)[None, :, None, None, None].expand(1, -1, 1, 2, 2)
    return ClipConditions(
        positive=a_prompt(3, seed=1),
        negative=a_prompt(5, seed=2),
        ref_latents=some(1, 4, 33, 2, 2, seed=3),
        face_mask=masks,
        audio=some(speakers, FRAMES, 1, 1, 4, seed=4).half(),
        audio_frames=FRAMES - 5,
        size=Size(16, 16),
        fps=25.0,
        motion_exp=torch.full((1, 4), 30),
        motion_pose=torch.full((1, 4), 25),
    )


def denoiser_of(
    model: DiT,
    told: ClipConditions,
    placement: DevicePlacement = TOGETHER,
    settings: OfflineSettings = SETTINGS,
) -> GuidedDiT:
    return GuidedDiT(model, told, PLAN, settings.steps, settings.is_guided, placement)


def sample(denoiser: GuidedDiT, settings: OfflineSettings = SETTINGS) -> list[Clip]:
    """The clip before the first step and after every step."""
    clips = [start_clip(some(1, 4, 65, 2, 2, seed=5), PLAN)]
    while clips[-1].step < settings.steps:
        clips.append(advance(clips[-1], denoiser, PLAN, settings))
    return clips


@pytest.fixture(scope="module")
def usual() -> Sequence[Clip]:
    return sample(denoiser_of(small_dit(), conditions()))


def test_branches_one_after_the_other_give_the_same(usual: Sequence[Clip]) -> None:
    apart = sample(denoiser_of(small_dit(), conditions(), APART))
    torch.testing.assert_close(apart[-1].latents, usual[-1].latents, **CLOSE)


def test_blocks_that_take_turns_give_the_same(usual: Sequence[Clip]) -> None:
    model = small_dit()
    turns = LayerOffload(model, turns_of(model), CPU)
    found = sample(denoiser_of(model, conditions()))
    turns.close()
    assert torch.equal(found[-1].latents, usual[-1].latents)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_low_memory_on_a_gpu_nearly_equals_a_cpu(usual: Sequence[Clip]) -> None:
    model, device = small_dit(), torch.device("cuda")
    turns = LayerOffload(model, turns_of(model), device)
    denoiser = denoiser_of(model, conditions(), DevicePlacement(device, CPU, branches_apart=True))
    clip = Clip(0, usual[0].latents.to(device))
    while clip.step < SETTINGS.steps:
        clip = advance(clip, denoiser, PLAN, SETTINGS)
    turns.close()
    torch.testing.assert_close(clip.latents.cpu(), usual[-1].latents, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("step", [2, 16, 17], ids=["full", "first cached", "cached"])
def test_a_clip_resumed_from_a_file_equals_an_uninterrupted_one(
    usual: Sequence[Clip], tmp_path: Path, step: int
) -> None:
    saved = SavedClip(tmp_path / "a.mp4", {}, SETTINGS.steps)
    before = denoiser_of(small_dit(), conditions())
    clip = usual[0]
    while clip.step < step:
        clip = advance(clip, before, PLAN, SETTINGS)
        saved.save(clip, before.cache)
    after = denoiser_of(small_dit(), conditions(), APART if step == 2 else TOGETHER)
    loaded = saved.load(after.cache)
    assert loaded is not None
    clip = loaded
    while clip.step < SETTINGS.steps:
        clip = advance(clip, after, PLAN, SETTINGS)
    torch.testing.assert_close(clip.latents, usual[-1].latents, **CLOSE)


def test_the_negative_prompt_matters_in_the_first_ten_steps_only() -> None:
    told = conditions()
    other = replace(told, negative=a_prompt(4, seed=9))
    start = some(1, 4, 65, 2, 2, seed=5)
    for step, same in ((9, False), (10, True)):
        one, two = (
            advance(Clip(step, start), denoiser_of(small_dit(), c), PLAN, SETTINGS)
            for c in (told, other)
        )
        assert torch.equal(one.latents, two.latents) == same


def test_without_guidance_the_negative_prompt_is_not_read() -> None:
    plain = replace(SETTINGS, steps=2, guidance_scale=1)
    told = conditions()
    one, two = (
        sample(denoiser_of(small_dit(), c, settings=plain), plain)[-1].latents
        for c in (told, replace(told, negative=a_prompt(4, seed=9)))
    )
    assert torch.equal(one, two)


def test_padding_of_a_prompt_reaches_nothing() -> None:
    told, short = conditions(), replace(SETTINGS, steps=1)
    padded = told.positive.text_states.clone()
    padded[:, 3:] = 7
    other = replace(told, positive=replace(told.positive, text_states=padded))
    one, two = (
        sample(denoiser_of(small_dit(), c, settings=short), short)[-1].latents
        for c in (told, other)
    )
    torch.testing.assert_close(one, two, **CLOSE)


def test_a_silent_second_speaker_with_no_mask_changes_nothing() -> None:
    short = replace(SETTINGS, steps=1)
    two = conditions(speakers=2)
    two = replace(
        two, face_mask=two.face_mask * torch.tensor([1.0, 0.0])[None, :, None, None, None]
    )
    one = replace(two, face_mask=two.face_mask[:, :1], audio=two.audio[:1])
    both, alone = (
        sample(denoiser_of(small_dit(), c, settings=short), short)[-1].latents for c in (two, one)
    )
    torch.testing.assert_close(both, alone, **CLOSE)


def test_every_speakers_audio_has_an_effect() -> None:
    short = replace(SETTINGS, steps=1)
    two = conditions(speakers=2)
    other = replace(two, audio=torch.stack([two.audio[0], -two.audio[1]]))
    one, changed = (
        sample(denoiser_of(small_dit(), c, settings=short), short)[-1].latents for c in (two, other)
    )
    assert not torch.equal(one, changed)


def test_half_precision_weights_stay_near_full_precision() -> None:
    short = replace(SETTINGS, steps=2)
    exact = sample(denoiser_of(small_dit(), conditions(), settings=short), short)[-1].latents
    model = small_dit().bfloat16()
    near = sample(denoiser_of(model, conditions(), settings=short), short)[-1].latents
    assert (near - exact).norm() < 0.03 * exact.norm()


def test_a_model_of_residuals_is_refused() -> None:
    with pytest.raises(Unsupported, match="predicts residuals"):
        denoiser_of(small_dit(replace(CONFIG, prediction="residual")), conditions())
