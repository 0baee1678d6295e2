"""The Face-Aware Audio Adapter (paper eq. 5) for any number of speakers, and its audio tokens.

All speakers' keys are concatenated, the softmax runs over each speaker's own keys, and the face
masks multiply the probabilities. One pair of matrix products then gives

    video += sum over speakers s of  adapter(audio_s, video) * mask_s

and the queries are computed once. With one speaker this is the release's formula.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.dit.config import DiTConfig
from runtime.timing import FRAMES_PER_LATENT

AUDIO_NORM_EPS = 1e-5


def group_frames(per_frame: Tensor, latent_frames: int) -> Tensor:
    """Tokens of video frames (B, S, F, k, D) grouped by latent frame, (B, T, S, 4 * k, D).

    With F = 4 T - 3 the first frame is repeated three times, as in the release; with F = 4 T every
    latent frame has its own four.
    """
    if per_frame.shape[2] != FRAMES_PER_LATENT * latent_frames:
        first = per_frame[:, :, :1].expand(-1, -1, FRAMES_PER_LATENT - 1, -1, -1)
        per_frame = torch.cat((first, per_frame), dim=2)
    per_latent = torch.unflatten(per_frame, 2, (latent_frames, FRAMES_PER_LATENT))
    return per_latent.flatten(3, 4).transpose(1, 2)


def mix_speakers(q: Tensor, k: Tensor, v: Tensor, masks: Tensor) -> Tensor:
    """Attention to each speaker's keys, multiplied by the speaker's mask and summed: (..., n, A).

    q (..., n, A); k, v (..., S * keys, A), speaker after speaker; masks (..., n, S, 1).
    """
    scale = q.shape[-1] ** -0.25  # on both sides, as the release does
    scores = (q * scale) @ (k * scale).transpose(-1, -2)
    speakers = masks.shape[-2]
    per_speaker = torch.unflatten(scores, -1, (speakers, -1))
    weights = per_speaker.float().softmax(dim=-1) * masks
    return weights.flatten(-2).type_as(v) @ v


class AudioProjection(nn.Module):
    """Audio encoder states around a video frame to that frame's audio tokens."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.tokens = config.audio_tokens
        in_size = config.audio_steps * config.audio_layers * config.audio_dim
        self.proj1 = nn.Linear(in_size, config.audio_hidden)
        self.proj2 = nn.Linear(config.audio_hidden, config.audio_hidden)
        self.proj3 = nn.Linear(config.audio_hidden, self.tokens * config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=AUDIO_NORM_EPS)

    def forward(self, audio: Tensor) -> Tensor:
        """audio (B, S, F, steps, layers, audio_dim) to (B, S, F, tokens, D)."""
        hidden = F.relu(self.proj2(F.relu(self.proj1(audio.flatten(3)))))
        tokens: Tensor = self.norm(self.proj3(hidden).unflatten(-1, (self.tokens, -1)))
        return tokens


class FrameMaps(nn.Module):
    """Four linear projections, one for each video frame of a latent frame.

    The adapter has one attention head, so a latent frame receives a weighted mean of its keys'
    values. With one projection shared by the four video frames only their average survives, and
    motion within 160 ms is lost; a projection per frame keeps them apart.
    """

    def __init__(self, in_size: int, out_size: int, tokens: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(FRAMES_PER_LATENT, in_size, out_size))
        self.positions = nn.Parameter(torch.zeros(FRAMES_PER_LATENT * tokens, out_size))

    def forward(self, grouped: Tensor) -> Tensor:
        """Tokens grouped by latent frame (B, T, S, 4 * tokens, K) to (B, T, S, 4 * tokens, D)."""
        frames = torch.unflatten(grouped, 3, (FRAMES_PER_LATENT, -1))
        return (frames @ self.weight).flatten(3, 4) + self.positions


class AudioAdapter(nn.Module):
    """Cross-attention of the video tokens of a latent frame to that latent frame's audio tokens."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=AUDIO_NORM_EPS)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=AUDIO_NORM_EPS)
        self.to_q = nn.Linear(config.hidden_size, config.adapter_dim, bias=False)
        self.to_kv = nn.Linear(config.hidden_size, 2 * config.adapter_dim, bias=False)
        self.to_out = nn.Linear(config.adapter_dim, config.hidden_size, bias=False)

    def keys_values(self, audio_tokens: Tensor) -> Tensor:
        """Audio tokens (B, T, S, keys, D) to keys and values (B, T, S * keys, 2 A)."""
        kv: Tensor = self.to_kv(self.norm1(audio_tokens))
        return kv.flatten(2, 3)

    def forward(self, video: Tensor, keys_values: Tensor, masks: Tensor) -> Tensor:
        """video (B, T * n, D), masks (B, T, n, S, 1) to the update of the video (B, T * n, D)."""
        q = self.to_q(self.norm2(video)).unflatten(1, masks.shape[1:3])
        k, v = keys_values.chunk(2, dim=-1)
        added: Tensor = self.to_out(mix_speakers(q, k, v, masks))
        return added.flatten(1, 2)


def adapter_keys_values(
    adapters: Iterable[AudioAdapter], audio_tokens: Tensor
) -> tuple[Tensor, ...]:
    """Each adapter's keys and values of the audio tokens; the same for all steps."""
    return tuple(adapter.keys_values(audio_tokens) for adapter in adapters)
