"""The built-in model's decoder in torch for a CPU: the same function in fewer passes over memory.

Places come before channels throughout (NHWC), so that every product writes what the next one reads
and what is spread over finer places moves in runs. Linear maps that follow each other are one: the
sketch as the brush sees it, the brush plus its own edges, the flow between two cells. What depends
on the character alone is prepared once, at the first call of a stream.

Axes as in picture_decoder.py, with one picture. A latent has 2 x 2 cells (a b), a cell 4 x 4 pixels
(p q); y and x count cells, d are the brush's channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from runtime.errors import Unsupported
from runtime.models.autoencoder.autoencoder import Autoencoder, DecoderState
from runtime.models.autoencoder.picture_decoder import (
    FLOW_GAIN,
    PATCH,
    SPATIAL_STRIDE,
    Decoder,
    ResidualBlock,
)
from runtime.timing import FRAMES_PER_LATENT

CELLS = SPATIAL_STRIDE // PATCH  # per side of a latent
SIDES = {"a": CELLS, "b": CELLS}
PIXELS = PATCH**2  # of a cell


@dataclass(frozen=True, slots=True)
class PreparedPicture:
    """A character's picture as the fused decoder reads it."""

    still: Tensor  # (h w, C): added to a latent frame, it makes a change of it
    eighth: Tensor  # (1, trunk, h, w)
    quarter: Tensor  # (h, a, w, b d)
    picture: Tensor  # (1, 3, H, W): to be moved
    cells: Tensor  # (h, a, w, b 3 p q): the same pixels, to be painted on
    places: Tensor  # (2, 1, H/4 + 2, W/4 + 2): x and y of the cells and of one more all round
    reach: Tensor  # (2, 1, 1, 1): the farthest that a pixel comes from, on that scale


@dataclass(frozen=True, slots=True)
class FusedState:
    """The picture, and how the latent frame before differs from the still one, (h w, C)."""

    scene: PreparedPicture
    change: Tensor


class FusedDecoder:
    """`Autoencoder.decode` for one stream at a time in float32 on a CPU; weights are copied.

    The state that begins a stream is the autoencoder's own, what comes back is a `FusedState`.
    """

    @torch.inference_mode()
    def __init__(self, autoencoder: Autoencoder) -> None:
        decoder = autoencoder.decoder
        self._std, self._mean = autoencoder.latent_std, autoencoder.latent_mean
        self._max_flow_px = decoder.max_flow_px
        self._latent_in = _Convolution(decoder.latent_in)
        self._trunk = [_Block(block) for block in decoder.trunk]
        self._split = _Product(*_per_place(decoder.split))
        self._settle = _Block(decoder.settle)
        self._sketch, self._brush = _of_changes(decoder)
        up = rearrange(decoder.up.weight, "(d a b) k 1 1 -> k (a b d)", **SIDES)
        self._up = up.contiguous()
        self._edge = _Convolution(decoder.edge)
        self._edge.weight[:, :, 1, 1] += torch.eye(decoder.edge.in_channels)  # x + edge(x)
        self._flow = rearrange(decoder.flow.weight.flip(2, 3), "c d p q -> (c p q) d") * FLOW_GAIN
        self._flow_bias = _bias(decoder.flow)[:, None, None] * FLOW_GAIN
        self._between = _between_cells()
        self._inner = _Product(*_per_place(decoder.paint[0]))
        weight, bias = _per_place(decoder.paint[2])
        self._shares = _Product(weight[: 2 * PIXELS], bias[: 2 * PIXELS])
        self._colour = _Product(weight[2 * PIXELS :], bias[2 * PIXELS :])

    @torch.inference_mode()
    def decode(self, latent: Tensor, state: DecoderState | FusedState) -> tuple[Tensor, FusedState]:
        """As `Autoencoder.decode`; Unsupported for several streams at once."""
        if len(latent) != 1:
            raise Unsupported(
                f"The engine torch decodes one stream at a time on a CPU; found {len(latent)}. "
                "Use torch-eager."
            )
        if isinstance(state, DecoderState):
            state = self._begun(state)
        scene = state.scene
        change = self._change(latent, scene.still)
        x = self._strokes(change, state.change, scene)
        opacity, covered = self._painted(x, change, scene)
        shown = self._moved(x, scene).lerp_(covered, opacity).clamp_(-1.0, 1.0)
        return _in_rows(shown, *x.shape[1:3]), FusedState(scene, change)

    def _begun(self, state: DecoderState) -> FusedState:
        picture, still, quarter, eighth = state.anchor
        still = rearrange(self._mean[:, None, None] - still, "1 c h w -> (h w) c").contiguous()
        cells = "1 c (h a p) (w b q) -> h a w (b c p q)"
        places, per_px = _places(*picture.shape[2:])
        scene = PreparedPicture(
            still=still,
            eighth=eighth.contiguous(memory_format=torch.channels_last),
            quarter=rearrange(quarter, "1 d (h a) (w b) -> h a w (b d)", **SIDES).contiguous(),
            picture=picture.contiguous(),
            cells=rearrange(picture, cells, p=PATCH, q=PATCH, **SIDES).contiguous(),
            places=places,
            reach=per_px * self._max_flow_px,
        )
        return FusedState(scene, self._change(state.previous, still))

    def _change(self, latent: Tensor, still: Tensor) -> Tensor:
        """A scaled latent frame (1, C, h, w) relative to the still one, (h w, C)."""
        return torch.addcmul(still, latent[0].flatten(1).t().contiguous(), self._std)

    def _strokes(self, change: Tensor, previous: Tensor, scene: PreparedPicture) -> Tensor:
        """What state every cell is in, (F, y, x, d)."""
        rows, columns = scene.eighth.shape[2:]
        changes = torch.cat([previous, change], dim=1).view(1, rows, columns, -1)
        x = self._latent_in(changes.permute(0, 3, 1, 2)).add_(scene.eighth)
        for block in self._trunk:
            x = block(x)
        x = self._split(x.relu_().permute(0, 2, 3, 1))
        x = rearrange(x, "1 h w (f d) -> f h w d", f=FRAMES_PER_LATENT).contiguous()
        x = self._settle(x.permute(0, 3, 1, 2)).relu_().permute(0, 2, 3, 1)
        weight, bias = self._brush
        cells = torch.baddbmm(bias, change.expand(FRAMES_PER_LATENT, -1, -1), weight)
        cells.flatten(0, 1).addmm_(x.flatten(0, 2), self._up)
        spread = "f (h w) (a b d) -> f h a w (b d)"
        x = _sum(scene.quarter, rearrange(cells, spread, h=rows, **SIDES)).relu_()
        x = x.view(FRAMES_PER_LATENT, rows * CELLS, columns * CELLS, -1)
        return self._edge(x.permute(0, 3, 1, 2)).relu_().permute(0, 2, 3, 1)

    def _painted(self, x: Tensor, change: Tensor, scene: PreparedPicture) -> tuple[Tensor, Tensor]:
        """Opacity (F y x, p q), and colour with picture and sketch through it, (3, F y x, p q)."""
        spread = "(h w) (f a b c) -> f h a w (b c)"
        sketch = rearrange(
            self._sketch(change), spread, h=scene.cells.shape[0], f=FRAMES_PER_LATENT, **SIDES
        )
        inner = self._inner(x.flatten(0, 2)).relu_()
        opacity, through = self._shares(inner).sigmoid_().view(-1, 2, PIXELS).unbind(1)
        drawn = _sum(scene.cells, sketch).view(-1, 3, PIXELS)
        covered = self._colour(inner).view(-1, 3, PIXELS).addcmul_(drawn, through.unsqueeze(1))
        return opacity, covered.transpose(0, 1)

    def _moved(self, x: Tensor, scene: PreparedPicture) -> Tensor:
        """The picture moved by a flow, (3, F y x, p q)."""
        frames, rows, columns, _ = x.shape
        taps = torch.matmul(self._flow, x.flatten(1, 2).transpose(1, 2))
        flow = F.fold(taps, (rows, columns), 3, padding=1).add_(self._flow_bias).tanh_()
        flow = F.pad(flow, (1, 1, 1, 1), mode="replicate").transpose(0, 1)
        places = torch.addcmul(scene.places, flow, scene.reach).flatten(0, 1).unsqueeze(1)
        fine = F.conv2d(_channels_last(places), self._between).permute(0, 2, 3, 1)
        fine = fine.reshape(2, frames * rows, columns * PIXELS).permute(1, 2, 0)[None]
        moved = F.grid_sample(
            scene.picture, fine, mode="bilinear", padding_mode="border", align_corners=True
        )
        return moved.view(3, -1, PIXELS)


class _Product:
    """A linear map of the last axis."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight.clone(), bias.clone()

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight, self._bias)


class _Convolution:
    """A 3 x 3 convolution of channels-last tensors (N, C, H, W)."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        self.weight = convolution.weight.clone(memory_format=torch.channels_last)
        self._bias = _bias(convolution).clone()

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self._bias, padding=1)


class _Block:
    """As `ResidualBlock`."""

    def __init__(self, block: nn.Module) -> None:
        assert isinstance(block, ResidualBlock)
        self._conv1, self._conv2 = _Convolution(block.conv1), _Convolution(block.conv2)

    def __call__(self, x: Tensor) -> Tensor:
        return self._conv2(self._conv1(F.relu(x)).relu_()).add_(x)


def _of_changes(decoder: Decoder) -> tuple[_Product, tuple[Tensor, Tensor]]:
    """What a change (C) makes of a latent's cells, linearly: the pixels of the sketch, to
    (f a b 3 p q); what the brush sees of them, with the bias of `up`, as a weight
    (F, C, a b d) and a bias (F, 1, a b d).
    """
    cells = rearrange(decoder.linear.weight, "k (c f) (a p) (b q) -> f a b (c p q) k", c=3, **SIDES)
    shades = rearrange(_bias(decoder.linear), "(c f) -> f 1 1 c", c=3).repeat_interleave(PIXELS, 3)
    seen, seen_bias = _per_place(decoder.sketch_in)
    up_bias = rearrange(_bias(decoder.up), "(d a b) -> a b d", **SIDES)
    brush = rearrange(seen @ cells, "f a b d k -> f k (a b d)").contiguous()
    brush_bias = shades @ seen.t() + seen_bias + up_bias
    sketch_bias = shades.expand(-1, CELLS, CELLS, -1)
    sketch = _Product(cells.flatten(0, 3), sketch_bias.flatten())
    return sketch, (brush, brush_bias.flatten(1).unsqueeze(1))


def _between_cells() -> Tensor:
    """Bilinear interpolation of a cell's pixels from it and those around: (p q, 1, 3, 3)."""
    offsets = (torch.arange(PATCH) + 0.5) / PATCH - 0.5  # in cells
    weights = torch.stack([(-offsets).relu(), 1 - offsets.abs(), offsets.relu()], dim=1)
    kernels = torch.einsum("py,qx->pqyx", weights, weights).view(PIXELS, 1, 3, 3)
    return kernels.contiguous(memory_format=torch.channels_last)


def _places(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where cells lie in a picture from -1 to 1, and one cell more all round: x and y
    (2, 1, H/4 + 2, W/4 + 2). How far a pixel is on that scale: (2, 1, 1, 1).
    """
    y, x = (
        torch.arange(-1, side // PATCH + 1)
        .mul(PATCH)
        .add((PATCH - 1) / 2)
        .mul(2 / (side - 1))
        .sub(1)
        for side in (height, width)
    )
    per_px = torch.tensor([2 / (width - 1), 2 / (height - 1)])
    return torch.stack(torch.meshgrid(x, y, indexing="xy")).unsqueeze(1), per_px.view(2, 1, 1, 1)


def _sum(constant: Tensor, frames: Tensor) -> Tensor:
    """What is the same in all frames plus frames (F, ...), contiguous."""
    return torch.add(constant, frames, out=frames.new_empty(frames.shape))


def _in_rows(cells: Tensor, rows: int, columns: int) -> Tensor:
    """Cells (3, F y x, p q) as pictures (1, 3, F, H, W)."""
    pictures = cells.new_empty(1, 3, FRAMES_PER_LATENT, rows * PATCH, columns * PATCH)
    runs = cells.view(torch.complex128)  # four pixels of a row, copied as one number
    runs = runs.view(3 * FRAMES_PER_LATENT * rows, columns, PATCH).transpose(1, 2)
    pictures.view(torch.complex128).view(runs.shape).copy_(runs)
    return pictures


def _channels_last(x: Tensor) -> Tensor:
    """(N, 1, H, W) with the strides of channels-last, which one channel leaves open."""
    return x.squeeze(1).unsqueeze(3).permute(0, 3, 1, 2)


def _per_place(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (O, I) and bias of a 1 x 1 convolution."""
    return convolution.get_parameter("weight").flatten(1), _bias(convolution)


def _bias(module: nn.Module) -> Tensor:
    return module.get_parameter("bias")
