"""The transformer beyond the release: speakers, emotions, motion cues, residuals, subsets."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from runtime.errors import BadInput, CheckpointError, Unsupported
from runtime.models.dit.conditioning import Conditioning, still_latents
from runtime.models.dit.config import RELEASED, TINY, DiTConfig
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import TanhGELU, patchify, unpatchify
from tests.support.models.small_dit import (
    ALIKE,
    FRAMES,
    SMALL,
    TOKENS,
    H,
    T,
    W,
    conditioning,
    halves,
    noisy,
    random_dit,
    with_emotion,
)


def adapter_output(dit: DiT, cond: Conditioning) -> Tensor:
    """The first adapter's addition to some video tokens, (B, T, h, w, D)."""
    window = dit.prepare_window(cond, T)
    video = torch.randn(
        1, T * TOKENS, SMALL.hidden_size, generator=torch.Generator().manual_seed(3)
    )
    with torch.inference_mode():
        added = dit.audio_adapter_blocks[0](video, window.audio[0], window.masks)
    return added.unflatten(1, (T, H // 2, W // 2))


def only(cond: Conditioning, speaker: int) -> Conditioning:
    """The same window with one of its speakers only."""
    kept = slice(speaker, speaker + 1)
    return replace(
        cond,
        audio=cond.audio[:, kept],
        face_masks=cond.face_masks[:, kept],
        cues=None if cond.cues is None else cond.cues[:, kept],
    )


# Speakers


def test_speakers_with_disjoint_masks_do_not_touch_each_other():
    dit, cond = random_dit(), replace(conditioning(2), face_masks=halves())
    other_voice = cond.audio.clone()
    other_voice[:, 1] += 1
    before = adapter_output(dit, cond)
    after = adapter_output(dit, replace(cond, audio=other_voice))
    left = slice(0, W // 4)
    assert torch.equal(before[:, :, :, left], after[:, :, :, left])
    assert not torch.allclose(before[:, :, :, W // 4 :], after[:, :, :, W // 4 :])


def test_many_speakers_equal_the_sum_of_one_at_a_time():
    dit, cond = random_dit(), conditioning(3)
    cond = replace(cond, face_masks=torch.rand(1, 3, T, H, W))
    one_by_one = sum(adapter_output(dit, only(cond, s)) for s in range(3))
    torch.testing.assert_close(adapter_output(dit, cond), one_by_one, **ALIKE)


def test_the_order_of_speakers_does_not_matter():
    dit, cond = random_dit(), replace(conditioning(2), face_masks=halves())
    swapped = replace(
        cond, audio=cond.audio.flip(1), face_masks=cond.face_masks.flip(1), cues=cond.cues.flip(1)
    )
    x, t = noisy()
    with torch.inference_mode():
        torch.testing.assert_close(dit(x, t, cond), dit(x, t, swapped), **ALIKE)


def test_without_a_mask_the_audio_changes_nothing():
    dit, cond = random_dit(), conditioning()
    silent = replace(cond, face_masks=torch.zeros_like(cond.face_masks))
    x, t = noisy()
    with torch.inference_mode():
        unmoved = dit(x, t, silent)
        assert torch.equal(unmoved, dit(x, t, replace(silent, audio=cond.audio + 1)))
        assert not torch.allclose(unmoved, dit(x, t, cond))


def test_a_mask_of_one_frame_stands_for_all_frames():
    dit, cond = random_dit(), replace(conditioning(2), face_masks=halves())
    per_frame = replace(cond, face_masks=cond.face_masks.expand(-1, -1, T, -1, -1))
    assert torch.equal(adapter_output(dit, cond), adapter_output(dit, per_frame))


def test_the_first_frame_used_four_times_may_be_given_four_times():
    config = replace(SMALL, frame_maps=False)
    dit, cond = random_dit(config), conditioning(config=config)

    def with_copies(per_frame: Tensor) -> Tensor:
        return torch.cat([per_frame[:, :, :1]] * 3 + [per_frame], dim=2)

    long = replace(cond, audio=with_copies(cond.audio), cues=with_copies(cond.cues))
    torch.testing.assert_close(adapter_output(dit, cond), adapter_output(dit, long), **ALIKE)


def test_a_latent_frame_uses_the_audio_of_its_own_four_frames_only():
    dit, cond = random_dit(), conditioning()
    later = cond.audio.clone()
    later[:, :, 4:] += 1  # the frames of the second latent frame
    before, after = adapter_output(dit, cond), adapter_output(dit, replace(cond, audio=later))
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1])


# Motion cues and emotions


def test_motion_cues_move_the_face_they_belong_to():
    dit, cond = random_dit(), replace(conditioning(2), face_masks=halves())
    moved = cond.cues.clone()
    moved[:, 0] += 1
    before, after = adapter_output(dit, cond), adapter_output(dit, replace(cond, cues=moved))
    left = slice(0, W // 4)
    assert not torch.allclose(before[:, :, :, left], after[:, :, :, left])
    assert torch.equal(before[:, :, :, W // 4 :], after[:, :, :, W // 4 :])


def test_frame_maps_distinguish_the_frames_of_a_latent_frame():
    cond = conditioning()
    reordered = cond.audio.clone()
    reordered[:, :, :4] = cond.audio[:, :, :4].flip(2)
    cond, reordered = replace(cond, cues=None), replace(cond, audio=reordered, cues=None)
    with_maps, without = random_dit(), random_dit(replace(SMALL, frame_maps=False))

    def mean_of_first(dit: DiT, conditions: Conditioning) -> Tensor:
        return dit.embed_audio(conditions, T)[:, 0].mean(2)

    with torch.inference_mode():
        before, after = mean_of_first(with_maps, cond), mean_of_first(with_maps, reordered)
        assert (before - after).norm() > 0.1 * before.norm()
        torch.testing.assert_close(
            mean_of_first(without, cond), mean_of_first(without, reordered), **ALIKE
        )
    torch.testing.assert_close(
        adapter_output(without, cond), adapter_output(without, reordered), **ALIKE
    )


def test_an_emotion_changes_the_output():
    dit, cond = random_dit(), conditioning(2)
    x, t = noisy()
    with torch.inference_mode():
        neutral = dit(x, t, cond)
        assert not torch.allclose(neutral, dit(x, t, with_emotion(cond)), atol=1e-3)


def test_an_emotion_of_strength_zero_is_no_emotion():
    dit, cond = random_dit(), conditioning(2)
    x, t = noisy()
    with torch.inference_mode():
        torch.testing.assert_close(dit(x, t, with_emotion(cond, 0.0)), dit(x, t, cond), **ALIKE)


def test_no_strength_given_means_full_strength():
    dit, cond = random_dit(), with_emotion(conditioning(2))
    x, t = noisy()
    with torch.inference_mode():
        assert torch.equal(dit(x, t, cond), dit(x, t, replace(cond, emotion_scale=None)))


def test_each_speaker_has_their_own_emotion():
    dit, cond = random_dit(), with_emotion(replace(conditioning(2), face_masks=halves()))
    other = cond.emotion_latents.clone()
    other[:, 1] += 1
    added = []
    for latents in (cond.emotion_latents, other):
        window = dit.prepare_window(replace(cond, emotion_latents=latents), T)
        video = torch.ones(1, T * TOKENS, SMALL.hidden_size)
        with torch.inference_mode():
            out = dit.emotion_blocks[0](
                video, window.emotion[0], window.emotion_masks, window.rotation[TOKENS:]
            )
        added.append(out.unflatten(1, (T, H // 2, W // 2)))
    left = slice(0, W // 4)
    assert torch.equal(added[0][:, :, :, left], added[1][:, :, :, left])
    assert not torch.allclose(added[0], added[1])


def test_an_emotion_asked_of_a_model_without_the_module_is_refused():
    plain = DiT(replace(SMALL, emotion=False))
    with pytest.raises(Unsupported, match="no emotion module") as refused:
        plain.prepare_window(with_emotion(conditioning()), T)
    assert refused.value.param == "emotion_latents"


def test_motion_cues_given_to_a_model_without_the_module_are_refused():
    plain = DiT(replace(SMALL, motion_cues=0))
    with pytest.raises(Unsupported, match="no motion cues"):
        plain.prepare_window(conditioning(), T)


def test_our_modules_only_add_names():
    plain = DiT(replace(SMALL, emotion=False, motion_cues=0, frame_maps=False))
    ours = set(DiT(SMALL).state_dict()) - set(plain.state_dict())
    assert {name.split(".")[0] for name in ours} == {
        "audio_frames",
        "cue_frames",
        "emotion_in",
        "emotion_blocks",
    }


# Velocity and clean latents


@pytest.mark.parametrize("prediction", ["velocity", "residual"])
def test_velocity_and_clean_latents_agree(prediction):
    dit = random_dit(replace(SMALL, prediction=prediction))
    cond, (x, t) = conditioning(batch=2), noisy(2)
    sigma = (t / 1000).view(-1, 1, 1, 1, 1)
    with torch.inference_mode():
        velocity, clean = dit(x, t, cond), dit.predict_clean(x, t, cond)
    torch.testing.assert_close(x - sigma * velocity, clean, **ALIKE)


@pytest.mark.parametrize("speakers", [1, 2])
def test_a_residual_is_relative_to_the_reference_with_its_emotions(speakers):
    dit = random_dit(replace(SMALL, prediction="residual"))
    cond, (x, t) = with_emotion(conditioning(speakers)), noisy()
    with torch.inference_mode():
        window = dit.prepare_window(cond, T)
        out = dit.denoise(x, dit.prepare_step(t, cond), window)
        assert torch.equal(dit.predict_clean(x, t, cond), window.still + out)


def test_the_still_latents_are_the_emotion_reference_inside_the_face():
    cond = conditioning(2)
    assert torch.equal(still_latents(cond), cond.ref_latents)
    left = torch.zeros_like(cond.face_masks)
    left[:, 0, ..., : W // 2] = 1
    emotional = replace(with_emotion(cond), face_masks=left, emotion_scale=None)
    half = replace(emotional, emotion_scale=torch.tensor([[0.5, 0.7]]))
    reference, emotion = cond.ref_latents, emotional.emotion_latents[:, 0].unsqueeze(2)
    expected = torch.cat(
        (emotion[..., : W // 2].expand(-1, -1, T, -1, -1), reference[..., W // 2 :]), dim=-1
    )
    torch.testing.assert_close(still_latents(emotional), expected)
    torch.testing.assert_close(still_latents(half), (reference + expected) / 2)


def test_a_fresh_residual_model_predicts_the_reference():
    dit, cond, (x, t) = DiT(replace(SMALL, prediction="residual")), conditioning(), noisy()
    with torch.inference_mode():
        assert torch.equal(dit.predict_clean(x, t, cond), cond.ref_latents)


def test_the_velocity_stays_finite_at_the_end_of_the_schedule():
    dit = random_dit(replace(SMALL, prediction="residual"))
    with torch.inference_mode():
        velocity = dit(noisy()[0], torch.zeros(1), conditioning())
    assert velocity.isfinite().all()


# Steps, windows and the step cache


def test_the_step_cache_of_the_same_step_gives_the_same_output():
    dit, cond, (x, t) = random_dit(), conditioning(), noisy()
    with torch.inference_mode():
        step, window = dit.prepare_step(t, cond), dit.prepare_window(cond, T)
        hidden = dit.hidden_before_last(x, step, window)
        assert torch.equal(dit.finish(hidden, x, step, window), dit(x, t, cond))


def test_a_step_reads_neither_audio_nor_reference():
    dit, cond, (_, t) = random_dit(), conditioning(), noisy()
    other = conditioning(seed=9)
    mixed = replace(cond, audio=other.audio, ref_latents=other.ref_latents, cues=other.cues)
    a, b = dit.prepare_step(t, cond), dit.prepare_step(t, mixed)
    assert torch.equal(a.text, b.text)
    assert all(torch.equal(p, q) for p, q in zip(a.single, b.single, strict=True))


def test_padding_after_the_text_does_not_reach_the_video():
    dit, cond, (x, t) = random_dit(), conditioning(), noisy()
    padded = replace(
        cond,
        text_states=torch.cat((cond.text_states, torch.randn(1, 4, SMALL.text_dim)), dim=1),
        text_mask=torch.tensor([[1, 1, 1, 0, 0, 0, 0]]),
    )
    with torch.inference_mode():
        torch.testing.assert_close(dit(x, t, padded), dit(x, t, cond), **ALIKE)


# Token subsets


def test_all_tokens_as_a_subset_equal_no_subset():
    dit, cond, (x, t) = random_dit(), with_emotion(conditioning(2)), noisy()
    with torch.inference_mode():
        patches = dit(x, t, cond, torch.arange(TOKENS))
        whole = dit(x, t, cond)
    torch.testing.assert_close(patches, patchify(whole, SMALL.patch_size), **ALIKE)


@pytest.mark.parametrize("prediction", ["velocity", "residual"])
def test_a_subset_gives_patches_that_match_a_target_and_trains(prediction):
    dit = random_dit(replace(SMALL, prediction=prediction)).train()
    cond, (x, t) = with_emotion(conditioning(2, batch=2)), noisy(2)
    tokens = torch.tensor([6, 1, 3])
    clean = dit.predict_clean(x, t, cond, tokens)
    target = patchify(x, SMALL.patch_size, tokens)
    assert clean.shape == target.shape == (2, T, 3, SMALL.patch_values)
    (clean - target).square().mean().backward()
    assert all(p.grad is not None for p in dit.parameters())


def test_a_few_steps_of_training_lower_the_loss():
    torch.manual_seed(0)
    dit = DiT(replace(SMALL, prediction="residual"))
    cond, (x, t) = with_emotion(conditioning(2, batch=2)), noisy(2)
    optimizer = torch.optim.AdamW(dit.parameters(), 3e-3)
    losses = []
    for _ in range(20):
        loss = (dit.predict_clean(x, t, cond) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_patches_go_back_to_the_same_latents():
    x = noisy()[0]
    assert torch.equal(unpatchify(patchify(x, (1, 2, 2)), (1, 2, 2), H // 2), x)


def test_the_fast_gelu_equals_the_built_in():
    x = torch.linspace(-12, 12, 4001)
    expected = torch.nn.functional.gelu(x, approximate="tanh")
    torch.testing.assert_close(TanhGELU()(x), expected, atol=2e-6, rtol=1e-5)


# Refusals


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("audio", torch.zeros(1, 1, FRAMES + 1, 2, 2, 4)),
        ("audio", torch.zeros(1, 1, FRAMES - 3, 2, 2, 4)),  # frame maps need them all
        ("audio", torch.zeros(1, 1, FRAMES, 2, 2, 5)),
        ("face_masks", torch.ones(1, 2, 1, H, W)),
        ("face_masks", torch.ones(1, 1, T + 1, H, W)),
        ("freqs_cos", torch.ones(T * TOKENS, SMALL.head_dim)),
        ("cues", torch.zeros(1, 1, FRAMES, 8)),
        ("ref_latents", torch.zeros(1, 16, T + 1, H, W)),
    ],
)
def test_a_condition_of_the_wrong_shape_is_refused_by_name(field, value):
    with pytest.raises(BadInput) as refused:
        DiT(SMALL).prepare_window(replace(conditioning(), **{field: value}), T)
    assert refused.value.param == field


@pytest.mark.parametrize("config", [RELEASED, TINY, SMALL])
def test_a_configuration_is_read_as_written(config):
    described = copy.deepcopy(config.to_dict())
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in described.items()}
    assert DiTConfig.from_dict(as_json) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "hidden_size"),
        ({"rope_dims": [4, 4, 4]}, "rope_dims"),
        ({"prediction": "noise"}, "prediction"),
        ({"depth": 4}, "unknown fields depth"),
    ],
)
def test_an_impossible_description_is_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        DiTConfig.from_dict({**SMALL.to_dict(), **change})
