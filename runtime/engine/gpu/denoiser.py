"""The denoiser on a GPU: products and attention by NVIDIA's libraries, Triton kernels in between.

In eager torch, `DiT.denoise` of a large model spends a third of its time on norms, modulations,
rotations and copies, each of which passes over all tokens. Here three kernels (kernels.py) do that
work. Image and text tokens share one tensor from the start, so nothing is concatenated or copied.
Capture the denoiser as a CUDA graph (cuda_graph.py): a call is then a thousand launches without a
gap. The weights are the model's own.

FP8 weights are multiplied in FP8, with one scale for each row of activations. Attention may then be
in FP8 as well (fp8_attention.py).

Axes: M rows (tokens), D hidden size, N all tokens of a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.engine.gpu.fp8_attention import Fp8Attention, scale_of
from runtime.engine.gpu.kernels import Rows, concat_gelu, modulated_norm, rotated_heads
from runtime.errors import Unsupported
from runtime.models.dit.blocks import DoubleBlock, SingleBlock, attend
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import MLP, patchify, unpatchify
from runtime.models.fp8.linear import ScaledFp8Linear
from runtime.models.fp8.matmul import Fp8Matrix, product
from runtime.models.fp8.storage import FP8, FP8_MAX

PendingResidual = tuple[Tensor, Tensor] | None
"""A gate (D,) and the branch (M, D) that it scales; the next norm adds their product."""


class RowLinear:
    """A linear layer of rows (M, K). The scale of an FP8 weight is expanded to its columns once."""

    def __init__(self, linear: nn.Module) -> None:
        self.is_fp8 = isinstance(linear, ScaledFp8Linear)
        weight, self._bias = linear.get_parameter("weight"), linear.get_parameter("bias")
        self._weight: Rows = weight
        if isinstance(linear, ScaledFp8Linear):
            scale = linear.weight_scale.reshape(1, 1).expand(len(weight), 1)
            self._weight = Fp8Matrix(weight, scale.contiguous())

    def __call__(self, rows: Rows) -> Tensor:
        """(M, K) to (M, out_features)."""
        if isinstance(rows, Fp8Matrix):
            assert isinstance(self._weight, Fp8Matrix)
            return product(rows, self._weight, self._bias)
        assert isinstance(self._weight, Tensor)
        return F.linear(rows, self._weight, self._bias)


class FeedForward:
    """An MLP of rows."""

    def __init__(self, mlp: MLP) -> None:
        self._fc1, self._fc2 = RowLinear(mlp.fc1), RowLinear(mlp.fc2)

    def __call__(self, rows: Rows) -> Tensor:
        return self._fc2(concat_gelu(None, self._fc1(rows), self._fc2.is_fp8))


class QueryKeyNorms:
    """Weights of the norms of queries and keys; `scales` (2,) are those of their FP8 form."""

    def __init__(self, block: nn.Module, name: str = "") -> None:
        self.q = block.get_parameter(f"{name}q_norm.weight")
        self.k = block.get_parameter(f"{name}k_norm.weight")
        largest = torch.stack([weight.detach().float().abs().amax() for weight in (self.q, self.k)])
        # A head has RMS 1 before the weight, so no number in it is above sqrt(head_dim).
        self.scales = largest * len(self.q) ** 0.5 / FP8_MAX


class ModalityWeights:
    """A double block's weights for one of its two modalities, `img` or `txt`."""

    def __init__(self, block: DoubleBlock, name: str) -> None:
        self.qkv = RowLinear(block.get_submodule(f"{name}_attn_qkv"))
        self.proj = RowLinear(block.get_submodule(f"{name}_attn_proj"))
        self.norms = QueryKeyNorms(block, f"{name}_attn_")
        mlp = block.get_submodule(f"{name}_mlp")
        assert isinstance(mlp, MLP)
        self.mlp = FeedForward(mlp)


@dataclass(frozen=True, slots=True)
class SingleWeights:
    """A single block's weights."""

    linear1: RowLinear
    linear2: RowLinear
    norms: QueryKeyNorms
    sizes: tuple[int, int]  # columns of linear1 for queries, keys and values, and for the MLP

    @classmethod
    def of(cls, block: SingleBlock) -> SingleWeights:
        norms = QueryKeyNorms(block)
        return cls(RowLinear(block.linear1), RowLinear(block.linear2), norms, block.sizes)


class TritonDenoiser:
    """`DiT.denoise` for one window at a time on a GPU."""

    def __init__(self, dit: DiT, attends_in_fp8: bool = False) -> None:
        self._dit, self._heads = dit, dit.config.heads
        self._double = [
            (ModalityWeights(block, "img"), ModalityWeights(block, "txt"))
            for block in dit.double_blocks
        ]
        self._single = [SingleWeights.of(block) for block in dit.single_blocks]
        self._is_fp8 = self._single[0].linear1.is_fp8
        self._attends_in_fp8 = attends_in_fp8
        self._fp8_attention: dict[int, Fp8Attention] = {}  # by the number of tokens

    @torch.inference_mode()
    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """As `DiT.denoise`. Unsupported for several windows, padded text or a token subset."""
        if len(x) != 1 or step.text_mask is not None or window.tokens is not None:
            raise Unsupported(
                "The engine torch-fused runs one window at a time, without padding or a subset of "
                f"tokens, but was given {len(x)} windows, or a mask. Use torch-graphed."
            )
        dit = self._dit
        video = dit.img_in(patchify(x, dit.config.patch_size)) + window.injected
        rows = torch.cat((window.reference, video, step.text), dim=1)[0]
        image_tokens = len(rows) - step.text.shape[1]
        rotation = _real(window.rotation)
        self._through_doubles(rows, image_tokens, rotation, step, window)
        gate, branch = self._through_singles(rows, rotation, step)
        frames = x.shape[2] if window.newest is None else window.newest
        newest = slice(image_tokens - frames * window.masks.shape[2], image_tokens)
        hidden = _add(rows[newest], (gate, branch[newest]))
        patches = dit.final_layer(hidden[None], step.final).unflatten(1, (frames, -1))
        return unpatchify(patches, dit.config.patch_size, x.shape[3] // dit.config.patch_size[1])

    def _through_doubles(
        self,
        rows: Tensor,
        image_tokens: int,
        rotation: Tensor,
        step: StepInputs,
        window: WindowInputs,
    ) -> None:
        """Changes rows (N, D) in place; the image's come first, then the text's."""
        size = rows.shape[1]
        parts = (rows[:image_tokens], rows[image_tokens:])
        pending: list[PendingResidual] = [None, None]
        for index, (weights, modulation) in enumerate(zip(self._double, step.double, strict=True)):
            mods = [each.view(6, size) for each in modulation]
            qkv = [
                own.qkv(modulated_norm(part, mod[0], mod[1], self._is_fp8, residual))
                for own, part, mod, residual in zip(weights, parts, mods, pending, strict=True)
            ]
            attn = self._attend(qkv, [own.norms for own in weights], rotation)
            for i, own in enumerate(weights):
                mod = mods[i]
                residual = (mod[2], own.proj(self._for_product(attn[i])))
                inner = modulated_norm(parts[i], mod[3], mod[4], self._is_fp8, residual)
                pending[i] = (mod[5], own.mlp(inner))
            if index % 2 == 1:
                self._apply_adapters(_add(parts[0], pending[0]), index // 2, window)
                pending[0] = None
        for part, last in zip(parts, pending, strict=True):
            _add(part, last)

    def _apply_adapters(self, img: Tensor, index: int, window: WindowInputs) -> None:
        """As `DiT.apply_adapters`, on the rows of the image in place."""
        video = img[window.masks.shape[2] :]
        video.add_(self._dit.adapter_output(video[None], index, window)[0])

    def _through_singles(
        self, rows: Tensor, rotation: Tensor, step: StepInputs
    ) -> tuple[Tensor, Tensor]:
        """Changes rows (N, D) in place; returns the last block's gate and branch, not yet added."""
        pending: PendingResidual = None
        for block, modulation in zip(self._single, step.single, strict=True):
            shift, scale, gate = modulation.view(3, -1)
            inner = modulated_norm(rows, shift, scale, self._is_fp8, pending)
            qkv, mlp = torch.split(block.linear1(inner), list(block.sizes), dim=1)
            (attn,) = self._attend([qkv], [block.norms], rotation)
            pending = (gate, block.linear2(concat_gelu(attn, mlp, self._is_fp8)))
        assert pending is not None
        return pending

    def _attend(
        self, qkv: Sequence[Tensor], norms: Sequence[QueryKeyNorms], rotation: Tensor
    ) -> Sequence[Rows]:
        """Attention over the rows of all parts. Each part (M, 3 D) has its norms; (M, D) each."""
        size = qkv[0].shape[1] // 3
        lengths = [len(part) for part in qkv]
        shape = (sum(lengths), self._heads, size // self._heads)
        values = [part[:, 2 * size :] for part in qkv]
        if self._attends_in_fp8:
            q_and_k = torch.stack([norm.scales for norm in norms]).amax(0)
            v = torch.stack([scale_of(value) for value in values]).amax(0, keepdim=True)
            scales = torch.cat((q_and_k, v))
            out = qkv[0].new_empty(3, *shape, dtype=FP8)
            _write_heads(qkv, norms, rotation, out, scales.reciprocal())
            whole = self._attention_of(shape, out.device)(out, scales)
            return [Fp8Matrix(part, whole.scale) for part in torch.split(whole.values, lengths)]
        if len(qkv) == 1:  # values are read in place
            out = qkv[0].new_empty(2, *shape)
            _write_heads(qkv, norms, rotation, out)
            return [_attended(out, torch.unflatten(values[0], 1, shape[1:]))]
        out = qkv[0].new_empty(3, *shape)
        _write_heads(qkv, norms, rotation, out)
        return torch.split(_attended(out[:2], out[2]), lengths)

    def _attention_of(self, shape: tuple[int, int, int], device: torch.device) -> Fp8Attention:
        if shape[0] not in self._fp8_attention:
            self._fp8_attention[shape[0]] = Fp8Attention(*shape, device)
        return self._fp8_attention[shape[0]]

    def _for_product(self, attn: Rows) -> Rows:
        """In FP8 if the product that follows is."""
        is_ready = isinstance(attn, Fp8Matrix) or not self._is_fp8
        return attn if is_ready else concat_gelu(attn, None, True)


def _real(rotation: Tensor) -> Tensor:
    """(R, head_dim / 2, 2) float32 of rotations, complex or in real pairs."""
    pairs = torch.view_as_real(rotation) if rotation.is_complex() else rotation
    return pairs.flatten(0, -3).contiguous()


def _write_heads(
    qkv: Sequence[Tensor],
    norms: Sequence[QueryKeyNorms],
    rotation: Tensor,
    out: Tensor,
    inverse_scales: Tensor | None = None,
) -> None:
    """Writes the heads of all parts into `out`, one part after the other."""
    targets = torch.split(out, [len(part) for part in qkv], dim=1)
    for part, norm, target in zip(qkv, norms, targets, strict=True):
        rotated_heads(part, norm.q, norm.k, rotation, target, inverse_scales)
        rotation = rotation[len(part) :]


def _attended(qk: Tensor, v: Tensor) -> Tensor:
    """qk (2, N, heads, head_dim), v (N, heads, head_dim) to (N, D)."""
    return attend(qk.transpose(0, 1)[None], v[None], None)[0]


def _add(rows: Tensor, residual: PendingResidual) -> Tensor:
    """Rows plus a pending residual, in place."""
    return rows if residual is None else rows.addcmul_(*residual)
