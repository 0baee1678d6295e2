"""The token refiner: small self-attention blocks between the text encoder and the DiT."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.dit.config import DiTConfig
from runtime.models.dit.layers import MLP, NORM_EPS, NumberEmbedder

MLP_RATIO = 4  # whatever `DiTConfig.mlp_ratio` is


class TextMeanEmbedder(nn.Module):
    """Mean text state (B, text_dim) to (B, D)."""

    def __init__(self, text_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(text_dim, hidden_size)
        self.linear_2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return embedded


class RefinerBlock(nn.Module):
    """Self-attention and MLP; the condition gives their gates, but no shift and no scale."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        size, self.heads = config.hidden_size, config.heads
        self.norm1 = nn.LayerNorm(size, eps=NORM_EPS)
        self.self_attn_qkv = nn.Linear(size, 3 * size)
        self.self_attn_proj = nn.Linear(size, size)
        self.norm2 = nn.LayerNorm(size, eps=NORM_EPS)
        self.mlp = MLP(size, MLP_RATIO * size, nn.SiLU())
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(size, 2 * size))

    def forward(self, x: Tensor, condition: Tensor, mask: Tensor | None) -> Tensor:
        gate_attn, gate_mlp = self.adaLN_modulation(condition).unsqueeze(1).chunk(2, dim=-1)
        qkv = self.self_attn_qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.transpose(1, 3).unbind(2)
        attn = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = torch.addcmul(x, gate_attn, self.self_attn_proj(attn.transpose(1, 2).flatten(2)))
        return torch.addcmul(x, gate_mlp, self.mlp(self.norm2(x)))


class RefinerStack(nn.Module):
    """The blocks under their released name."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(RefinerBlock(config) for _ in range(config.refiner_blocks))


class TextRefiner(nn.Module):
    """Text states (B, L, text_dim) and the timestep to text tokens (B, L, D)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.input_embedder = nn.Linear(config.text_dim, config.hidden_size)
        self.t_embedder = NumberEmbedder(config.hidden_size)
        self.c_embedder = TextMeanEmbedder(config.text_dim, config.hidden_size)
        self.individual_token_refiner = RefinerStack(config)

    def forward(self, text_states: Tensor, t: Tensor, text_mask: Tensor | None) -> Tensor:
        """text_mask (B, L) bool; None: every token is valid."""
        condition = self.t_embedder(t) + self.c_embedder(masked_mean(text_states, text_mask))
        visible = None if text_mask is None else visible_keys(text_mask)
        x: Tensor = self.input_embedder(text_states)
        for block in self.individual_token_refiner.blocks:
            x = block(x, condition, visible)
        return x


def masked_mean(text_states: Tensor, text_mask: Tensor | None) -> Tensor:
    """Mean (B, text_dim) over the valid tokens."""
    if text_mask is None:
        return text_states.mean(dim=1)
    weights = text_mask.unsqueeze(-1).type_as(text_states)
    return (text_states * weights).sum(dim=1) / weights.sum(dim=1)


def visible_keys(text_mask: Tensor) -> Tensor:
    """(B, 1, L, L) bool: valid tokens attend to valid ones; all attend to token 0 (as released)."""
    visible = text_mask[:, None, :] & text_mask[:, :, None]
    visible[:, :, 0] = True
    return visible.unsqueeze(1)
