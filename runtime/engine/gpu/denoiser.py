"""The denoiser on a GPU: matrix products and attention by NVIDIA's libraries, Triton in between.

`DiT.denoise` in eager torch spends a third of a large model's time on norms, modulations, rotations
and copies, which each pass over all tokens. Here they are three kernels (gpu_kernels.py), image and
text lie one after the other from the start, and nothing is joined or copied. Record it as a CUDA
graph (cuda_graph.py): a call is then a thousand launches without a gap. Weights are the model's.

FP8 weights are multiplied in FP8, with a scale for each row of activations. Attention then may be
in FP8 as well (fp8_attention.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.engine.gpu.fp8_attention import Fp8Attention, scale_of
from runtime.engine.gpu.kernels import Rows, heads, joined, normed
from runtime.errors import Unsupported
from runtime.models.dit.blocks import DoubleBlock, SingleBlock, attend
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import MLP, patchify, unpatchify
from runtime.models.fp8.linear import ScaledFp8Linear
from runtime.models.fp8.matmul import Fp8Matrix, product
from runtime.models.fp8.storage import FP8, FP8_MAX

Added = tuple[Tensor, Tensor] | None
"""A gate (D,) and what it gates (M, D), to be added by the next norm."""


class Product:
    """A linear layer of rows; an FP8 weight's scale is written out for every column once."""

    def __init__(self, linear: nn.Module) -> None:
        self.is_fp8 = isinstance(linear, ScaledFp8Linear)
        weight, self._bias = linear.get_parameter("weight"), linear.get_parameter("bias")
        self._weight: Rows = weight
        if isinstance(linear, ScaledFp8Linear):
            scale = linear.weight_scale.reshape(1, 1).expand(len(weight), 1)
            self._weight = Fp8Matrix(weight, scale.contiguous())

    def __call__(self, rows: Rows) -> Tensor:
        """(M, K) to (M, N)."""
        if isinstance(rows, Fp8Matrix):
            assert isinstance(self._weight, Fp8Matrix)
            return product(rows, self._weight, self._bias)
        assert isinstance(self._weight, Tensor)
        return F.linear(rows, self._weight, self._bias)


class FeedForward:
    """An MLP of rows."""

    def __init__(self, mlp: MLP) -> None:
        self._fc1, self._fc2 = Product(mlp.fc1), Product(mlp.fc2)

    def __call__(self, rows: Rows) -> Tensor:
        return self._fc2(joined(None, self._fc1(rows), self._fc2.is_fp8))


class Norms:
    """The weights of the norms of queries and keys; as FP8 they have these scales (2,)."""

    def __init__(self, block: nn.Module, name: str = "") -> None:
        self.q = block.get_parameter(f"{name}q_norm.weight")
        self.k = block.get_parameter(f"{name}k_norm.weight")
        largest = torch.stack([weight.detach().float().abs().amax() for weight in (self.q, self.k)])
        self.scales = largest * len(self.q) ** 0.5 / FP8_MAX  # RMS 1: no number above the root


class Stream:
    """Image or text in a double block: its rows, and its weights."""

    def __init__(self, block: DoubleBlock, name: str) -> None:
        self.qkv = Product(block.get_submodule(f"{name}_attn_qkv"))
        self.proj = Product(block.get_submodule(f"{name}_attn_proj"))
        self.norms = Norms(block, f"{name}_attn_")
        mlp = block.get_submodule(f"{name}_mlp")
        assert isinstance(mlp, MLP)
        self.mlp = FeedForward(mlp)


@dataclass(frozen=True, slots=True)
class Single:
    """A single block's weights."""

    linear1: Product
    linear2: Product
    norms: Norms
    sizes: tuple[int, int]  # of queries, keys and values, and of the MLP

    @classmethod
    def of(cls, block: SingleBlock) -> Single:
        return cls(Product(block.linear1), Product(block.linear2), Norms(block), block.sizes)


class FusedGpuDenoiser:
    """`DiT.denoise` for one window at a time on a GPU."""

    def __init__(self, dit: DiT, attends_in_fp8: bool = False) -> None:
        self._dit, self._heads = dit, dit.config.heads
        self._double = [(Stream(b, "img"), Stream(b, "txt")) for b in dit.double_blocks]
        self._single = [Single.of(block) for block in dit.single_blocks]
        self._is_fp8 = self._single[0].linear1.is_fp8
        self._attends_in_fp8 = attends_in_fp8
        self._fp8_attention: dict[int, Fp8Attention] = {}  # by the number of tokens

    @torch.inference_mode()
    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """As `DiT.denoise`; Unsupported for several windows, padded text or left-out tokens."""
        if len(x) != 1 or step.text_mask is not None or window.tokens is not None:
            raise Unsupported(
                f"The engine torch-fused runs one window without padding at a time; found {len(x)} "
                "windows, or a mask. Use torch-graphed."
            )
        dit = self._dit
        video = dit.img_in(patchify(x, dit.config.patch_size)) + window.injected
        rows = torch.cat((window.reference, video, step.text), dim=1)[0]
        count = len(rows) - step.text.shape[1]
        rotation = _real(window.rotation)
        self._through_doubles(rows, count, rotation, step, window)
        added = self._through_singles(rows, rotation, step)
        frames = x.shape[2] if window.newest is None else window.newest
        asked = slice(count - frames * window.masks.shape[2], count)
        hidden = _sum(rows[asked], (added[0], added[1][asked]))
        patches = dit.final_layer(hidden[None], step.final).unflatten(1, (frames, -1))
        return unpatchify(patches, dit.config.patch_size, x.shape[3] // dit.config.patch_size[1])

    def _through_doubles(
        self, rows: Tensor, count: int, rotation: Tensor, step: StepInputs, window: WindowInputs
    ) -> None:
        """Changes rows (N, D) in place: `count` of the image, then the text's."""
        size = rows.shape[1]
        parts = (rows[:count], rows[count:])
        adding: list[Added] = [None, None]
        for index, (streams, modulation) in enumerate(zip(self._double, step.double, strict=True)):
            told = [each.view(6, size) for each in modulation]
            qkv = [
                stream.qkv(normed(part, mod[0], mod[1], self._is_fp8, more))
                for stream, part, mod, more in zip(streams, parts, told, adding, strict=True)
            ]
            attn = self._attend(qkv, [stream.norms for stream in streams], rotation)
            for i, stream in enumerate(streams):
                mod = told[i]
                first = (mod[2], stream.proj(self._rounded(attn[i])))
                inner = normed(parts[i], mod[3], mod[4], self._is_fp8, first)
                adding[i] = (mod[5], stream.mlp(inner))
            if index % 2 == 1:
                self._listen(_sum(parts[0], adding[0]), index // 2, window)
                adding[0] = None
        for part, last in zip(parts, adding, strict=True):
            _sum(part, last)

    def _listen(self, img: Tensor, index: int, window: WindowInputs) -> None:
        """Adds what `DiT.heard` hears to the video's rows, in place."""
        video = img[window.masks.shape[2] :]
        video.add_(self._dit.heard(video[None], index, window)[0])

    def _through_singles(
        self, rows: Tensor, rotation: Tensor, step: StepInputs
    ) -> tuple[Tensor, Tensor]:
        """Changes rows (N, D) in place; what the last block adds is returned, not yet added."""
        added: Added = None
        for block, modulation in zip(self._single, step.single, strict=True):
            shift, scale, gate = modulation.view(3, -1)
            given = normed(rows, shift, scale, self._is_fp8, added)
            qkv, mlp = torch.split(block.linear1(given), list(block.sizes), dim=1)
            (attn,) = self._attend([qkv], [block.norms], rotation)
            added = (gate, block.linear2(joined(attn, mlp, self._is_fp8)))
        assert added is not None
        return added

    def _attend(
        self, qkv: Sequence[Tensor], norms: Sequence[Norms], rotation: Tensor
    ) -> Sequence[Rows]:
        """Attention of all rows to all, each part (M, 3 D) with norms of its own: (M, D) each."""
        size = qkv[0].shape[1] // 3
        lengths = [len(part) for part in qkv]
        shape = (sum(lengths), self._heads, size // self._heads)
        values = [part[:, 2 * size :] for part in qkv]
        if self._attends_in_fp8:
            q_and_k = torch.stack([norm.scales for norm in norms]).amax(0)
            v = torch.stack([scale_of(value) for value in values]).amax(0, keepdim=True)
            scales = torch.cat((q_and_k, v))
            out = qkv[0].new_empty(3, *shape, dtype=FP8)
            _place(qkv, norms, rotation, out, scales.reciprocal())
            whole = self._attention_of(shape, out.device)(out, scales)
            return [Fp8Matrix(part, whole.scale) for part in torch.split(whole.values, lengths)]
        if len(qkv) == 1:  # values are read where they lie
            out = qkv[0].new_empty(2, *shape)
            _place(qkv, norms, rotation, out)
            return [_attended(out, torch.unflatten(values[0], 1, shape[1:]))]
        out = qkv[0].new_empty(3, *shape)
        _place(qkv, norms, rotation, out)
        return torch.split(_attended(out[:2], out[2]), lengths)

    def _attention_of(self, shape: tuple[int, int, int], device: torch.device) -> Fp8Attention:
        if shape[0] not in self._fp8_attention:
            self._fp8_attention[shape[0]] = Fp8Attention(*shape, device)
        return self._fp8_attention[shape[0]]

    def _rounded(self, attn: Rows) -> Rows:
        """As the product wants it that comes next."""
        is_ready = isinstance(attn, Fp8Matrix) or not self._is_fp8
        return attn if is_ready else joined(attn, None, True)


def _real(rotation: Tensor) -> Tensor:
    """(R, head_dim / 2, 2) float32 of rotations, complex or in real pairs."""
    pairs = torch.view_as_real(rotation) if rotation.is_complex() else rotation
    return pairs.flatten(0, -3).contiguous()


def _place(
    qkv: Sequence[Tensor],
    norms: Sequence[Norms],
    rotation: Tensor,
    out: Tensor,
    inverse: Tensor | None = None,
) -> None:
    """Writes the heads of all parts into `out`, one part after the other."""
    places = torch.split(out, [len(part) for part in qkv], dim=1)
    for part, norm, place in zip(qkv, norms, places, strict=True):
        heads(part, norm.q, norm.k, rotation, place, inverse)
        rotation = rotation[len(part) :]


def _attended(qk: Tensor, v: Tensor) -> Tensor:
    """qk (2, N, heads, head_dim), v (N, heads, head_dim) to (N, D)."""
    return attend(qk.transpose(0, 1)[None], v[None], None)[0]


def _sum(rows: Tensor, added: Added) -> Tensor:
    """Rows with what is to be added, in place."""
    return rows if added is None else rows.addcmul_(*added)
