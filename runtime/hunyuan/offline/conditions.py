"""The conditioning of a clip of the released model, made from a reference image and voices.

    encoders = release_encoders(folder, device)
    conditions = prepare(ClipRequest(picture, (samples,)), encoders, EmbeddingCache(folder))

The encoders run one after the other, after cheap checks. Results that depend only on the character
(text states, latents of the picture) are cached on disk if there is a cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from runtime.character.face_mask import check_boxes, face_masks
from runtime.character.pictures import pixels_of
from runtime.errors import BadInput, CheckpointError
from runtime.hunyuan.encoders.audio import pad_release_features
from runtime.hunyuan.encoders.audio_chunks import clip_audio_features
from runtime.hunyuan.encoders.embedding_cache import EmbeddingCache, Tensors
from runtime.hunyuan.encoders.faces import choose_faces
from runtime.hunyuan.encoders.loadable import (
    Encoders,
    Loadable,
    PictureTextEncoder,
    PooledTextEncoder,
    VideoEncoder,
)
from runtime.hunyuan.encoders.preprocess import (
    IMAGE_SIZE,
    Size,
    check_size,
    face_mask_pixels,
    latent_mask,
    llava_pixels,
    pixel_box,
    reference_video,
    release_size,
    resized,
)
from runtime.hunyuan.encoders.prompts import Prompts
from runtime.models.audio_encoder import AudioEncoder
from runtime.values import Box, Samples

log = logging.getLogger(__name__)

T = TypeVar("T")

MOTION_EXP = (30, 30, 30, 30)  # the release's constants: expression and head pose "buckets"
MOTION_POSE = (25, 25, 25, 25)
REFERENCE_SEED = 2505_20156  # of the picture's noise; any number that is no clip's seed
ENTRY_VERSION = "1"  # of the cache; raise it if the same input gives another result

VoiceFeatures = Callable[[AudioEncoder, Samples, float], Tensor]
"""Features (1, F, 10, 5, 384) of a voice at a frame rate."""


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """A clip to make: a reference image, a voice for each speaker, and options.

    Voice i moves face i. Without boxes the largest faces are taken, from left to right.
    """

    picture: Image.Image
    voices: tuple[Samples, ...]  # 16 kHz; shorter ones end in silence
    faces: tuple[Box, ...] = ()  # fractions of the picture
    prompts: Prompts = field(default_factory=Prompts)
    image_size: int = IMAGE_SIZE  # px, the shorter side
    size: Size | None = None  # px, multiples of 16; None: by the release's rule
    fps: float = 25.0  # or 12.5
    motion_exp: tuple[int, int, int, int] = MOTION_EXP
    motion_pose: tuple[int, int, int, int] = MOTION_POSE
    reference_seed: int | None = REFERENCE_SEED  # None: no noise (the release draws unseeded)

    def __post_init__(self) -> None:
        if not self.voices:
            raise BadInput("There is no voice. Give one sound file per speaker.", param="audio")
        if self.faces:
            check_boxes(self.faces)
        if self.faces and len(self.faces) != len(self.voices):
            raise BadInput(
                f"There are {len(self.faces)} face boxes and {len(self.voices)} voices. Give one "
                "box per voice, in the same order.",
                param="face",
            )

    @property
    def clip_size(self) -> Size:
        """The size of the video."""
        if self.size is not None:
            return check_size(self.size)
        return release_size(*self.picture.size, self.image_size)


@dataclass(frozen=True, slots=True)
class PromptStates:
    """One encoded prompt; L = 831, D = 4096 and P = 768 in the release."""

    text_states: Tensor  # (1, L, D)
    text_mask: Tensor  # (1, L) int64; see `TextStates`
    pooled_text: Tensor  # (1, P)


@dataclass(frozen=True, slots=True)
class ClipConditions:
    """All inputs of the sampler but noise; tensors are on the CPU. S speakers."""

    positive: PromptStates
    negative: PromptStates
    ref_latents: Tensor  # (1, 16, 33, h, w): the picture as a video, scaled
    face_mask: Tensor  # (1, S, 1, h, w) float32 in [0, 1]
    audio: Tensor  # (S, A, 10, 5, 384) float16, with the release's zero frames at the end
    audio_frames: int  # video frames that the voices last; the video is cut to them
    size: Size
    fps: float
    motion_exp: Tensor  # (1, 4) int64
    motion_pose: Tensor  # (1, 4) int64


def prepare(
    request: ClipRequest,
    encoders: Encoders,
    cache: EmbeddingCache | None = None,
    voice_features: VoiceFeatures = clip_audio_features,
) -> ClipConditions:
    """Runs the encoders for a clip. Raises BadInput, Unsupported and CheckpointError."""
    size = request.clip_size
    picture = resized(request.picture, size)
    faces = request.faces or find_faces(picture, len(request.voices), encoders)
    features = encode_voices(request, encoders, voice_features)
    positive, negative = read_prompts(request.prompts, picture, encoders, cache)
    return ClipConditions(
        positive=positive,
        negative=negative,
        ref_latents=encode_picture(picture, request.reference_seed, encoders, cache),
        face_mask=mask_faces(faces, size),
        audio=pad_release_features(features),
        audio_frames=features.shape[1],
        size=size,
        fps=request.fps,
        motion_exp=torch.tensor([request.motion_exp]),
        motion_pose=torch.tensor([request.motion_pose]),
    )


def find_faces(picture: Image.Image, speakers: int, encoders: Encoders) -> tuple[Box, ...]:
    """The speakers' faces from left to right. BadInput if there are too few."""
    found = encoders.faces.use(lambda finder: finder(pixels_of(picture)))
    return choose_faces(found, speakers)


def mask_faces(faces: Sequence[Box], size: Size) -> Tensor:
    """Masks (1, S, 1, h, w): the released one for one face; several split their overlaps."""
    if len(faces) == 1:
        return latent_mask(face_mask_pixels(pixel_box(faces[0], size), size))
    return face_masks(faces, size.latent_rows, size.latent_columns)[None, :, None]


@torch.no_grad()
def encode_voices(
    request: ClipRequest, encoders: Encoders, voice_features: VoiceFeatures
) -> Tensor:
    """Features (S, F, 10, 5, 384) of all voices; the shorter ones end in encoded silence."""
    longest = max(len(voice) for voice in request.voices)
    voices = [np.pad(voice, (0, longest - len(voice))) for voice in request.voices]

    def encode(encoder: AudioEncoder) -> Tensor:
        return torch.cat([voice_features(encoder, voice, request.fps).cpu() for voice in voices])

    log.info("Running whisper")
    features = encoders.whisper.use(encode)
    _check_finite("whisper", {"features": features})
    return features


def read_prompts(
    prompts: Prompts, picture: Image.Image, encoders: Encoders, cache: EmbeddingCache | None
) -> tuple[PromptStates, PromptStates]:
    """The states of the positive and the negative prompt, both with the picture."""
    texts = {"positive": prompts.positive, "negative": prompts.negative}

    def long_states(llava: PictureTextEncoder) -> Tensors:
        pixels = llava_pixels(picture)
        read = {name: llava(text, pixels) for name, text in texts.items()}
        states = {f"{name}.states": text.states.cpu() for name, text in read.items()}
        return states | {f"{name}.mask": text.mask.cpu() for name, text in read.items()}

    def pooled_states(clip: PooledTextEncoder) -> Tensors:
        return {name: clip(text).cpu() for name, text in texts.items()}

    content: tuple[str | bytes, ...] = tuple(texts.values())
    about = (*content, pixels_of(picture).tobytes(), str(picture.size))
    long = _cached("llava", about, encoders.llava, long_states, cache)
    pooled = _cached("clip", content, encoders.clip, pooled_states, cache)
    positive, negative = (
        PromptStates(long[f"{name}.states"], long[f"{name}.mask"], pooled[name]) for name in texts
    )
    return positive, negative


def encode_picture(
    picture: Image.Image, seed: int | None, encoders: Encoders, cache: EmbeddingCache | None
) -> Tensor:
    """Latents (1, 16, 33, h, w) of the picture as a still video, sampled as the release does."""

    def latents(vae: VideoEncoder) -> Tensors:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return {"latents": vae.encode(reference_video(picture), generator).cpu()}

    content = (pixels_of(picture).tobytes(), str(picture.size), str(seed))
    return _cached("reference", content, encoders.vae, latents, cache)["latents"]


@torch.no_grad()
def _cached(
    kind: str,
    content: Sequence[str | bytes],
    encoder: Loadable[T],
    work: Callable[[T], Tensors],
    cache: EmbeddingCache | None,
) -> Tensors:
    """The result of an encoder for `content`, by way of the cache if there is one."""

    def make() -> Tensors:
        log.info("Running %s", kind)
        made = encoder.use(work)
        _check_finite(kind, made)
        return made

    if cache is None:
        return make()
    return cache.get(kind, (ENTRY_VERSION, encoder.identity, *content), make)


def _check_finite(kind: str, tensors: Tensors) -> None:
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{kind} gave values that are not finite ({', '.join(broken)}). Its weights are "
            "damaged (run `avatar weights check`), or float16 is too narrow: use float32."
        )
