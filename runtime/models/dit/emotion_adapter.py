"""The Audio Emotion Module (paper eq. 6): a speaker's face takes the emotion of a reference."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.dit.audio_adapter import mix_speakers
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.layers import NORM_EPS, RMSNorm
from runtime.models.dit.rope import apply_rope


class EmotionAdapter(nn.Module):
    """Cross-attention from video tokens to a speaker's emotion reference, scaled by `gamma`.

    Keys have the positions of the reference image (time -1), so a mouth corner can attend to the
    same mouth corner.
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
        """Emotion tokens (B, S, h*w, D) to keys and values (B, 2, heads, S * h*w, head_dim).

        `rotation` is that of the reference image.
        """
        k, v = self.to_kv(self.norm1(emotion_tokens)).unflatten(-1, (2, self.heads, -1)).unbind(3)
        k = F.rms_norm(k, k.shape[-1:], self.k_norm.weight, NORM_EPS)
        k = apply_rope(k, rotation.squeeze(1))
        return torch.stack((k, v), dim=1).flatten(2, 3).transpose(2, 3)

    def forward(
        self, video: Tensor, keys_values: Tensor, masks: Tensor, rotation: Tensor
    ) -> Tensor:
        """video (B, N, D), masks (B, 1, N, S, 1) to the update of the video (B, N, D)."""
        q = self.to_q(self.norm2(video)).unflatten(-1, (self.heads, -1))
        q = F.rms_norm(q, q.shape[-1:], self.q_norm.weight, NORM_EPS)
        q = apply_rope(q, rotation.squeeze(1)).transpose(1, 2)
        mixed = mix_speakers(q, keys_values[:, 0], keys_values[:, 1], masks)
        added: Tensor = self.gamma * self.to_out(mixed.transpose(1, 2).flatten(2))
        return added
