"""Overlapping tiles for the released autoencoder, in space and in time; tiles in time are a stream.

The autoencoder normalises over its whole input, so tiles are part of its result, not only a way to
save memory: other tiles give other pixels. These are the release's, checked against tensors of the
official code. Tiles overlap by a quarter. In the overlap one tile fades into the next linearly,
first with the tile above, then, on the result of that, with the tile to the left. A video is cut in
time first, and each of these tiles in space.

A tile in time has one entry more than its size. In all but the first tile that entry only warms up
the causal layers, and its output is dropped.

Axes: B batch, C channels, T entries in time (video frames or latent frames), H W (px or latents).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

OVERLAP = 0.25  # share of a tile; `tile_overlap_factor` of the official autoencoder
_TIME = 2
_ROWS = -2
_COLUMNS = -1

Run = Callable[[Tensor], Tensor]  # one tile (B, C, T, H, W) to its latents or back to pixels


@dataclass(frozen=True, slots=True)
class AxisTiles:
    """Tiles along one axis: `size` and `stride` count inputs, `blend` and `keep` outputs.

    An axis of at most `size` is not cut.
    """

    size: int
    stride: int
    blend: int
    keep: int

    @classmethod
    def of(cls, inputs: int, outputs: int) -> "AxisTiles":
        """Tiles of `inputs` that give `outputs`; fractions are cut off, as the release does."""
        blend = int(outputs * OVERLAP)
        return cls(inputs, int(inputs * (1 - OVERLAP)), blend, outputs - blend)


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles of one direction, encoding or decoding; rows and columns have the same."""

    time: AxisTiles
    space: AxisTiles


@dataclass(frozen=True, slots=True)
class TileState:
    """The state of a stream of tiles in time; a new one begins a stream.

    `inputs` (B, C, T, H, W) begin where the next tile begins. `faded` are the last outputs of the
    tile before, which fade into the next tile; None before the first tile.
    """

    inputs: Tensor | None = None
    faded: Tensor | None = None


def run_tiled(run: Run, inputs: Tensor, tiles: Tiles) -> Tensor:
    """The outputs of `run` for `inputs` (B, C, T, H, W), all at once."""
    state, outputs = push_tiles(run, tiles, TileState(), inputs)
    return torch.cat(outputs + flush_tiles(run, tiles, state), dim=_TIME)


def push_tiles(
    run: Run, tiles: Tiles, state: TileState, inputs: Tensor
) -> tuple[TileState, list[Tensor]]:
    """The outputs that become final with the next `inputs` (B, C, T, H, W), T >= 1, any cut.

    A tile runs as soon as it is complete. Nothing is final before `size + 1` inputs have come.
    """
    pending = inputs if state.inputs is None else torch.cat([state.inputs, inputs], dim=_TIME)
    faded = state.faded
    outputs = []
    while pending.shape[_TIME] > tiles.time.size:
        final, faded = _next_tile(run, tiles, pending, faded)
        outputs.append(final)
        pending = pending[:, :, tiles.time.stride :]
    return TileState(pending, faded), outputs


def flush_tiles(run: Run, tiles: Tiles, state: TileState) -> list[Tensor]:
    """The outputs left when the stream ends; none if it never began."""
    if state.inputs is None:
        return []
    pending, faded = state.inputs, state.faded
    if faded is None:  # everything fits into one tile
        return [tile_space(run, pending.contiguous(), tiles.space)]
    outputs = []
    while pending.shape[_TIME] > 1:  # the output of a single entry would be dropped
        final, faded = _next_tile(run, tiles, pending, faded)
        outputs.append(final)
        pending = pending[:, :, tiles.time.stride :]
    return outputs


def tile_space(run: Run, inputs: Tensor, tiles: AxisTiles) -> Tensor:
    """The outputs of `run` for `inputs` (B, C, T, H, W), cut if a side is longer than a tile."""
    height, width = inputs.shape[_ROWS:]
    if max(height, width) <= tiles.size:
        return run(inputs)
    rows = []
    above: list[Tensor] = []
    for top in range(0, height, tiles.stride):
        row: list[Tensor] = []
        for column, left in enumerate(range(0, width, tiles.stride)):
            tile = run(inputs[..., top : top + tiles.size, left : left + tiles.size])
            if above:
                tile = fade(above[column], tile, _ROWS, tiles.blend)
            if row:
                tile = fade(row[-1], tile, _COLUMNS, tiles.blend)
            row.append(tile)
        rows.append(torch.cat([tile[..., : tiles.keep, : tiles.keep] for tile in row], _COLUMNS))
        above = row
    return torch.cat(rows, _ROWS)


def fade(before: Tensor, after: Tensor, axis: int, extent: int) -> Tensor:
    """`after`, with its first `extent` entries along `axis` blended with the last of `before`.

    The weight of `after` is k / extent for k = 0 .. extent - 1, so it begins at exactly 0.
    """
    extent = min(extent, before.shape[axis], after.shape[axis])
    if extent == 0:
        return after
    shape = [1] * after.ndim
    shape[axis] = extent
    weight = (torch.arange(extent, device=after.device, dtype=after.dtype) / extent).reshape(shape)
    old = before.narrow(axis, before.shape[axis] - extent, extent)
    new = after.narrow(axis, 0, extent)
    rest = after.narrow(axis, extent, after.shape[axis] - extent)
    return torch.cat([old * (1 - weight) + new * weight, rest], dim=axis)


def _next_tile(
    run: Run, tiles: Tiles, pending: Tensor, faded: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The final outputs of the tile at the start of `pending`, and those that fade into the next.

    The inputs are copied: sums over a view could round differently.
    """
    inputs = pending[:, :, : tiles.time.size + 1].contiguous()
    outputs = tile_space(run, inputs, tiles.space)
    keep = tiles.time.keep
    if faded is None:
        keep += 1
    else:
        outputs = fade(faded, outputs[:, :, 1:], _TIME, tiles.time.blend)
    fading = max(outputs.shape[_TIME] - tiles.time.blend, 0)
    # Cloned, because a view would keep the whole tile in memory.
    return outputs[:, :, :keep], outputs[:, :, fading:].clone()
