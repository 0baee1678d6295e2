"""Active tokens: those of the token grid that can change, around the people in the image.

What never moves needs no denoising: if the model predicts a change to the reference image, a stream
runs the transformer on the active tokens only, and the others stay the image. Engines have static
shapes, so the number of active tokens is one of few (`SHARES`), filled up with the likeliest
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.values import Box

SHARES = (Fraction(3, 4), Fraction(7, 8), Fraction(1))  # of the grid's tokens

# Hair, a swaying head and breathing shoulders reach beyond a face box. A person is these two
# rectangles: (half width, top, bottom) in widths and heights of the box, from its middle. With
# REACH around them they contain all that moves in drawn people: inactive tokens differ from the
# image at rest by less than half a level of 255, root mean square over a minute.
PERSON = ((0.6, -1.2, 0.7), (0.75, 0.6, np.inf))  # head and hair, shoulders
REACH = 0.065  # of the image, from a person to a token's middle


@dataclass(frozen=True, slots=True, eq=False)
class ActiveTokens:
    """The active tokens of a grid, n of them, and the latents that they cover.

    Positions, masks and the reference are inputs of the denoiser, so a window of n tokens in one
    row is a window like any other to it, and to every engine.
    """

    tokens: Tensor  # (n,), ascending indices into the grid
    cells: Tensor  # (patch rows, n * patch columns), indices into the H * W latents
    height: int  # H
    width: int  # W

    @classmethod
    def on_grid(
        cls, tokens: Sequence[int], rows: int, columns: int, patch: tuple[int, int]
    ) -> ActiveTokens:
        """`tokens` of a grid of rows x columns, each token of patch rows x columns latents."""
        height, width = rows * patch[0], columns * patch[1]
        cells = torch.arange(height * width).view(rows, patch[0], columns, patch[1])
        cells = cells.permute(1, 0, 2, 3).flatten(1, 2)  # (patch rows, rows * columns, ..)
        index = torch.tensor(tokens)
        return cls(index, cells[:, index].flatten(1), height, width)

    def to(self, device: torch.device) -> ActiveTokens:
        """The same tokens on a device."""
        tokens, cells = self.tokens.to(device), self.cells.to(device)
        return ActiveTokens(tokens, cells, self.height, self.width)

    def take(self, latents: Tensor) -> Tensor:
        """The active ones of latents (B, C, T, H, W) as one row of tokens, (B, C, T, *cells)."""
        return latents.flatten(3)[..., self.cells]

    def put(self, active: Tensor) -> Tensor:
        """The inverse of `take`: latents (B, C, T, H, W), zero at inactive tokens."""
        latents = active.new_zeros(*active.shape[:3], self.height * self.width)
        latents[..., self.cells] = active
        return latents.view(*active.shape[:3], self.height, self.width)


def find_active_tokens(boxes: Sequence[Box], rows: int, columns: int) -> tuple[int, ...] | None:
    """Ascending indices into a grid of rows x columns tokens; None if all are active."""
    distance = _distance(boxes, rows, columns).ravel()
    needed = int((distance <= REACH).sum())
    counts = [int(share * len(distance)) for share in SHARES]
    count = next(count for count in counts if count >= needed)
    if count == len(distance):
        return None
    likeliest = np.argsort(distance, kind="stable")[:count]
    return tuple(sorted(int(token) for token in likeliest))


def _distance(boxes: Sequence[Box], rows: int, columns: int) -> NDArray[np.float64]:
    """From each token's middle (rows, columns) to the nearest person, in image sides; 0 inside."""
    y = (np.arange(rows)[:, None] + 0.5) / rows
    x = (np.arange(columns)[None, :] + 0.5) / columns
    distances = []
    for box in boxes:
        middle_x, middle_y = box.centre
        for half_width, top, bottom in PERSON:
            aside = np.abs(x - middle_x) - half_width * box.width
            above = middle_y + top * box.height - y
            below = y - middle_y - bottom * box.height
            off = np.maximum(above, below).clip(min=0)
            distances.append(np.hypot(aside.clip(min=0), off))
    return np.asarray(np.min(distances, axis=0))
