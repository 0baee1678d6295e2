"""Noise levels, Euler step and the released fusion of windows equal the official code's."""

import json
from collections import defaultdict
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from runtime.flow_matching import euler_step, noise_levels
from runtime.hunyuan.offline.sampler import OfflineSettings, Velocities, advance, start_clip
from runtime.hunyuan.offline.schedule import (
    ReleasePlan,
    ReleaseWindow,
    guidance_at,
    latents_kept,
    mask_factor_at,
    negative_prompt_at,
    uses_cache,
)
from tests.support.released.golden import GOLDEN, GoldenCase, case_names

FUSIONS = case_names("schedule", "fusion_*")
fusions = pytest.mark.parametrize("name", FUSIONS)


def plan_of(facts: dict) -> ReleasePlan:
    case = facts["case"]
    if case["override"]:
        return ReleasePlan(case["l"], case["f"], case["alpha"])
    return ReleasePlan.of_clip(case["audio_frames"])


@dataclass(frozen=True)
class ClosedForm:
    """The formula that stood in for the transformer when the golden data was made."""

    audio: Tensor  # (F, ...)
    is_guided: bool

    def at_step(self, step: int, t: Tensor) -> Velocities:
        def velocities(seen: Tensor, window: ReleaseWindow) -> Tensor:
            heard = self.audio[list(window.frames)]
            told = [torch.zeros_like(heard), heard] if self.is_guided else [heard]
            return torch.stack([formula(seen[0], audio, float(t)) for audio in told])

        return velocities


def formula(latents: Tensor, audio: Tensor, t: float) -> Tensor:
    padded = torch.cat([audio[:1].expand(3, *audio.shape[1:]), audio])
    heard = padded.reshape(latents.shape[1], -1).float().mean(1)
    z = latents.float()
    drive = 0.05 * (t / 1000) * heard[None, :, None, None]
    return torch.tanh(0.3 * z + 0.1 * z.mean(1, keepdim=True) + drive).to(latents.dtype)


def denoised(case: GoldenCase, plan: ReleasePlan) -> dict[int, Tensor]:
    """Latents (C, l, H, W) after every step."""
    about = case.facts["case"]
    rounding = torch.bfloat16 if about["round"] == "bf16" else None
    settings = OfflineSettings(about["steps"], about["cfg"], about["shift"], rounding)
    audio = case.tensors["in.audio_all"][0]
    audio = torch.cat([audio, audio.new_zeros(plan.audio_frames, *audio.shape[1:])])
    denoiser = ClosedForm(audio, settings.is_guided)
    clip = start_clip(case.tensors["in.latents"], plan)
    after: dict[int, Tensor] = {}
    while clip.step < settings.steps:
        clip = advance(clip, denoiser, plan, settings)
        after[clip.step - 1] = clip.latents[0]
    return after


def test_clip_lengths_follow_the_release() -> None:
    rules = GOLDEN / "audio" / "length_rules.json"
    for row in json.loads(rules.read_text())["rows"]:
        frames = row["audio_tensor_frames"]
        plan = ReleasePlan.of_clip(frames)
        assert plan.length == row["infer_latents"]
        assert plan.audio_frames == row["audio_all_frames"]
        assert plan.shift == row["shift_offset"]
        assert len(plan.windows(0)) == row["windows_per_step"]
        assert latents_kept(frames) == row["video_latents_kept"]


@pytest.mark.parametrize("name", case_names("schedule", "flow_match_*"))
def test_levels_and_euler_steps_equal_the_release(name: str) -> None:
    case = GoldenCase.load("schedule", name)
    for key, about in case.facts["data"].items():
        steps, shift = key.removeprefix("steps").split("_shift")
        found = case.under(f"{key}.")
        sigmas = noise_levels(int(steps), float(shift))
        torch.testing.assert_close(sigmas, found["sigmas"], rtol=1e-6, atol=0)
        torch.testing.assert_close(1000 * sigmas[:-1], found["timesteps"], rtol=1e-6, atol=0)
        step = about["euler"]["step_index"]
        sample, velocity = found["euler.sample"], found["euler.model_output"]
        stepped = euler_step(sample, velocity, sigmas[step], sigmas[step + 1])
        torch.testing.assert_close(stepped, found["euler.out"], rtol=1e-6, atol=1e-7)


@fusions
def test_windows_wrap_and_shift_as_in_the_release(name: str) -> None:
    case = GoldenCase.load("schedule", name)
    plan = plan_of(case.facts)
    by_step: dict[int, list[dict]] = defaultdict(list)
    for call in case.facts["trace"]:
        by_step[call["step"]].append(call)
    for step, calls in by_step.items():
        windows = plan.windows(step)
        assert [list(window.latents) for window in windows] == [c["latent_idx"] for c in calls]
        assert [list(window.frames) for window in windows] == [c["audio_idx"] for c in calls]
        counted = case.tensors["out.counter_per_step"][step]
        assert plan.counts(step) == counted.int().tolist()


@fusions
def test_guidance_and_cache_follow_the_release(name: str) -> None:
    facts = GoldenCase.load("schedule", name).facts
    for call in facts["trace"]:
        scale = guidance_at(call["step"], facts["case"]["steps"], facts["case"]["cfg"])
        assert scale == pytest.approx(call["guidance"], abs=1e-9)
        assert uses_cache(call["step"]) == call["uses_cache"]
    windows = len(plan_of(facts).windows(0))
    for seen in facts["text_and_mask_seen"] or []:
        step = seen["call"] // windows
        assert mask_factor_at(step) == pytest.approx(seen["face_mask_max"])
        assert negative_prompt_at(step) == (seen["text_mean"] < 1)


@fusions
def test_fused_latents_equal_the_release(name: str) -> None:
    case = GoldenCase.load("schedule", name)
    after = denoised(case, plan_of(case.facts))
    middle = case.facts["mid_step_index"]
    # Rounding to bfloat16 makes the half precision case sensitive to the order of operations.
    close = {"atol": 1e-2 if case.facts["case"]["round"] == "bf16" else 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(after[0], case.tensors["out.latents_after_step0"][0], **close)
    torch.testing.assert_close(
        after[middle], case.tensors["out.latents_after_mid_step"][0], **close
    )
    last = after[max(after)]
    torch.testing.assert_close(last, case.tensors["out.latents_final"][0], **close)
    if not case.facts["case"]["override"]:
        kept = last[:, : latents_kept(case.facts["case"]["audio_frames"])]
        cropped = case.tensors["out.latents_cropped_for_vae"][0].to(kept.dtype)
        torch.testing.assert_close(kept, cropped, **close)


def test_there_is_golden_data_to_compare_with() -> None:
    assert FUSIONS, f"no schedule/fusion_* in {GOLDEN}"
