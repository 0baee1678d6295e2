"""What runs a model's three parts. A stream asks these verbs only, whatever is behind them.

Implementations stand side by side: torch_engine.py, onnx_engine.py, tensorrt_engine.py. The
caller names one, see `choice.py`; none falls back to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from runtime.audio.features import Encoder
from runtime.models.dit.conditioning import StepInputs, WindowInputs


class Denoiser(Protocol):
    """The transformer itself, without what is computed once per step or per window."""

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """The model's own prediction, of the shape of the noisy latents x (B, C, T, H, W).

        Where `window.newest` is a number, only so many of the last latent frames need be there.
        """
        ...


class Decoder(Protocol):
    """Latents to pictures, one latent frame at a time.

    A state is a value of the decoder's own kind: who holds one never looks inside.
    """

    def decode(self, latent: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(B, C, h, w) to four pictures (B, 3, 4, H, W) in [-1, 1], and the state after them."""
        ...


@dataclass(frozen=True, slots=True)
class Engines:
    """The three engines of a stream; streams of the same shapes may share them."""

    denoiser: Denoiser
    decoder: Decoder
    audio_encoder: Encoder
