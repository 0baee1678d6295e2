"""Overlapping tiles: how they join, and that a stream may be cut anywhere."""

import pytest
import torch
from torch import Tensor

from runtime.hunyuan.vae.tiling import (
    AxisTiles,
    Tiles,
    TileState,
    fade,
    flush_tiles,
    push_tiles,
    run_tiled,
    tile_space,
)

TILES = Tiles(time=AxisTiles.of(4, 16), space=AxisTiles.of(8, 8))  # as a decoder's


def repeated(latents: Tensor) -> Tensor:
    """Each latent frame four times, the first one once: T -> 4(T-1)+1, nothing else mixed."""
    return latents.repeat_interleave(4, dim=2)[:, :, 3:]


def normalised(latents: Tensor) -> Tensor:
    """As the autoencoder, every output depends on the whole tile."""
    return repeated(latents) / latents.std() + latents.mean()


def latents_of(frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randn((1, 2, frames, 3, 5), generator=generator)


def streamed(latents: Tensor, sizes: list[int]) -> list[int]:
    """How many outputs become final with each piece, and with the end."""
    state, counts = TileState(), []
    for piece in latents.split(sizes, dim=2):
        state, final = push_tiles(repeated, TILES, state, piece)
        counts.append(sum(outputs.shape[2] for outputs in final))
    return [*counts, sum(outputs.shape[2] for outputs in flush_tiles(repeated, TILES, state))]


def test_the_releases_tiles_overlap_by_a_quarter():
    assert AxisTiles.of(64, 16) == AxisTiles(size=64, stride=48, blend=4, keep=12)
    assert AxisTiles.of(32, 256) == AxisTiles(size=32, stride=24, blend=64, keep=192)


@pytest.mark.parametrize("frames", range(1, 15))
def test_tiles_in_time_join_to_the_uncut_result(frames):
    latents = latents_of(frames)
    torch.testing.assert_close(run_tiled(repeated, latents, TILES), repeated(latents))


@pytest.mark.parametrize("height", [1, 8, 9, 12, 13, 14, 20])
@pytest.mark.parametrize("width", [8, 15, 18])
def test_tiles_in_space_join_to_the_uncut_result(height, width):
    picture = torch.rand(1, 2, 1, height, width)
    torch.testing.assert_close(tile_space(torch.clone, picture, TILES.space), picture)


def test_an_input_that_fits_into_a_tile_is_not_cut():
    seen = []
    run_tiled(lambda x: seen.append(x.shape) or repeated(x), torch.rand(1, 2, 4, 8, 8), TILES)
    assert seen == [(1, 2, 4, 8, 8)]


def test_a_tile_in_time_holds_one_entry_more_than_its_size():
    seen = []
    run_tiled(lambda x: seen.append(x.shape[2]) or repeated(x), latents_of(9), TILES)
    assert seen == [5, 5, 3]


@pytest.mark.parametrize("frames", [3, 4, 5, 11, 13])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_of_a_stream_equal_the_whole(frames, size):
    latents = latents_of(frames)
    state, outputs = TileState(), []
    for piece in latents.split(size, dim=2):
        state, final = push_tiles(normalised, TILES, state, piece)
        outputs += final
    outputs += flush_tiles(normalised, TILES, state)
    torch.testing.assert_close(
        torch.cat(outputs, dim=2), run_tiled(normalised, latents, TILES), atol=0.0, rtol=0.0
    )


def test_outputs_are_final_as_soon_as_their_tile_is_complete():
    assert streamed(latents_of(9), [1] * 9) == [0, 0, 0, 0, 13, 0, 0, 12, 0, 8]


def test_a_short_stream_comes_at_its_end():
    assert streamed(latents_of(4), [1] * 4) == [0, 0, 0, 0, 13]


def test_a_stream_without_input_has_no_output():
    assert flush_tiles(repeated, TILES, TileState()) == []


def test_memory_does_not_grow_with_the_stream():
    state = TileState()
    for _ in range(50):
        state, _ = push_tiles(repeated, TILES, state, latents_of(1))
    assert state.inputs.shape[2] <= TILES.time.size
    assert state.faded.shape[2] == TILES.time.blend


def test_a_fade_begins_with_the_old_tile_alone():
    faded = fade(torch.full((1, 6), 8.0), torch.zeros(1, 6), axis=1, extent=4)
    assert faded.tolist() == [[8.0, 6.0, 4.0, 2.0, 0.0, 0.0]]


@pytest.mark.parametrize("extent", [2, 5])
def test_a_fade_is_no_longer_than_the_shorter_tile(extent):
    faded = fade(torch.full((1, 2), 4.0), torch.zeros(1, 3), 1, extent)
    assert faded.tolist() == [[4.0, 2.0, 0.0]]


def test_the_tile_above_fades_in_before_the_tile_to_the_left():
    tiles = AxisTiles(size=4, stride=2, blend=2, keep=2)
    levels = iter([0.0] * 3 + [8.0] + [0.0] * 5)  # the first tile of the second of three rows
    picture = torch.zeros(1, 1, 1, 6, 6)
    joined = tile_space(lambda x: torch.full_like(x, next(levels)), picture, tiles)
    assert joined[0, 0, 0, 3, 3] == 2.0  # half of half of 8; in the other order a quarter of it
