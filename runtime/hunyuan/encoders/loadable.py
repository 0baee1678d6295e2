"""The released encoders, each loaded when needed and unloaded after use.

LLaVA alone takes 16 GB and makes 7 MB per prompt. So no two encoders are in memory at once, and an
encoder whose results are cached on disk is not loaded at all.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from runtime.hunyuan.encoders.embedding_cache import folder_identity
from runtime.hunyuan.encoders.faces import DEFAULT_MODELS, FaceFinder, InsightFaceFinder
from runtime.hunyuan.encoders.text import TextStates, load_clip, load_llava
from runtime.hunyuan.encoders.whisper import load_whisper
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.vae.autoencoder import load_vae
from runtime.models.audio_encoder import AudioEncoder

T = TypeVar("T")
R = TypeVar("R")


class PictureTextEncoder(Protocol):
    """LLaVA: `runtime.hunyuan.encoders.text.LlavaText`."""

    def __call__(self, prompt: str, pixels: Tensor, /) -> TextStates:
        """States of a prompt about a picture (1, 3, 336, 336)."""
        ...


class PooledTextEncoder(Protocol):
    """CLIP: `runtime.hunyuan.encoders.text.ClipText`."""

    def __call__(self, prompt: str, /) -> Tensor:
        """The pooled state (1, P) of a prompt."""
        ...


class VideoEncoder(Protocol):
    """The autoencoder's first half: `runtime.hunyuan.vae.autoencoder.ReleasedVae`."""

    def encode(self, video: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents (1, C, T, h, w) of a video (1, 3, F, H, W) in [-1, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class Loadable(Generic[T]):
    """How to load an encoder, and `identity`, a hash of its weights for the cache."""

    load: Callable[[], T]
    identity: str

    def use(self, work: Callable[[T], R]) -> R:
        """The result of `work` with the encoder, which is unloaded afterwards."""
        result = work(self.load())
        gc.collect()
        torch.cuda.empty_cache()  # does nothing if CUDA was not used
        return result


@dataclass(frozen=True, slots=True)
class Encoders:
    """All encoders that make a clip's conditioning."""

    whisper: Loadable[AudioEncoder]
    llava: Loadable[PictureTextEncoder]
    clip: Loadable[PooledTextEncoder]
    vae: Loadable[VideoEncoder]
    faces: Loadable[FaceFinder]


def release_encoders(
    folder: Path,
    device: str | torch.device,
    dtype: torch.dtype = torch.float16,
    face_models: Path = DEFAULT_MODELS,
) -> Encoders:
    """The encoders of a released folder; nothing is loaded yet. Raises CheckpointError.

    `dtype` is float16 in the release; on a CPU float32 is faster. Whisper is always float32.
    """
    layout = ReleasedLayout.find(folder)

    def identity(part: Path) -> str:
        return f"{folder_identity(part)} {dtype}"

    return Encoders(
        whisper=Loadable(lambda: load_whisper(layout.whisper, device), identity(layout.whisper)),
        llava=Loadable(lambda: load_llava(layout.llava, device, dtype), identity(layout.llava)),
        clip=Loadable(lambda: load_clip(layout.clip, device, dtype), identity(layout.clip)),
        vae=Loadable(lambda: load_vae(layout.vae, device, dtype), identity(layout.vae)),
        faces=Loadable(lambda: InsightFaceFinder(face_models), str(face_models)),
    )
