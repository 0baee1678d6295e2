"""The video transformer for the offline sampler: prompts, guidance branches, step cache.

The first of the two branches gets no audio, and the negative prompt in the first 10 steps. From
step 10 on both get the positive prompt, so guidance is on audio only. Face masks are multiplied by
0.6 in the first 10 steps, in both branches. Reference, motion and fps are the same in both.

Padding of the text cannot reach the frames after the text refiner, so it is dropped there, and no
attention needs a mask of all tokens by all tokens. Branches whose prompts differ in length
therefore run one after the other, and so do all branches with `branches_apart`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from runtime.errors import Unsupported
from runtime.hunyuan.offline.conditions import ClipConditions, PromptStates
from runtime.hunyuan.offline.sampler import Velocities
from runtime.hunyuan.offline.schedule import (
    ReleasePlan,
    ReleaseWindow,
    feeds_cache,
    mask_factor_at,
    negative_prompt_at,
    uses_cache,
)
from runtime.hunyuan.offline.step_cache import StepCache
from runtime.models.dit.conditioning import Conditioning, StepInputs
from runtime.models.dit.dit import DiT
from runtime.models.dit.rope import rope_freqs

GUIDED, UNGUIDED = (False, True), (True,)  # per branch: is it conditioned on sound?


@dataclass(frozen=True, slots=True)
class DevicePlacement:
    """The devices that compute a clip and keep its step cache.

    `branches_apart` runs the guidance branches one after the other, to save memory.
    """

    device: torch.device
    cache_device: torch.device
    branches_apart: bool = False


@dataclass(frozen=True, slots=True)
class BranchInputs:
    """The inputs of some branches that are fixed during one step."""

    rows: slice
    conditions: Conditioning  # all but the audio
    step: StepInputs


class GuidedDiT:
    """Velocities of one clip, a `WindowDenoiser`. Holds its conditions and its step cache."""

    def __init__(
        self,
        dit: DiT,
        conditions: ClipConditions,
        plan: ReleasePlan,
        steps: int,
        is_guided: bool,
        placement: DevicePlacement,
    ) -> None:
        if dit.config.prediction != "velocity":
            raise Unsupported(
                "The released sampler needs a model that predicts velocities; this one predicts "
                f"{dit.config.prediction}s. Use a HunyuanVideo-Avatar checkpoint."
            )
        self._dit = dit
        self._conditions = conditions
        self._plan = plan
        self._steps = steps
        self._placement = placement
        self._branches: tuple[bool, ...] = GUIDED if is_guided else UNGUIDED
        self._dtype = dit.img_in.proj.weight.dtype
        self._audio = self._padded_audio(conditions.audio)
        rows, columns = self._token_grid(conditions.ref_latents)
        cos, sin = rope_freqs(
            plan.window, rows, columns, dit.config.rope_dims, dit.config.rope_theta
        )
        self._freqs = cos.to(placement.device), sin.to(placement.device)
        self.cache = StepCache(
            plan, len(self._branches), rows * columns, device=placement.cache_device
        )

    @torch.inference_mode()
    def at_step(self, step: int, t: Tensor) -> Velocities:
        """As `WindowDenoiser`; a cached step needs a full one before it, or a restored cache."""
        parts = [self._prepare(step, t, rows) for rows in self._row_groups(step)]

        def velocities(latents: Tensor, window: ReleaseWindow) -> Tensor:
            return torch.cat([self._velocity(step, part, latents, window) for part in parts])

        return velocities

    def _prompts(self, step: int, rows: slice) -> list[PromptStates]:
        negative = negative_prompt_at(step)
        return [
            self._conditions.negative if negative and not has_audio else self._conditions.positive
            for has_audio in self._branches[rows]
        ]

    def _row_groups(self, step: int) -> list[slice]:
        """The branches that one call computes together."""
        every = slice(0, len(self._branches))
        lengths = {int(prompt.text_mask.sum()) for prompt in self._prompts(step, every)}
        if self._placement.branches_apart or len(lengths) > 1:
            return [slice(*ends) for ends in pairwise(range(every.stop + 1))]
        return [every]

    def _prepare(self, step: int, t: Tensor, rows: slice) -> BranchInputs:
        prompts = self._prompts(step, rows)
        conditions = self._conditions_of(step, prompts)
        with self._precision():
            inputs = self._dit.prepare_step(t.expand(len(prompts)), conditions)
        if inputs.text_mask is not None:
            valid = int(prompts[0].text_mask.sum())
            inputs = replace(inputs, text=inputs.text[:, :valid], text_mask=None)
        return BranchInputs(rows, conditions, inputs)

    def _conditions_of(self, step: int, prompts: Sequence[PromptStates]) -> Conditioning:
        clip, count, device = self._conditions, len(prompts), self._placement.device
        texts = torch.cat([prompt.text_states for prompt in prompts])
        pooled = torch.cat([prompt.pooled_text for prompt in prompts])
        reference = clip.ref_latents.to(device, self._dtype)
        masks = clip.face_mask.to(device) * mask_factor_at(step)
        return Conditioning(
            text_states=texts.to(device, self._dtype),
            text_mask=torch.cat([prompt.text_mask for prompt in prompts]).to(device),
            pooled_text=pooled.to(device, self._dtype),
            ref_latents=reference.expand(count, -1, -1, -1, -1),
            audio=self._audio[:, :, :0].expand(count, -1, -1, -1, -1, -1),
            face_masks=masks.expand(count, -1, -1, -1, -1),
            motion_exp=clip.motion_exp.to(device).expand(count, -1),
            motion_pose=clip.motion_pose.to(device).expand(count, -1),
            fps=torch.full((count,), float(clip.fps), device=device),
            freqs_cos=self._freqs[0],
            freqs_sin=self._freqs[1],
        )

    def _velocity(
        self, step: int, part: BranchInputs, latents: Tensor, window: ReleaseWindow
    ) -> Tensor:
        has_audio = self._branches[part.rows]
        flags = torch.tensor(has_audio, dtype=self._dtype, device=self._placement.device)
        audio = self._audio[:, :, list(window.frames)] * flags.view(-1, 1, 1, 1, 1, 1)
        x = latents.to(self._dtype).expand(len(has_audio), -1, -1, -1, -1)
        with self._precision():
            inputs = self._dit.prepare_window(
                replace(part.conditions, audio=audio), self._plan.window
            )
            if uses_cache(step):
                hidden = self.cache.fetch(window, part.rows, self._placement.device)
            else:
                hidden = self._dit.hidden_before_last(x, part.step, inputs)
            if feeds_cache(step, self._steps):
                self.cache.store(step, window, part.rows, hidden)
            return self._dit.finish(hidden, x, part.step, inputs)

    def _padded_audio(self, audio: Tensor) -> Tensor:
        """(S, A, 10, layers, width) to (1, S, 4 l, ...): missing frames are exact zeros."""
        missing = self._plan.audio_frames - audio.shape[1]
        silence = audio.new_zeros(audio.shape[0], missing, *audio.shape[2:])
        return torch.cat((audio, silence), dim=1)[None].to(self._placement.device, self._dtype)

    def _token_grid(self, latents: Tensor) -> tuple[int, int]:
        _, height, width = self._dit.config.patch_size
        return latents.shape[3] // height, latents.shape[4] // width

    def _precision(self) -> AbstractContextManager[object]:
        """Autocast, as in the release: norms and softmax run in float32."""
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._placement.device.type, self._dtype)
