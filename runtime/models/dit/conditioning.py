"""What the video transformer is told besides the noise: values, and our own two small modules.

`Conditioning` is what a caller gives. `StepInputs` depend on the timestep and the prompt only and
`WindowInputs` on the window only, so a stream computes the first once per session and the second
once per window rather than in every call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.errors import BadInput, Unsupported
from runtime.models.dit.audio_adapter import mix_speakers
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.layers import NORM_EPS, RMSNorm
from runtime.models.dit.rope import apply_rope
from runtime.timing import FRAMES_PER_LATENT


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Conditions of one window; S speakers, F = 4 T - 3 or 4 T video frames of sound.

    With 4 T - 3 frames the first is heard four times by latent frame 0, as in the release; a model
    with `frame_maps` needs 4 T.
    """

    text_states: Tensor  # (B, L, text_dim)
    text_mask: Tensor | None  # (B, L), 1 = valid; None: all are
    pooled_text: Tensor  # (B, pooled_text_dim)
    ref_latents: Tensor  # (B, C, T, H, W): the still picture as a video
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
    """What one timestep and one prompt fix: text tokens and every AdaLN output."""

    text: Tensor  # (B, L, D)
    text_mask: Tensor | None  # (B, L) bool; None when every token is valid
    double: tuple[tuple[Tensor, Tensor], ...]  # per double block: image and text (B, 6 D) each
    single: tuple[Tensor, ...]  # per single block (B, 3 D)
    final: Tensor  # (B, 2 D)


@dataclass(frozen=True, slots=True)
class WindowInputs:
    """What one window fixes, whatever the timestep."""

    reference: Tensor  # (B, n, D): tokens in front of the video
    injected: Tensor  # (B, T * n, D): what the picture adds to the video tokens; may be zero
    rotation: Tensor  # RoPE of reference and video, complex ((T + 1) * n, 1, 1, head_dim / 2)
    masks: Tensor  # (B, T, n, S, 1): face masks on the token grid
    audio: tuple[Tensor, ...]  # per adapter: keys and values (B, T, S * keys, 2 A)
    emotion: tuple[Tensor, ...]  # per adapter: keys and values (B, 2, heads, S * h * w, head_dim)
    emotion_masks: Tensor | None  # masks times emotion_scale, (B, 1, T * n, S, 1)
    tokens: Tensor | None  # kept tokens of the h * w grid, (n,); None: all
    still: Tensor  # (B, C, T, H, W): what a residual prediction is added to
    newest: int | None = None  # only so many of the last latent frames are asked for; None: all


def still_latents(cond: Conditioning) -> Tensor:
    """The unmoving picture (B, C, T, H, W), its faces in the moods asked for.

    Moods fade in linearly with their strength, each in its speaker's mask.
    """
    if cond.emotion_latents is None:
        return cond.ref_latents
    change = cond.emotion_latents.unsqueeze(3) - cond.ref_latents.unsqueeze(1)
    masks = cond.face_masks.unsqueeze(2)  # (B, S, 1, 1 or T, H, W)
    if cond.emotion_scale is not None:
        masks = masks * cond.emotion_scale[:, :, None, None, None, None]
    return cond.ref_latents + (masks * change).sum(1)


def check_conditioning(cond: Conditioning, config: DiTConfig, latent_frames: int) -> None:
    """Refuses conditions that do not fit a window of `latent_frames` or this model."""
    batch, speakers, frames = cond.audio.shape[:3]
    fitting = sorted({config.frames_heard(latent_frames), FRAMES_PER_LATENT * latent_frames})
    if frames not in fitting:
        raise BadInput(
            f"The audio has {frames} video frames; a window of {latent_frames} latent frames "
            f"needs {' or '.join(map(str, fitting))}.",
            param="audio",
        )
    if cond.cues is not None and not config.motion_cues:
        raise Unsupported("This model has no motion cues: pass cues=None.", param="cues")
    if cond.emotion_latents is not None and not config.emotion:
        raise Unsupported(
            "This model has no emotion module: leave the emotion neutral, or use a model whose "
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
    """Checks a shape; None in it fits any size. An absent value is fine."""
    if value is None:
        return
    fits = all(e in (None, f) for e, f in zip(shape, value.shape, strict=False))
    if len(shape) != value.dim() or not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise BadInput(
            f"{name} has shape {tuple(value.shape)}; this window and model need ({expected}).",
            param=name,
        )


class FrameMaps(nn.Module):
    """A linear map of its own for each of a latent frame's four video frames.

    An adapter's attention is a mean of its keys' values, with one weight for a whole value. Were
    all four frames mapped alike, only their mean would arrive, and lips would do within 160 ms what
    they do on average. With maps of their own, four frames fit side by side into one mean.
    """

    def __init__(self, in_size: int, out_size: int, tokens: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(FRAMES_PER_LATENT, in_size, out_size))
        self.positions = nn.Parameter(torch.zeros(FRAMES_PER_LATENT * tokens, out_size))

    def forward(self, grouped: Tensor) -> Tensor:
        """Tokens grouped by latent frame (B, T, S, 4 * tokens, K) to (B, T, S, 4 * tokens, D)."""
        frames = torch.unflatten(grouped, 3, (FRAMES_PER_LATENT, -1))
        return (frames @ self.weight).flatten(3, 4) + self.positions


class EmotionAdapter(nn.Module):
    """Cross-attention from video tokens to a speaker's emotion reference (paper eq. 6).

    Keys carry the position of the reference picture (time -1), so that a mouth corner can find
    the same mouth corner. `gamma` is the learned scale of the paper.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        size, self.heads = config.hidden_size, config.heads
        self.norm1 = nn.LayerNorm(size, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(size, eps=NORM_EPS)
        self.to_q = nn.Linear(size, size, bias=False)
        self.to_kv = nn.Linear(size, 2 * size, bias=False)
        self.q_norm = RMSNorm(config.head_dim)
        self.k_norm = RMSNorm(config.head_dim)
        self.to_out = nn.Linear(size, size, bias=False)
        self.gamma = nn.Parameter(torch.tensor(0.1))

    def keys_values(self, emotion_tokens: Tensor, rotation: Tensor) -> Tensor:
        """Tokens (B, S, h*w, D) to (B, 2, heads, S * h*w, head_dim); of the reference."""
        k, v = self.to_kv(self.norm1(emotion_tokens)).unflatten(-1, (2, self.heads, -1)).unbind(3)
        k = F.rms_norm(k, k.shape[-1:], self.k_norm.weight, NORM_EPS)
        k = apply_rope(k, rotation.squeeze(1))
        return torch.stack((k, v), dim=1).flatten(2, 3).transpose(2, 3)

    def forward(
        self, video: Tensor, keys_values: Tensor, masks: Tensor, rotation: Tensor
    ) -> Tensor:
        """video (B, N, D), masks (B, 1, N, S, 1), what is added, (B, N, D)."""
        q = self.to_q(self.norm2(video)).unflatten(-1, (self.heads, -1))
        q = F.rms_norm(q, q.shape[-1:], self.q_norm.weight, NORM_EPS)
        q = apply_rope(q, rotation.squeeze(1)).transpose(1, 2)
        mixed = mix_speakers(q, keys_values[:, 0], keys_values[:, 1], masks)
        added: Tensor = self.gamma * self.to_out(mixed.transpose(1, 2).flatten(2))
        return added


def real_rotation(window: WindowInputs) -> WindowInputs:
    """`window` with its rotation in real pairs: compilers know no complex numbers."""
    if not window.rotation.is_complex():
        return window
    return replace(window, rotation=torch.view_as_real(window.rotation))
