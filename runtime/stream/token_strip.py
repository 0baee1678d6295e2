"""Some tokens of a picture as a picture of their own: a strip, one token high.

The denoiser is told where tokens are (positions, masks and the reference are inputs), so a strip of
n tokens is a window like any other to it, and to every engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from runtime.models.dit.layers import patchify, unpatchify


@dataclass(frozen=True, slots=True, eq=False)
class TokenStrip:
    """Tokens of an h x w grid, each of patch rows x columns latents."""

    tokens: Tensor  # (n,), ascending indices
    patch_size: tuple[int, int, int]
    rows: int  # h
    columns: int  # w

    def cut(self, latents: Tensor) -> Tensor:
        """Latents (B, C, T, H, W) as a strip (B, C, T, patch rows, n * patch columns)."""
        return unpatchify(patchify(latents, self.patch_size, self.tokens), self.patch_size, rows=1)

    def paste(self, strip: Tensor) -> Tensor:
        """The inverse of `cut`: (B, C, T, H, W), zero where there is no token."""
        patches = patchify(strip, self.patch_size)
        batch, frames, _, values = patches.shape
        grid = patches.new_zeros(batch, frames, self.rows * self.columns, values)
        grid[:, :, self.tokens] = patches
        return unpatchify(grid, self.patch_size, self.rows)
