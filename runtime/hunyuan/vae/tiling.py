"""Overlapping tiles for the released autoencoder, in space and in time; time as a stream.

The autoencoder normalises over all that it sees, so tiles are part of its result, not only a way
to save memory: other tiles give another picture. These are the release's, checked against tensors
of the official code. Tiles overlap by a quarter. Where they do, one fades into the next linearly,
and what was faded already is faded again: with the tile above first, then with the tile to the
left. Tiles of time are cut first, each of them into tiles of space.

A tile of time holds one entry more than its size. Of all but the first tile that entry only warms
up the causal layers: its output is dropped.

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

    An axis that is no longer than `size` is not cut.
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
    """How one direction, encoding or decoding, is cut; rows and columns alike."""

    time: AxisTiles
    space: AxisTiles


@dataclass(frozen=True, slots=True)
class TileState:
    """What a stream of tiles in time remembers; a new one begins a stream.

    `inputs` (B, C, T, H, W) begin where the next tile begins. `faded` are the last outputs of the
    tile before, into which the next one fades; None before the first tile.
    """

    inputs: Tensor | None = None
    faded: Tensor | None = None


def run_tiled(run: Run, inputs: Tensor, tiles: Tiles) -> Tensor:
    """What `run` makes of `inputs` (B, C, T, H, W), all of them at once."""
    state, outputs = push_tiles(run, tiles, TileState(), inputs)
    return torch.cat(outputs + flush_tiles(run, tiles, state), dim=_TIME)


def push_tiles(
    run: Run, tiles: Tiles, state: TileState, inputs: Tensor
) -> tuple[TileState, list[Tensor]]:
    """The outputs that become final with the next `inputs` (B, C, T, H, W), T >= 1, any cut.

    A tile runs as soon as it is whole. Nothing is final before `size + 1` inputs are there.
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
    if faded is None:  # one tile holds all
        return [tile_space(run, pending.contiguous(), tiles.space)]
    outputs = []
    while pending.shape[_TIME] > 1:  # of a single entry the output would be dropped
        final, faded = _next_tile(run, tiles, pending, faded)
        outputs.append(final)
        pending = pending[:, :, tiles.time.stride :]
    return outputs


def tile_space(run: Run, inputs: Tensor, tiles: AxisTiles) -> Tensor:
    """What `run` makes of `inputs` (B, C, T, H, W), cut if a side is longer than a tile."""
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
    """`after`, into whose first `extent` entries along `axis` the last ones of `before` fade.

    The weight of `after` is k / extent for k = 0 .. extent - 1: it begins at exactly 0.
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
    """The final outputs of the tile at the start of `pending`, and those that fade on."""
    inputs = pending[:, :, : tiles.time.size + 1].contiguous()  # sums as if it were not cut out
    outputs = tile_space(run, inputs, tiles.space)
    keep = tiles.time.keep
    if faded is None:
        keep += 1
    else:
        outputs = fade(faded, outputs[:, :, 1:], _TIME, tiles.time.blend)
    fading = max(outputs.shape[_TIME] - tiles.time.blend, 0)
    return outputs[:, :, :keep], outputs[:, :, fading:].clone()  # a view would hold the whole tile
