"""The whole released sampling around a tiny transformer equals the official pipeline's."""

from collections import defaultdict

import pytest
import torch
from torch import Tensor

from runtime.hunyuan.encoders.preprocess import Size
from runtime.hunyuan.offline.conditions import ClipConditions, PromptStates
from runtime.hunyuan.offline.guided_dit import DevicePlacement, GuidedDiT
from runtime.hunyuan.offline.sampler import OfflineSettings, advance, start_clip
from runtime.hunyuan.offline.schedule import (
    ReleasePlan,
    guidance_at,
    latents_drawn,
    latents_kept,
    uses_cache,
)
from runtime.models.dit.dit import DiT
from tests.support.released.golden import GOLDEN, GoldenCase, case_names

ATOL = 1e-4  # README of the golden data: the release itself moves by 1.3e-5 in float64
CPU = torch.device("cpu")

cases = pytest.mark.parametrize("name", case_names("e2e"))


def plan_of(case: GoldenCase) -> ReleasePlan:
    return ReleasePlan.of_clip(case.facts["config"]["audio_frames"])


def settings_of(case: GoldenCase) -> OfflineSettings:
    constants = case.facts["constants"]
    steps = case.facts["config"]["steps"]
    return OfflineSettings(steps, constants["cfg_scale"], constants["flow_shift"], rounding=None)


def model_of(case: GoldenCase) -> DiT:
    model = DiT(case.dit_config()).eval()
    model.load_state_dict(case.under("weights."), strict=True)
    return model


def conditions_of(case: GoldenCase) -> ClipConditions:
    given, constants = case.under("in."), case.facts["constants"]
    positive, negative = (
        PromptStates(given[name], given[f"{name}_mask"], given[f"{name}2"])
        for name in ("cond", "uncond")
    )
    return ClipConditions(
        positive=positive,
        negative=negative,
        ref_latents=given["ref_latents"],
        face_mask=given["face_mask"],
        audio=given["audio_prompts"],
        audio_frames=case.facts["config"]["audio_frames"],
        size=Size(*(8 * side for side in given["ref_latents"].shape[:-3:-1])),
        motion_exp=torch.tensor([constants["motion_exp"]]),
        motion_pose=torch.tensor([constants["motion_pose"]]),
        fps=constants["fps"],
    )


def sampled(case: GoldenCase, branches_apart: bool = False) -> dict[int, Tensor]:
    """Latents after each step."""
    plan, settings = plan_of(case), settings_of(case)
    denoiser = GuidedDiT(
        model_of(case),
        conditions_of(case),
        plan,
        settings.steps,
        settings.is_guided,
        DevicePlacement(CPU, CPU, branches_apart),
    )
    clip = start_clip(case.tensors["in.latents"], plan)
    after = {}
    while clip.step < settings.steps:
        clip = advance(clip, denoiser, plan, settings)
        after[clip.step - 1] = clip.latents
    return after


def test_there_is_a_golden_run():
    assert case_names("e2e"), f"no e2e/*.safetensors in {GOLDEN}"


@cases
@pytest.mark.parametrize("branches_apart", [False, True], ids=["together", "apart"])
def test_latents_after_every_step_equal_the_releases(name, branches_apart):
    case = GoldenCase.load("e2e", name)
    after = sampled(case, branches_apart)
    for step, expected in case.under("out.latents_after_step").items():
        torch.testing.assert_close(after[int(step)], expected, atol=ATOL, rtol=0)
    kept = after[max(after)][:, :, : latents_kept(case.facts["config"]["audio_frames"])]
    torch.testing.assert_close(kept, case.tensors["out.latents_final_cropped"], atol=ATOL, rtol=0)


@cases
def test_calls_follow_the_release(name):
    case = GoldenCase.load("e2e", name)
    plan, settings = plan_of(case), settings_of(case)
    by_step = defaultdict(list)
    for call in case.facts["trace"]:
        by_step[call["step"]].append(call)
        scale = guidance_at(call["step"], settings.steps, settings.guidance_scale)
        assert scale == pytest.approx(call["guidance"], abs=1e-9)
        assert uses_cache(call["step"]) == call["is_cache"]
    for step, calls in by_step.items():
        windows = plan.windows(step)
        assert [list(window.latents) for window in windows] == [c["latent_idx"] for c in calls]
        heard = [[w.frames[0], w.frames[-1], len(w.frames)] for w in windows]
        assert heard == [call["audio_idx"] for call in calls]


@cases
def test_as_much_noise_is_drawn_as_in_the_release(name):
    case = GoldenCase.load("e2e", name)
    drawn = latents_drawn(case.facts["config"]["audio_frames"])
    assert drawn == case.tensors["in.latents"].shape[2]
