"""The denoiser in torch for a CPU: the same function with less work around its matrix products.

On a CPU a small transformer spends half of its time in norms, modulation, rotations and the calls
themselves. Here oneDNN multiplies the image tokens, GELU included, by weights in its own layout.
AdaLN shift and scale are folded into the preceding LayerNorm's affine, image and text share one
QK-norm and RoPE call, and the last block attends and runs its MLP only for the newest latent
frames.

Axes: N image tokens (reference and video), L text tokens, D hidden size. One window, so no batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from runtime.errors import Unsupported
from runtime.models.dit.blocks import DoubleBlock, SingleBlock
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import NORM_EPS, RMSNorm, patchify, unpatchify

ONE_NUMBER = {2: torch.complex64, 4: torch.complex128}
"""A dtype for so many neighbouring floats: moving them as one number is five times as fast."""

# As tensors, since torch converts and casts a Python number at every use: 1 % of a call.
ONE, EPS = torch.tensor(1.0), torch.tensor(NORM_EPS)


@dataclass(frozen=True, slots=True)
class _Call:
    """Values shared by all blocks of one call."""

    image_tokens: int
    rotation: Tensor  # complex (N + L, 1, 1, head_dim / 2), one for text tokens


class _Linear:
    """A linear layer; with `many` tokens it copies its weight into oneDNN's own layout.

    That takes an eighth less time than `F.linear`: the layout of the weight is not converted in
    every call, and the product adds the bias, which `F.linear` first copies into the output. For
    few tokens, or if torch has no oneDNN, the layer is `F.linear`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, many: bool = True) -> None:
        self._weight, self._bias = weight.detach(), bias
        self._packed = many and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight)

    @classmethod
    def of(cls, layer: nn.Linear, many: bool = True) -> _Linear:
        return cls(layer.weight, layer.bias, many)

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed:
            return self._product(x, "none")
        return F.linear(x, self._weight, self._bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Tanh GELU of the layer's output."""
        if self._packed:
            return self._product(x, "gelu")
        return F.gelu(F.linear(x, self._weight, self._bias), approximate="tanh")

    def _product(self, x: Tensor, activation: str) -> Tensor:
        product = torch.ops.mkldnn._linear_pointwise.default
        y: Tensor = product(x, self._weight, self._bias, activation, [], "tanh")
        return y


@dataclass(frozen=True, slots=True)
class _Layers:
    """A block's weights for image tokens, for text tokens, or for both together."""

    qkv: _Linear
    proj: _Linear
    fc1: _Linear
    fc2: _Linear
    norms: Tensor  # weights of the norms of queries and keys (2, 1, head_dim)

    @classmethod
    def of_image(cls, block: DoubleBlock) -> _Layers:
        return cls(
            qkv=_Linear.of(block.img_attn_qkv),
            proj=_Linear.of(block.img_attn_proj),
            fc1=_Linear.of(block.img_mlp.fc1),
            fc2=_Linear.of(block.img_mlp.fc2),
            norms=_norms(block.img_attn_q_norm, block.img_attn_k_norm),
        )

    @classmethod
    def of_text(cls, block: DoubleBlock) -> _Layers:
        return cls(
            qkv=_Linear.of(block.txt_attn_qkv, many=False),
            proj=_Linear.of(block.txt_attn_proj, many=False),
            fc1=_Linear.of(block.txt_mlp.fc1, many=False),
            fc2=_Linear.of(block.txt_mlp.fc2, many=False),
            norms=_norms(block.txt_attn_q_norm, block.txt_attn_k_norm),
        )

    @classmethod
    def of_single(cls, block: SingleBlock) -> _Layers:
        """Both linear layers cut into attention's part and the MLP's part."""
        into, out, size = block.linear1, block.linear2, block.linear2.out_features
        return cls(
            qkv=_Linear(into.weight[: 3 * size], into.bias[: 3 * size]),
            proj=_Linear(out.weight[:, :size], out.bias),
            fc1=_Linear(into.weight[3 * size :], into.bias[3 * size :]),
            fc2=_Linear(out.weight[:, size:], None),
            norms=_norms(block.q_norm, block.k_norm),
        )


class CpuDenoiser:
    """`DiT.denoise` for one window at a time in float32 on a CPU.

    The model's weights must not change afterwards: some of them are copied.
    """

    def __init__(self, dit: DiT) -> None:
        self._dit = dit
        self._size, self._heads = dit.config.hidden_size, dit.config.heads
        self._img_in = _Linear(dit.img_in.proj.weight.flatten(1), dit.img_in.proj.bias)
        self._mean = torch.tensor(1 / dit.config.head_dim)  # times it, a sum over a head is a mean
        self._doubles = [(_Layers.of_image(b), _Layers.of_text(b)) for b in dit.double_blocks]
        self._singles = [_Layers.of_single(block) for block in dit.single_blocks]
        self._audio = list(dit.audio_adapter_blocks)
        self._emotion = list(dit.emotion_blocks) if dit.config.emotion else []
        self._final = _Linear.of(dit.final_layer.linear)

    @torch.inference_mode()
    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """As `DiT.denoise`. Unsupported for several windows, padded text or a token subset."""
        if len(x) != 1 or step.text_mask is not None or window.tokens is not None:
            raise Unsupported(
                "On a CPU the engine torch runs one window at a time, without padding or a subset "
                f"of tokens, but was given {len(x)} windows, or a mask. Use torch-eager."
            )
        dit, tokens = self._dit, window.masks.shape[2]
        patches = _patchify(x, dit.config.patch_size).flatten(0, 2)
        video = self._img_in(patches).add_(window.injected[0])
        img, txt = torch.cat((window.reference[0], video)), step.text[0]
        rotation = window.rotation
        unrotated = rotation.new_ones(len(txt), *rotation.shape[1:])
        call = _Call(len(img), torch.cat((rotation, unrotated)))
        for index, (both, modulations) in enumerate(zip(self._doubles, step.double, strict=True)):
            img, txt = self._double(both, img, txt, modulations, call)
            if index % 2 == 1:
                self._apply_adapters(img[tokens:], index // 2, window)
        hidden = torch.cat((img, txt))
        frames = x.shape[2] if window.newest is None else window.newest
        newest = slice(len(img) - frames * tokens, len(img))
        for layers, modulation in zip(self._singles, step.single, strict=True):
            kept = newest if layers is self._singles[-1] else slice(None)
            hidden = self._single(layers, hidden, modulation, kept, call)
        patches = self._final(self._modulated(hidden, *self._parts(step.final, 2)))
        patches = torch.unflatten(patches, 0, (frames, -1))[None]
        return _unpatchify(patches, dit.config.patch_size, x.shape[3] // dit.config.patch_size[1])

    def _double(
        self,
        both: tuple[_Layers, _Layers],
        img: Tensor,
        txt: Tensor,
        modulations: tuple[Tensor, Tensor],
        call: _Call,
    ) -> tuple[Tensor, Tensor]:
        """As `DoubleBlock`; img (N, D), txt (L, D)."""
        (of_img, of_txt), count = both, call.image_tokens
        img_mod, txt_mod = (self._parts(each, 6) for each in modulations)
        img_qkv = of_img.qkv(self._modulated(img, *img_mod[:2]))
        txt_qkv = of_txt.qkv(self._modulated(txt, *txt_mod[:2]))
        qk, v = self._split(torch.cat((img_qkv, txt_qkv)))
        qk = self._normed(qk)
        qk[:count].mul_(of_img.norms)
        qk[count:].mul_(of_txt.norms)
        q, k = _rotated(qk, call.rotation).unbind(1)
        attn = _attend(q, k, v)
        return (
            self._residuals(of_img, img, attn[:count], img_mod),
            self._residuals(of_txt, txt, attn[count:], txt_mod),
        )

    def _residuals(
        self, layers: _Layers, x: Tensor, attn: Tensor, mod: tuple[Tensor, ...]
    ) -> Tensor:
        """A double block's tokens x plus the gated outputs of attention and MLP."""
        x = torch.addcmul(x, mod[2], layers.proj(attn))
        inner = layers.fc1.gelu(self._modulated(x, *mod[3:5]))
        return torch.addcmul(x, mod[5], layers.fc2(inner))

    def _single(
        self, layers: _Layers, x: Tensor, modulation: Tensor, kept: slice, call: _Call
    ) -> Tensor:
        """As `SingleBlock`, for the kept tokens. Keys and values are of all tokens.

        Queries are too: one product and one norm for all cost no more than two of each.
        """
        shift, scale, gate = self._parts(modulation, 3)
        normed = self._modulated(x, shift, scale)
        qk, v = self._split(layers.qkv(normed))
        q, k = _rotated(self._normed(qk).mul_(layers.norms), call.rotation).unbind(1)
        attn = layers.proj(_attend(q[kept], k, v))
        inner = layers.fc1.gelu(normed[kept])
        return torch.addcmul(x[kept], gate, layers.fc2(inner).add_(attn))

    def _apply_adapters(self, video: Tensor, index: int, window: WindowInputs) -> None:
        """As `DiT.apply_adapters`, on the video tokens (T * n, D) in place."""
        adapter = self._audio[index]
        q = adapter.to_q(_layer_norm(video, adapter.norm2))
        k, v = window.audio[index][0].chunk(2, dim=-1)
        masks = window.masks[0]
        audio = _mix_speakers(torch.unflatten(q, 0, masks.shape[:2]), k, v, masks).flatten(0, 1)
        if window.emotion_masks is not None:
            module = self._emotion[index]
            q = module.to_q(_layer_norm(video, module.norm2)).view(len(video), self._heads, -1)
            q = self._normed(q).mul_(module.q_norm.weight)
            q = _rotated(q, window.rotation[-len(video) :, 0]).transpose(0, 1)
            k, v = window.emotion[index][0]
            emotion = _mix_speakers(q, k, v, window.emotion_masks[0]).transpose(0, 1).flatten(1)
            video.addmm_(emotion, module.to_out.weight.t(), alpha=module.gamma.item())
        video.addmm_(audio, adapter.to_out.weight.t())

    def _parts(self, modulation: Tensor, count: int) -> tuple[Tensor, ...]:
        """The `count` vectors (D,) of a modulation (1, count * D)."""
        return modulation.view(count, self._size).unbind()

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3 D) as queries with keys (N, 2, heads, head_dim) and values (N, heads, head_dim)."""
        parts = qkv.view(len(qkv), 3, self._heads, -1)
        return parts[:, :2], parts[:, 2]

    def _modulated(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """As `modulate`; x (N, D), shift and scale (D,)."""
        return F.layer_norm(x, (self._size,), scale + ONE, shift, NORM_EPS)

    def _normed(self, heads: Tensor) -> Tensor:
        """RMS norm over the last axis, head_dim, without weights."""
        squares = torch.linalg.vecdot(heads, heads)
        return heads * torch.addcmul(EPS, squares, self._mean).rsqrt_().unsqueeze(-1)


def _patchify(x: Tensor, patch_size: tuple[int, int, int]) -> Tensor:
    """As `patchify`, with each row of a patch moved as one number if `ONE_NUMBER` has its size."""
    _, ph, pw = patch_size
    if pw not in ONE_NUMBER:
        return patchify(x, patch_size)
    rows = x.contiguous().view(ONE_NUMBER[pw])
    patches = rearrange(rows, "b c t (h ph) w -> b t (h w) (c ph)", ph=ph)
    return patches.contiguous().view(x.dtype)


def _unpatchify(patches: Tensor, patch_size: tuple[int, int, int], rows: int) -> Tensor:
    """As `unpatchify`, moving numbers as `_patchify` does."""
    _, ph, pw = patch_size
    if pw not in ONE_NUMBER:
        return unpatchify(patches, patch_size, rows)
    numbers = patches.view(ONE_NUMBER[pw])
    latents = rearrange(numbers, "b t (h w) (c ph) -> b c t (h ph) w", h=rows, ph=ph)
    return latents.contiguous().view(patches.dtype)


def _layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _norms(q_norm: RMSNorm, k_norm: RMSNorm) -> Tensor:
    return torch.stack((q_norm.weight, k_norm.weight)).unsqueeze(1).detach()


def _rotated(heads: Tensor, rotation: Tensor) -> Tensor:
    """As `apply_rope`."""
    return (heads.view(rotation.dtype) * rotation).view(heads.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q (M, heads, head_dim), k and v (N + L, heads, head_dim) to (M, D)."""
    q, k, v = (each.transpose(0, 1)[None] for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)


def _mix_speakers(q: Tensor, k: Tensor, v: Tensor, masks: Tensor) -> Tensor:
    """As `mix_speakers`, with the scale on the queries only; q, k and v have three axes."""
    scores = torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2))
    weights = torch.unflatten(scores, -1, (masks.shape[-2], -1)).softmax(-1).mul_(masks)
    return torch.bmm(weights.flatten(-2), v)
