"""Whisper's audio encoder: log-mel columns to the hidden states of every layer.

The architecture of "Robust Speech Recognition via Large-Scale Weak Supervision" (Radford et al.,
2022, section 2.2): two convolutions with GELU reduce the 100 Hz mel to 50 Hz steps, fixed sinusoids
encode positions, and pre-norm transformer layers follow. Parameter names are those of transformers'
`WhisperEncoder`, so published encoders load with `strict=True`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import CheckpointError

_MAX_TIMESCALE = 10_000.0  # of the sinusoids, as in Whisper


@dataclass(frozen=True, slots=True)
class AudioEncoderConfig:
    """Sizes of an encoder. A step is 20 ms: two mel columns."""

    width: int
    heads: int
    layers: int
    max_steps: int
    mel_bins: int = 80
    feed_forward: int | None = None

    @property
    def hidden_states(self) -> int:
        """Hidden states per step: the input of the first layer and the output of every layer."""
        return self.layers + 1

    @property
    def feed_forward_width(self) -> int:
        return 4 * self.width if self.feed_forward is None else self.feed_forward

    @classmethod
    def from_dict(cls, values: Mapping[str, int | None]) -> AudioEncoderConfig:
        """The configuration that `to_dict` wrote. CheckpointError for unknown or missing keys."""
        try:
            return cls(**values)  # type: ignore[arg-type]
        except TypeError as error:
            raise CheckpointError(
                f"audio_encoder configuration {dict(values)} does not fit: {error}. "
                "Export the encoder again with `python -m training.train.audio_encoder`."
            ) from error

    def to_dict(self) -> dict[str, int | None]:
        return asdict(self)


TINY = AudioEncoderConfig(width=64, heads=2, layers=4, max_steps=100)


def sinusoids(steps: int, width: int) -> Tensor:
    """Position embeddings (steps, width): sines in the first half of the width, then cosines."""
    decay = math.log(_MAX_TIMESCALE) / (width // 2 - 1)
    rates = torch.exp(-decay * torch.arange(width // 2, dtype=torch.float32))
    angles = torch.arange(steps, dtype=torch.float32)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class SelfAttention(nn.Module):
    """Multi-head attention of all steps to all steps. As in Whisper, keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        q, k, v = (
            projection(x).view(batch, steps, self.heads, -1).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, steps, width))
        return out


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward, each added to its input."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config.width, config.heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.feed_forward_width)
        self.fc2 = nn.Linear(config.feed_forward_width, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        hidden = functional.gelu(self.fc1(self.final_layer_norm(x)))
        out: Tensor = x + self.fc2(hidden)
        return out


class AudioEncoder(nn.Module):
    """mel (B, 80, 2M) -> hidden states (B, M, layers + 1, width), M <= max_steps.

    Hidden state 0 is the convolutions' output plus positions; the final LayerNorm is applied to the
    last one. This is the order of `hidden_states` in the release.
    """

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.mel_bins, config.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_steps, config.width)
        self.embed_positions.weight = nn.Parameter(
            sinusoids(config.max_steps, config.width), requires_grad=False
        )
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.width)

    def forward(self, mel: Tensor) -> Tensor:
        steps = mel.shape[-1] // 2
        assert mel.shape[1:] == (self.config.mel_bins, 2 * steps), f"mel has shape {mel.shape}"
        assert steps <= self.config.max_steps, f"{steps} steps, at most {self.config.max_steps}"
        x = functional.gelu(self.conv1(mel))
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.embed_positions.weight[:steps]
        states = [x]
        for layer in self.layers:
            x = layer(x)
            states.append(x)
        states[-1] = self.layer_norm(x)
        return torch.stack(states, dim=2)
