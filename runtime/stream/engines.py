"""The interfaces of the engines that run a model's three parts; a stream calls nothing else.

The implementations are in `runtime.engine`. The caller chooses one by name (engine/choice.py); none
falls back to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from runtime.audio.features import FeatureEncoder
from runtime.models.dit.conditioning import StepInputs, WindowInputs


class Denoiser(Protocol):
    """The transformer, without what is computed once per step or once per window."""

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """The model's own prediction, velocity or residual, for noisy latents x (B, C, T, H, W).

        Shape of x; if `window.newest` is a number, at least that many of the last latent frames.
        """
        ...


class Decoder(Protocol):
    """Latents to video frames, one latent frame at a time. Its state is opaque to the caller."""

    def decode(self, latent: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(B, C, h, w) to four frames (B, 3, 4, H, W) in [-1, 1], and the state after them."""
        ...


@dataclass(frozen=True, slots=True)
class Engines:
    """The three engines of a stream; streams of the same shapes may share them."""

    denoiser: Denoiser
    decoder: Decoder
    audio_encoder: FeatureEncoder
