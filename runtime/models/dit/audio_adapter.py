"""The Face-Aware Audio Adapter: each voice moves its own face (paper eq. 5), for many speakers.

Speakers' keys stand side by side, the softmax runs over each speaker's own keys, and the face
masks multiply the probabilities: one pair of matrix products gives

    video += sum over speakers s of  adapter(audio_s, video) * mask_s

with the queries computed once. The release has one speaker; with one this is its formula.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.dit.config import DiTConfig
from runtime.timing import FRAMES_PER_LATENT

AUDIO_NORM_EPS = 1e-5


def group_frames(per_frame: Tensor, latent_frames: int) -> Tensor:
    """Tokens of video frames (B, S, F, k, D) grouped by latent frame, (B, T, S, 4 * k, D).

    F = 4 T - 3: the first frame stands alone and is copied three times, as in the release;
    F = 4 T: every latent frame brings its own four.
    """
    if per_frame.shape[2] != FRAMES_PER_LATENT * latent_frames:
        first = per_frame[:, :, :1].expand(-1, -1, FRAMES_PER_LATENT - 1, -1, -1)
        per_frame = torch.cat((first, per_frame), dim=2)
    per_latent = torch.unflatten(per_frame, 2, (latent_frames, FRAMES_PER_LATENT))
    return per_latent.flatten(3, 4).transpose(1, 2)


def mix_speakers(q: Tensor, k: Tensor, v: Tensor, masks: Tensor) -> Tensor:
    """Attention to each speaker's keys, weighted by the speakers' masks and summed.

    q (..., n, A); k, v (..., S * keys, A), speakers side by side; masks (..., n, S, 1).
    Returns (..., n, A).
    """
    scale = q.shape[-1] ** -0.25  # on both sides, as the release does
    scores = (q * scale) @ (k * scale).transpose(-1, -2)
    speakers = masks.shape[-2]
    per_speaker = torch.unflatten(scores, -1, (speakers, -1))
    weights = per_speaker.float().softmax(dim=-1) * masks
    return weights.flatten(-2).type_as(v) @ v


class AudioProjection(nn.Module):
    """Encoder states around a video frame to that frame's audio tokens."""

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
        """Audio tokens (B, T, S, keys, D) to (B, T, S * keys, 2 A); the same for all steps."""
        kv: Tensor = self.to_kv(self.norm1(audio_tokens))
        return kv.flatten(2, 3)

    def forward(self, video: Tensor, keys_values: Tensor, masks: Tensor) -> Tensor:
        """video (B, T * n, D), masks (B, T, n, S, 1); returns what is added, (B, T * n, D)."""
        q = self.to_q(self.norm2(video)).unflatten(1, masks.shape[1:3])
        k, v = keys_values.chunk(2, dim=-1)
        added: Tensor = self.to_out(mix_speakers(q, k, v, masks))
        return added.flatten(1, 2)
