"""The denoiser in torch for a CPU: the same function with less around its matrix products.

A small transformer spends half of its time on a CPU in norms, modulation, rotations and the calls
themselves. Here a modulation is the weight and bias of the LayerNorm before it, image and text are
normed and rotated together, GELU makes four passes instead of six, and the last block computes
queries and MLP only for the latent frames that are asked for. Weights are the model's own, shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.errors import Unsupported
from runtime.models.blocks import DoubleBlock, SingleBlock
from runtime.models.conditioning import StepInputs, WindowInputs
from runtime.models.dit import DiT
from runtime.models.layers import MLP, NORM_EPS, SQRT_2_OVER_PI, RMSNorm, patchify, unpatchify


@dataclass(frozen=True, slots=True)
class _Call:
    """What all blocks of one call share; one window, so there is no batch axis."""

    image_tokens: int
    rotation: Tensor  # complex (N + L, 1, 1, head_dim / 2): text tokens are turned by nothing
    slope: Tensor  # (), of GELU


class FusedDenoiser:
    """`DiT.denoise` for one window at a time in float32 on a CPU."""

    def __init__(self, dit: DiT) -> None:
        self._dit = dit
        self._size, self._heads = dit.config.hidden_size, dit.config.heads
        self._slope = torch.tensor(2 * SQRT_2_OVER_PI)

    @torch.inference_mode()
    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """As `DiT.denoise`; Unsupported for several windows, padded text or left-out tokens."""
        if len(x) != 1 or step.text_mask is not None or window.tokens is not None:
            raise Unsupported(
                f"The engine torch runs one window without padding at a time on a CPU; found "
                f"{len(x)} windows, or a mask. Use torch-eager."
            )
        dit, size = self._dit, self._size
        video = dit.img_in(patchify(x, dit.config.patch_size)) + window.injected
        img, txt = torch.cat((window.reference, video), dim=1)[0], step.text[0]
        rotation = window.rotation
        unturned = rotation.new_ones(len(txt), *rotation.shape[1:])
        call = _Call(len(img), torch.cat((rotation, unturned)), self._slope)
        for index, block in enumerate(dit.double_blocks):
            img, txt = self._double(block, img, txt, step.double[index], call)
            if index % 2 == 1:
                img = dit.listen(img[None], index // 2, window)[0]
        hidden = torch.cat((img, txt))
        *singles, last = dit.single_blocks
        for single, modulation in zip(singles, step.single, strict=False):
            hidden = self._single(single, hidden, modulation, slice(None), call)
        frames = x.shape[2] if window.newest is None else window.newest
        asked = slice(len(img) - frames * window.masks.shape[2], len(img))
        hidden = self._single(last, hidden, step.single[-1], asked, call)
        shift, scale = step.final.view(2, size)
        patches = dit.final_layer.linear(self._modulated(hidden, shift, scale + 1))
        patches = torch.unflatten(patches, 0, (frames, -1))[None]
        return unpatchify(patches, dit.config.patch_size, x.shape[3] // dit.config.patch_size[1])

    def _double(
        self,
        block: DoubleBlock,
        img: Tensor,
        txt: Tensor,
        modulation: tuple[Tensor, Tensor],
        call: _Call,
    ) -> tuple[Tensor, Tensor]:
        """As `DoubleBlock`; img (N, D), txt (L, D)."""
        img_mod, txt_mod = (part.view(6, self._size) for part in modulation)
        img_up, txt_up = img_mod + 1, txt_mod + 1
        qkv = torch.cat(
            (
                block.img_attn_qkv(self._modulated(img, img_mod[0], img_up[1])),
                block.txt_attn_qkv(self._modulated(txt, txt_mod[0], txt_up[1])),
            )
        )
        qk = _normed(torch.unflatten(qkv[:, : 2 * self._size], 1, (2, self._heads, -1)))
        count = call.image_tokens
        qk[:count].mul_(_weights(block.img_attn_q_norm, block.img_attn_k_norm))
        qk[count:].mul_(_weights(block.txt_attn_q_norm, block.txt_attn_k_norm))
        q, k = _turned(qk, call.rotation).unbind(1)
        attn = _attend(q, k, self._in_heads(qkv[:, 2 * self._size :]))
        img = torch.addcmul(img, img_mod[2], block.img_attn_proj(attn[:count]))
        txt = torch.addcmul(txt, txt_mod[2], block.txt_attn_proj(attn[count:]))
        return (
            self._through(block.img_mlp, img, img_mod, img_up, call),
            self._through(block.txt_mlp, txt, txt_mod, txt_up, call),
        )

    def _through(self, mlp: MLP, x: Tensor, mod: Tensor, up: Tensor, call: _Call) -> Tensor:
        inner = _gelu(mlp.fc1(self._modulated(x, mod[3], up[4])), call.slope)
        return torch.addcmul(x, mod[5], mlp.fc2(inner))

    def _single(
        self, block: SingleBlock, x: Tensor, modulation: Tensor, asked: slice, call: _Call
    ) -> Tensor:
        """As `SingleBlock` for the tokens asked for; every token gives keys and values."""
        size = self._size
        shift, scale, gate = modulation.view(3, size)
        given = self._modulated(x, shift, scale + 1)
        weight, bias = block.linear1.weight, block.linear1.bias
        kv = F.linear(given, weight[size : 3 * size], bias[size : 3 * size])
        k = _normed(self._in_heads(kv[:, :size])).mul_(block.k_norm.weight)
        given = given[asked]
        q = self._in_heads(F.linear(given, weight[:size], bias[:size]))
        q = _normed(q).mul_(block.q_norm.weight)
        rotation = call.rotation[:, 0]
        v = self._in_heads(kv[:, size:])
        attn = _attend(_turned(q, rotation[asked]), _turned(k, rotation), v)
        inner = _gelu(F.linear(given, weight[3 * size :], bias[3 * size :]), call.slope)
        out, onto = block.linear2.weight, block.linear2.bias
        added = torch.addmm(F.linear(attn, out[:, :size], onto), inner, out[:, size:].t())
        return torch.addcmul(x[asked], gate, added)

    def _in_heads(self, x: Tensor) -> Tensor:
        """(N, D) as (N, heads, head_dim)."""
        return torch.unflatten(x, 1, (self._heads, -1))

    def _modulated(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """Normalised x (N, D), times `scale` (1 already added) plus `shift`, (D,) each."""
        return F.layer_norm(x, (self._size,), scale, shift, NORM_EPS)


def _normed(heads: Tensor) -> Tensor:
    """RMS norm over the last axis, without weights."""
    return heads * heads.square().mean(-1, keepdim=True).add_(NORM_EPS).rsqrt_()


def _weights(q_norm: RMSNorm, k_norm: RMSNorm) -> Tensor:
    return torch.stack((q_norm.weight, k_norm.weight)).unsqueeze(1)


def _turned(heads: Tensor, rotation: Tensor) -> Tensor:
    """As `apply_rope`."""
    pairs = torch.view_as_complex(torch.unflatten(heads, -1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q (M, heads, head_dim), k and v (N, heads, head_dim) to (M, D)."""
    q, k, v = (each.transpose(0, 1)[None] for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)


def _gelu(x: Tensor, slope: Tensor) -> Tensor:
    """Tanh GELU as x * sigmoid(x * (slope + slope * 0.044715 x^2)), see `TanhGELU`."""
    twice_u = torch.addcmul(slope, x, x, value=2 * SQRT_2_OVER_PI * 0.044715).mul_(x)
    return twice_u.sigmoid_().mul_(x)
