"""Small modules of the video transformer, with the names of the released state dict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

SINUSOID_DIM = 256
SINUSOID_PERIOD = 10_000
NORM_EPS = 1e-6
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)

Block = TypeVar("Block", bound=nn.Module)


def sinusoid(values: Tensor) -> Tensor:
    """Embedding of numbers (n,) as (n, 256) float32: cosines, then sines. No prescaling."""
    half = SINUSOID_DIM // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    rates = torch.exp(-math.log(SINUSOID_PERIOD) * steps / half)
    angles = values.float()[:, None] * rates
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def layer_norm(x: Tensor) -> Tensor:
    """LayerNorm without weights over the last axis."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalised x (B, N, D), scaled and shifted per batch item by (B, 1, D)."""
    return torch.addcmul(shift, layer_norm(x), 1 + scale)


def patchify(x: Tensor, patch_size: tuple[int, int, int], tokens: Tensor | None = None) -> Tensor:
    """Latents (B, C, T, H, W) as (B, T, h*w, C * patch), values in the order channel, row, column.

    With `tokens`, indices into the h*w grid, only these tokens of every latent frame.
    """
    _, ph, pw = patch_size
    patches = rearrange(x, "b c t (h ph) (w pw) -> b t (h w) (c ph pw)", ph=ph, pw=pw)
    return patches if tokens is None else patches[:, :, tokens]


def unpatchify(patches: Tensor, patch_size: tuple[int, int, int], rows: int) -> Tensor:
    """The inverse of `patchify`: (B, T, h*w, C * patch) to (B, C, T, H, W); `rows` is h."""
    _, ph, pw = patch_size
    pattern = "b t (h w) (c ph pw) -> b c t (h ph) (w pw)"
    return rearrange(patches, pattern, h=rows, ph=ph, pw=pw)


class Stack(nn.ModuleList, Generic[Block]):
    """A ModuleList with a known type of module."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        super().__init__(blocks)

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Block]: ...


class PatchEmbed(nn.Module):
    """A convolution whose kernel equals its stride, computed as one matrix product on patches."""

    def __init__(self, channels: int, hidden_size: int, patch_size: tuple[int, int, int]) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, hidden_size, patch_size, stride=patch_size)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B, T, n, C * patch) to tokens (B, T * n, D)."""
        tokens = F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)
        return tokens.flatten(1, 2)


class NumberEmbedder(nn.Module):
    """Numbers (n,) to (n, D): sinusoid, then a two-layer MLP."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(SINUSOID_DIM, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, values: Tensor) -> Tensor:
        embedded: Tensor = self.mlp(sinusoid(values).to(self.mlp[0].get_parameter("weight").dtype))
        return embedded


class PooledTextEmbedder(nn.Module):
    """Pooled text (B, pooled_text_dim) to (B, D)."""

    def __init__(self, in_size: int, hidden_size: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(in_size, hidden_size)
        self.out_layer = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.out_layer(F.silu(self.in_layer(x)))
        return embedded


class TanhGELU(nn.Module):
    """GELU by the tanh formula, which equals x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).

    A CPU computes the sigmoid form more than twice as fast (measured on 256 x 640 numbers), so
    eager inference on a CPU uses it; elsewhere the built-in function is at least as fast.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda or x.requires_grad or torch.compiler.is_compiling():
            return F.gelu(x, approximate="tanh")
        twice_u = x.square().mul_(2 * SQRT_2_OVER_PI * 0.044715).add_(2 * SQRT_2_OVER_PI).mul_(x)
        return twice_u.sigmoid_().mul_(x)


class MLP(nn.Module):
    """fc2(activation(fc1(x))); the main blocks use tanh GELU, the text refiner SiLU."""

    def __init__(self, size: int, inner_size: int, activation: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size, inner_size)
        self.act = activation
        self.fc2 = nn.Linear(inner_size, size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y


class RMSNorm(nn.Module):
    """The weight of a query or key norm; `normalize_heads` applies two of them at once."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))


def normalize_heads(qk: Tensor, q_norm: RMSNorm, k_norm: RMSNorm) -> Tensor:
    """RMS norm of queries and keys together; qk is (B, N, 2, heads, head_dim)."""
    weights = torch.stack((q_norm.weight, k_norm.weight)).unsqueeze(1)
    return F.rms_norm(qk.float(), qk.shape[-1:], eps=NORM_EPS).type_as(qk) * weights


class Modulation(nn.Module):
    """SiLU(vec) (B, D) to a block's shifts, scales and gates (B, parts * D)."""

    def __init__(self, hidden_size: int, parts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, parts * hidden_size)

    def forward(self, activated_vec: Tensor) -> Tensor:
        parts: Tensor = self.linear(activated_vec)
        return parts


class FinalLayer(nn.Module):
    """Tokens (B, N, D) to patches (B, N, patch_values)."""

    def __init__(self, hidden_size: int, patch_values: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, patch_values)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 2 * hidden_size))

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        shift, scale = modulation.unsqueeze(1).chunk(2, dim=-1)
        patches: Tensor = self.linear(modulate(x, shift, scale))
        return patches
