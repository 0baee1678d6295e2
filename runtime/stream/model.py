"""What a stream needs of a model, whoever made its weights.

The built-in model (checkpoint.py) and the released one (released/live.py) are both such a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from runtime.audio.features import Encoder
from runtime.character.character import Character
from runtime.models.dit.dit import DiT
from runtime.values import Box


@dataclass(frozen=True, slots=True)
class Prompt:
    """Text embeddings: states (L, text_dim), pooled (pooled_text_dim,).

    `mask` (L,) int64 counts the valid states, as `TextStates` of the release; None: all are.
    """

    states: Tensor
    pooled: Tensor
    mask: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Valid text tokens: those that reach the transformer's blocks."""
        return len(self.states) if self.mask is None else int(self.mask.sum())


class PictureCodec(Protocol):
    """Pictures to latents, once a character; latents to pictures, all the time."""

    def still(self, picture: Tensor) -> Tensor:
        """The latent frame (B, C, h, w) of an unmoving picture (B, 3, H, W) in [-1, 1]."""
        ...

    def reference(self, picture: Tensor, latent_frames: int) -> Tensor:
        """The picture as a still video, (B, C, T, h, w): what every window is shown."""
        ...

    def start(self, picture: Tensor) -> Any:
        """The decoder's state before the first latent frame."""
        ...

    def decode(self, latent: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As `runtime.stream.engines.Decoder`."""
        ...


class StreamModel(Protocol):
    """Weights only; shared by all streams."""

    @property
    def dit(self) -> DiT: ...

    @property
    def autoencoder(self) -> PictureCodec: ...

    @property
    def audio_encoder(self) -> Encoder: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def picture_multiple_px(self) -> int:
        """Both sides of a picture must be multiples of this."""
        ...

    def prompt_of(self, character: Character) -> Prompt:
        """What the denoiser reads about a character."""
        ...

    def masks_of(self, boxes: Sequence[Box], rows: int, columns: int) -> Tensor:
        """Soft weights (S, rows, columns) of the speakers' faces on the latents, on any device."""
        ...

    def precision(self) -> AbstractContextManager[object]:
        """Around what is computed once a step or a window: autocast where weights are narrow."""
        ...
