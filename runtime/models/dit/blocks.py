"""The two kinds of transformer block: double (image and text apart) and single (together).

In both, every token attends to every token of [reference | video | text], except for padding of
the text (`attention_mask`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.dit.attention import fastest_kernel
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.layers import MLP, Modulation, RMSNorm, TanhGELU, modulate, normalize_heads
from runtime.models.dit.rope import apply_rope


def attention_mask(text_mask: Tensor | None, image_tokens: int) -> Tensor | None:
    """The tokens that each token attends to, (B, 1, N, N) bool; None: all of them.

    The release splits a sample into two segments by *counting* valid text tokens: the image with
    the first `sum(text_mask)` text tokens, and the rest. Tokens attend within their segment. The
    positions of the ones in the mask do not matter.
    """
    if text_mask is None:
        return None
    position = torch.arange(image_tokens + text_mask.shape[1], device=text_mask.device)
    valid = position < image_tokens + text_mask.sum(dim=1, keepdim=True)
    return (valid[:, None, :] == valid[:, :, None]).unsqueeze(1)


def attend(qk: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention over all tokens; qk (B, N, 2, heads, head_dim), v (B, N, heads, head_dim)."""
    q, k = qk.transpose(1, 3).unbind(2)
    with fastest_kernel(q, mask):
        out = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), attn_mask=mask)
    return out.transpose(1, 2).flatten(2)


class DoubleBlock(nn.Module):
    """Image and text tokens with their own weights, joined in one attention."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        size, self.heads = config.hidden_size, config.heads
        self.img_mod = Modulation(size, 6)
        self.img_attn_qkv = nn.Linear(size, 3 * size)
        self.img_attn_q_norm = RMSNorm(config.head_dim)
        self.img_attn_k_norm = RMSNorm(config.head_dim)
        self.img_attn_proj = nn.Linear(size, size)
        self.img_mlp = MLP(size, config.mlp_size, TanhGELU())
        self.txt_mod = Modulation(size, 6)
        self.txt_attn_qkv = nn.Linear(size, 3 * size)
        self.txt_attn_q_norm = RMSNorm(config.head_dim)
        self.txt_attn_k_norm = RMSNorm(config.head_dim)
        self.txt_attn_proj = nn.Linear(size, size)
        self.txt_mlp = MLP(size, config.mlp_size, TanhGELU())

    def forward(
        self,
        img: Tensor,
        txt: Tensor,
        modulation: tuple[Tensor, Tensor],
        rotation: Tensor,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """img (B, R+N, D), txt (B, L, D), modulation of img and txt (B, 6 D) each.

        rotation (R+N, 1, 1, head_dim / 2), complex or in real pairs, is for the image tokens only.
        """
        img_parts, txt_parts = (part.unsqueeze(1).chunk(6, dim=-1) for part in modulation)

        img_qkv = self.img_attn_qkv(modulate(img, *img_parts[:2])).unflatten(2, (3, self.heads, -1))
        txt_qkv = self.txt_attn_qkv(modulate(txt, *txt_parts[:2])).unflatten(2, (3, self.heads, -1))
        img_qk = normalize_heads(img_qkv[:, :, :2], self.img_attn_q_norm, self.img_attn_k_norm)
        txt_qk = normalize_heads(txt_qkv[:, :, :2], self.txt_attn_q_norm, self.txt_attn_k_norm)
        qk = torch.cat((apply_rope(img_qk, rotation), txt_qk), dim=1)
        v = torch.cat((img_qkv[:, :, 2], txt_qkv[:, :, 2]), dim=1)
        attn = attend(qk, v, mask)
        img_attn, txt_attn = attn[:, : img.shape[1]], attn[:, img.shape[1] :]

        img = torch.addcmul(img, img_parts[2], self.img_attn_proj(img_attn))
        img = torch.addcmul(img, img_parts[5], self.img_mlp(modulate(img, *img_parts[3:5])))
        txt = torch.addcmul(txt, txt_parts[2], self.txt_attn_proj(txt_attn))
        txt = torch.addcmul(txt, txt_parts[5], self.txt_mlp(modulate(txt, *txt_parts[3:5])))
        return img, txt


class SingleBlock(nn.Module):
    """All tokens with the same weights; attention and MLP in parallel."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        size, self.heads = config.hidden_size, config.heads
        self.sizes = (3 * size, config.mlp_size)
        self.linear1 = nn.Linear(size, sum(self.sizes))
        self.linear2 = nn.Linear(size + config.mlp_size, size)
        self.mlp_act = TanhGELU()
        self.q_norm = RMSNorm(config.head_dim)
        self.k_norm = RMSNorm(config.head_dim)
        self.modulation = Modulation(size, 3)

    def forward(
        self, x: Tensor, modulation: Tensor, rotation: Tensor, mask: Tensor | None
    ) -> Tensor:
        """x (B, R+N+L, D), modulation (B, 3 D); rotation as in `DoubleBlock`."""
        shift, scale, gate = modulation.unsqueeze(1).chunk(3, dim=-1)
        qkv, mlp = self.linear1(modulate(x, shift, scale)).split(self.sizes, dim=-1)
        qkv = qkv.unflatten(2, (3, self.heads, -1))
        qk = normalize_heads(qkv[:, :, :2], self.q_norm, self.k_norm)
        image_tokens = rotation.shape[0]
        qk = torch.cat((apply_rope(qk[:, :image_tokens], rotation), qk[:, image_tokens:]), dim=1)
        attn = attend(qk, qkv[:, :, 2], mask)
        out = self.linear2(torch.cat((attn, self.mlp_act(mlp)), dim=-1))
        return torch.addcmul(x, gate, out)
