"""The inputs of the video transformer besides the noisy latents.

A caller gives `Conditioning`. From it the transformer makes `StepInputs`, which depend on timestep
and prompt only, and `WindowInputs`, which depend on the window only. A stream computes the first
once per session and the second once per window, rather than in every call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from runtime.errors import BadInput, Unsupported
from runtime.models.dit.config import DiTConfig
from runtime.timing import FRAMES_PER_LATENT


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Conditioning of one window: S speakers, F = 4 T - 3 or 4 T video frames of audio.

    With 4 T - 3 frames, latent frame 0 uses the first one four times, as in the release. A model
    with `frame_maps` needs 4 T.
    """

    text_states: Tensor  # (B, L, text_dim)
    text_mask: Tensor | None  # (B, L), 1 = valid; None: all are
    pooled_text: Tensor  # (B, pooled_text_dim)
    ref_latents: Tensor  # (B, C, T, H, W): the reference image as a still video
    audio: Tensor  # (B, S, F, audio_steps, audio_layers, audio_dim)
    face_masks: Tensor  # (B, S, 1 or T, H, W), soft weights in [0, 1]
    motion_exp: Tensor  # (B, 4): 30 each in the release
    motion_pose: Tensor  # (B, 4): 25 each in the release
    fps: Tensor  # (B,): 25
    freqs_cos: Tensor  # ((T + 1) * h * w, head_dim), from `rope_freqs`
    freqs_sin: Tensor
    cues: Tensor | None = None  # (B, S, F, motion_cues); None: audio only
    emotion_latents: Tensor | None = None  # (B, S, C, H, W); None: neutral
    emotion_scale: Tensor | None = None  # (B, S), 1 = as trained; None: 1


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What depends on timestep and prompt only: text tokens and all AdaLN outputs."""

    text: Tensor  # (B, L, D)
    text_mask: Tensor | None  # (B, L) bool; None: every token is valid
    double: tuple[tuple[Tensor, Tensor], ...]  # per double block: image and text (B, 6 D) each
    single: tuple[Tensor, ...]  # per single block (B, 3 D)
    final: Tensor  # (B, 2 D)


@dataclass(frozen=True, slots=True)
class WindowInputs:
    """What depends on the window only, not on the timestep."""

    reference: Tensor  # (B, n, D): the reference image's tokens, before the video's
    injected: Tensor  # (B, T * n, D): added to the video tokens (image_injection); may be zero
    rotation: Tensor  # RoPE of reference and video, complex ((T + 1) * n, 1, 1, head_dim / 2)
    masks: Tensor  # (B, T, n, S, 1): face masks on the token grid
    audio: tuple[Tensor, ...]  # per adapter: keys and values (B, T, S * keys, 2 A)
    emotion: tuple[Tensor, ...]  # per adapter: keys and values (B, 2, heads, S * h * w, head_dim)
    emotion_masks: Tensor | None  # masks times emotion_scale, (B, 1, T * n, S, 1)
    tokens: Tensor | None  # active tokens of the h * w grid, (n,); None: all
    still: Tensor  # (B, C, T, H, W): a residual prediction is relative to it
    newest: int | None = None  # predict only so many of the last latent frames; None: all


def still_latents(cond: Conditioning) -> Tensor:
    """The reference image as a still video, (B, C, T, H, W), with the emotions of its faces.

    Each emotion is blended in linearly by its strength, inside its speaker's mask.
    """
    if cond.emotion_latents is None:
        return cond.ref_latents
    change = cond.emotion_latents.unsqueeze(3) - cond.ref_latents.unsqueeze(1)
    masks = cond.face_masks.unsqueeze(2)  # (B, S, 1, 1 or T, H, W)
    if cond.emotion_scale is not None:
        masks = masks * cond.emotion_scale[:, :, None, None, None, None]
    return cond.ref_latents + (masks * change).sum(1)


def check_conditioning(cond: Conditioning, config: DiTConfig, latent_frames: int) -> None:
    """Raise BadInput or Unsupported if the conditioning does not fit the window or the model."""
    batch, speakers, frames = cond.audio.shape[:3]
    fitting = sorted({config.audio_frame_count(latent_frames), FRAMES_PER_LATENT * latent_frames})
    if frames not in fitting:
        raise BadInput(
            f"The audio has {frames} video frames, but a window of {latent_frames} latent frames "
            f"needs {' or '.join(map(str, fitting))}.",
            param="audio",
        )
    if cond.cues is not None and not config.motion_cues:
        raise Unsupported("This model has no motion cues. Pass cues=None.", param="cues")
    if cond.emotion_latents is not None and not config.emotion:
        raise Unsupported(
            "This model has no emotion module. Leave the emotion neutral, or use a model whose "
            "description says emotion = true.",
            param="emotion_latents",
        )
    _, _, _, height, width = cond.ref_latents.shape
    _, ph, pw = config.patch_size
    tokens = (latent_frames + 1) * (height // ph) * (width // pw)
    features = (config.audio_steps, config.audio_layers, config.audio_dim)
    _expect("audio", cond.audio, (batch, speakers, frames, *features))
    mask_frames = 1 if cond.face_masks.shape[2:3] == (1,) else latent_frames
    _expect("face_masks", cond.face_masks, (batch, speakers, mask_frames, height, width))
    _expect("ref_latents", cond.ref_latents, (batch, None, latent_frames, None, None))
    _expect("freqs_cos", cond.freqs_cos, (tokens, config.head_dim))
    _expect("freqs_sin", cond.freqs_sin, (tokens, config.head_dim))
    _expect("cues", cond.cues, (batch, speakers, frames, config.motion_cues))
    _expect("emotion_latents", cond.emotion_latents, (batch, speakers, None, height, width))
    _expect("emotion_scale", cond.emotion_scale, (batch, speakers))


def _expect(name: str, value: Tensor | None, shape: tuple[int | None, ...]) -> None:
    """Check a shape; None in it matches any size. A missing value passes."""
    if value is None:
        return
    fits = all(e in (None, f) for e, f in zip(shape, value.shape, strict=False))
    if len(shape) != value.dim() or not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise BadInput(
            f"{name} has shape {tuple(value.shape)}, but this window and model need ({expected}).",
            param=name,
        )


def real_rotation(window: WindowInputs) -> WindowInputs:
    """`window` with its rotation as real pairs, for compilers without complex numbers."""
    if not window.rotation.is_complex():
        return window
    return replace(window, rotation=torch.view_as_real(window.rotation))
