"""The release's step cache: 20 of 50 steps compute only the last block.

It keeps the tokens that enter the last single block in the last full step: the video tokens of each
latent frame of the clip (of overlapping windows the later one wins), and the reference and text
tokens of each window. The windows of a cached step have moved; each takes the reference and text
tokens of the window that wrote its first latent frame last, as in the release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.hunyuan.offline.schedule import ReleasePlan, ReleaseWindow


@dataclass(frozen=True, slots=True)
class Activations:
    """Of one step; B branches (unconditioned, conditioned), n tokens per latent frame."""

    step: int
    video: Tensor  # (B, l, n, D)
    around: Tensor  # (windows, B, n + L, D): reference and text tokens


class StepCache:
    """The activations of one clip, in the memory of `device`; written in place.

    Tokens of a window are (b, n + f * n + L, D): reference, f latent frames, text. `rows` selects
    their branches.
    """

    def __init__(
        self, plan: ReleasePlan, branches: int, frame_tokens: int, device: torch.device | str
    ) -> None:
        self._plan = plan
        self._branches = branches
        self._frame_tokens = frame_tokens
        self._device = torch.device(device)
        self.kept: Activations | None = None

    def store(self, step: int, window: ReleaseWindow, rows: slice, hidden: Tensor) -> None:
        """Stores the tokens of one window of `step`."""
        if self.kept is None or self.kept.step != step:
            self.kept = None  # frees the memory first
            self.kept = self._allocated(step, hidden)
        reference, video, text = self._parts(hidden.to(self._device))
        number = self._plan.windows(step).index(window)
        at = torch.tensor(window.latents, device=self._device)
        self.kept.video[rows, at] = torch.unflatten(video, 1, (-1, self._frame_tokens))
        self.kept.around[number, rows] = torch.cat((reference, text), dim=1)

    def fetch(self, window: ReleaseWindow, rows: slice, device: torch.device) -> Tensor:
        """The tokens of the last full step for a window of a later step."""
        assert self.kept is not None, "a cached step without a full one before it"
        written = self._plan.windows(self.kept.step)
        writer = max(i for i, w in enumerate(written) if window.latents[0] in w.latents)
        at = torch.tensor(window.latents, device=self._device)
        video = self.kept.video[rows, at].flatten(1, 2)
        around = self.kept.around[writer, rows]
        reference, text = around.tensor_split([self._frame_tokens], dim=1)
        return torch.cat((reference, video, text), dim=1).to(device)

    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors, for a file."""
        return {} if self.kept is None else {"video": self.kept.video, "around": self.kept.around}

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Restores the tensors that `tensors` returned after `step`."""
        video, around = (tensors[name].to(self._device) for name in ("video", "around"))
        self.kept = Activations(step, video, around)

    def _allocated(self, step: int, hidden: Tensor) -> Activations:
        _, tokens, size = hidden.shape
        around = tokens - self._plan.window * self._frame_tokens
        windows = len(self._plan.windows(step))
        video = (self._branches, self._plan.length, self._frame_tokens, size)
        return Activations(
            step,
            hidden.new_empty(video, device=self._device),
            hidden.new_empty((windows, self._branches, around, size), device=self._device),
        )

    def _parts(self, hidden: Tensor) -> tuple[Tensor, ...]:
        video = self._plan.window * self._frame_tokens
        return hidden.tensor_split([self._frame_tokens, self._frame_tokens + video], dim=1)
