"""The interface of a model that can stream.

The built-in model (weights/checkpoint.py) and the released one (hunyuan/live/model.py) have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from runtime.audio.features import FeatureEncoder
from runtime.character.character import Character
from runtime.models.dit.dit import DiT
from runtime.values import Box


@dataclass(frozen=True, slots=True)
class Prompt:
    """Text embeddings: states (L, text_dim), pooled (pooled_text_dim,).

    `mask` (L,) int64 is 1 for valid states, as in the release; None: all are valid.
    """

    states: Tensor
    pooled: Tensor
    mask: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Valid text tokens: those that reach the transformer's blocks."""
        return len(self.states) if self.mask is None else int(self.mask.sum())


class PictureCodec(Protocol):
    """Encodes reference images and decodes latents."""

    def still(self, picture: Tensor) -> Tensor:
        """The latent frame (B, C, h, w) of an image at rest, (B, 3, H, W) in [-1, 1]."""
        ...

    def reference(self, picture: Tensor, latent_frames: int) -> Tensor:
        """The image as a still video, (B, C, T, h, w): the reference of every window."""
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
    def audio_encoder(self) -> FeatureEncoder: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def picture_multiple_px(self) -> int:
        """Both sides of an image must be multiples of this."""
        ...

    def prompt_of(self, character: Character) -> Prompt:
        """The text embeddings of a character."""
        ...

    def masks_of(self, boxes: Sequence[Box], rows: int, columns: int) -> Tensor:
        """Soft weights (S, rows, columns) of the speakers' faces on the latents, on any device."""
        ...

    def precision(self) -> AbstractContextManager[object]:
        """Context for what is computed once a step or a window: autocast if weights are 16 bit."""
        ...
