"""The built-in model's decoder in torch for a CPU: the same function in fewer passes over memory.

The layout is channels-last (NHWC) throughout: each product writes what the next one reads, and
values move to finer positions in contiguous runs. Consecutive linear maps are merged into one: from
a change to the head's view of its reconstruction, the head's features plus their `edge`
convolution, and the interpolation of the flow between cells. Tensors that depend only on the
character are prepared once, at the first call of a stream.

Axes as in compositing_decoder.py, without a batch: one stream. A latent has 2 x 2 cells (a b), a
cell 4 x 4 pixels (p q); y and x count cells, d the channels of the compositing head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from runtime.errors import Unsupported
from runtime.models.autoencoder.autoencoder import Autoencoder, DecoderState
from runtime.models.autoencoder.compositing_decoder import (
    FLOW_GAIN,
    PATCH,
    SPATIAL_STRIDE,
    CompositingDecoder,
    ResidualBlock,
)
from runtime.timing import FRAMES_PER_LATENT

CELLS = SPATIAL_STRIDE // PATCH  # per side of a latent
SIDES = {"a": CELLS, "b": CELLS}
PIXELS = PATCH**2  # per cell


@dataclass(frozen=True, slots=True)
class PreparedReference:
    """`ReferenceFeatures` in the layouts that `CpuDecoder` reads."""

    still: Tensor  # (h w, C): latent mean minus the still latent frame, not scaled
    eighth: Tensor  # (1, backbone, h, w)
    quarter: Tensor  # (h, a, w, b d)
    picture: Tensor  # (1, 3, H, W): the reference image, to be warped
    cells: Tensor  # (h, a, w, b 3 p q): the same pixels by cells, for the overlay
    positions: Tensor  # (2, 1, H/4 + 2, W/4 + 2): x and y of the cells and a border of one cell
    reach: Tensor  # (2, 1, 1, 1): the largest flow, on the scale of `positions`


@dataclass(frozen=True, slots=True)
class CpuDecoderState:
    """`DecoderState` in the layouts that `CpuDecoder` reads."""

    reference: PreparedReference
    change: Tensor  # (h w, C): the last latent frame minus the still one, not scaled


class CpuDecoder:
    """`Autoencoder.decode` for one stream at a time in float32 on a CPU; copies the weights.

    A stream begins with the autoencoder's own state; `decode` returns a `CpuDecoderState`.
    """

    @torch.inference_mode()
    def __init__(self, autoencoder: Autoencoder) -> None:
        decoder = autoencoder.decoder
        self._std, self._mean = autoencoder.latent_std, autoencoder.latent_mean
        self._max_flow_px = decoder.max_flow_px
        self._latent_in = _Convolution(decoder.latent_in)
        self._backbone = [_Block(block) for block in decoder.trunk]
        self._split = _Linear(*_per_cell(decoder.split))
        self._settle = _Block(decoder.settle)
        self._reconstruct, self._change_to_head = _maps_of_change(decoder)
        up = rearrange(decoder.up.weight, "(d a b) k 1 1 -> k (a b d)", **SIDES)
        self._up = up.contiguous()
        self._edge = _Convolution(decoder.edge)
        self._edge.weight[:, :, 1, 1] += torch.eye(decoder.edge.in_channels)  # x + edge(x)
        self._flow = rearrange(decoder.flow.weight.flip(2, 3), "c d p q -> (c p q) d") * FLOW_GAIN
        self._flow_bias = _bias(decoder.flow)[:, None, None] * FLOW_GAIN
        self._interpolation = _interpolation_kernels()
        self._overlay_in = _Linear(*_per_cell(decoder.paint[0]))
        weight, bias = _per_cell(decoder.paint[2])
        self._shares = _Linear(weight[: 2 * PIXELS], bias[: 2 * PIXELS])
        self._colour = _Linear(weight[2 * PIXELS :], bias[2 * PIXELS :])

    @torch.inference_mode()
    def decode(
        self, latent: Tensor, state: DecoderState | CpuDecoderState
    ) -> tuple[Tensor, CpuDecoderState]:
        """As `Autoencoder.decode`. Raises Unsupported for several streams at once."""
        if len(latent) != 1:
            raise Unsupported(
                f"The engine torch decodes one stream at a time on a CPU, but was given "
                f"{len(latent)}. Use torch-eager."
            )
        if isinstance(state, DecoderState):
            state = self._prepared(state)
        reference = state.reference
        change = self._change(latent, reference.still)
        x = self._head_features(change, state.change, reference)
        opacity, covered = self._overlay(x, change, reference)
        shown = self._warped(x, reference).lerp_(covered, opacity).clamp_(-1.0, 1.0)
        return _to_frames(shown, *x.shape[1:3]), CpuDecoderState(reference, change)

    def _prepared(self, state: DecoderState) -> CpuDecoderState:
        picture, still, quarter, eighth = state.reference
        still = rearrange(self._mean[:, None, None] - still, "1 c h w -> (h w) c").contiguous()
        cells = "1 c (h a p) (w b q) -> h a w (b c p q)"
        positions, per_px = _positions(*picture.shape[2:])
        reference = PreparedReference(
            still=still,
            eighth=eighth.contiguous(memory_format=torch.channels_last),
            quarter=rearrange(quarter, "1 d (h a) (w b) -> h a w (b d)", **SIDES).contiguous(),
            picture=picture.contiguous(),
            cells=rearrange(picture, cells, p=PATCH, q=PATCH, **SIDES).contiguous(),
            positions=positions,
            reach=per_px * self._max_flow_px,
        )
        return CpuDecoderState(reference, self._change(state.previous, still))

    def _change(self, latent: Tensor, still: Tensor) -> Tensor:
        """A scaled latent frame (1, C, h, w) minus the still one, not scaled, (h w, C)."""
        return torch.addcmul(still, latent[0].flatten(1).t().contiguous(), self._std)

    def _head_features(
        self, change: Tensor, previous: Tensor, reference: PreparedReference
    ) -> Tensor:
        """The compositing head's features of every cell, (F, y, x, d)."""
        rows, columns = reference.eighth.shape[2:]
        changes = torch.cat([previous, change], dim=1).view(1, rows, columns, -1)
        x = self._latent_in(changes.permute(0, 3, 1, 2)).add_(reference.eighth)
        for block in self._backbone:
            x = block(x)
        x = self._split(x.relu_().permute(0, 2, 3, 1))
        x = rearrange(x, "1 h w (f d) -> f h w d", f=FRAMES_PER_LATENT).contiguous()
        x = self._settle(x.permute(0, 3, 1, 2)).relu_().permute(0, 2, 3, 1)
        weight, bias = self._change_to_head
        cells = torch.baddbmm(bias, change.expand(FRAMES_PER_LATENT, -1, -1), weight)
        cells.flatten(0, 1).addmm_(x.flatten(0, 2), self._up)
        spread = "f (h w) (a b d) -> f h a w (b d)"
        x = _sum(reference.quarter, rearrange(cells, spread, h=rows, **SIDES)).relu_()
        x = x.view(FRAMES_PER_LATENT, rows * CELLS, columns * CELLS, -1)
        return self._edge(x.permute(0, 3, 1, 2)).relu_().permute(0, 2, 3, 1)

    def _overlay(
        self, x: Tensor, change: Tensor, reference: PreparedReference
    ) -> tuple[Tensor, Tensor]:
        """The overlay's opacity (F y x, p q) and its pixels (3, F y x, p q)."""
        spread = "(h w) (f a b c) -> f h a w (b c)"
        reconstruction = rearrange(
            self._reconstruct(change),
            spread,
            h=reference.cells.shape[0],
            f=FRAMES_PER_LATENT,
            **SIDES,
        )
        inner = self._overlay_in(x.flatten(0, 2)).relu_()
        opacity, share = self._shares(inner).sigmoid_().view(-1, 2, PIXELS).unbind(1)
        beneath = _sum(reference.cells, reconstruction).view(-1, 3, PIXELS)
        covered = self._colour(inner).view(-1, 3, PIXELS).addcmul_(beneath, share.unsqueeze(1))
        return opacity, covered.transpose(0, 1)

    def _warped(self, x: Tensor, reference: PreparedReference) -> Tensor:
        """The reference image warped by the flow, (3, F y x, p q)."""
        frames, rows, columns, _ = x.shape
        taps = torch.matmul(self._flow, x.flatten(1, 2).transpose(1, 2))
        flow = F.fold(taps, (rows, columns), 3, padding=1).add_(self._flow_bias).tanh_()
        flow = F.pad(flow, (1, 1, 1, 1), mode="replicate").transpose(0, 1)
        coarse = torch.addcmul(reference.positions, flow, reference.reach)
        coarse = _channels_last(coarse.flatten(0, 1).unsqueeze(1))
        fine = F.conv2d(coarse, self._interpolation).permute(0, 2, 3, 1)
        fine = fine.reshape(2, frames * rows, columns * PIXELS).permute(1, 2, 0)[None]
        warped = F.grid_sample(
            reference.picture, fine, mode="bilinear", padding_mode="border", align_corners=True
        )
        return warped.view(3, -1, PIXELS)


class _Linear:
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


def _maps_of_change(decoder: CompositingDecoder) -> tuple[_Linear, tuple[Tensor, Tensor]]:
    """The two linear maps of a latent's change (C) to its cells.

    The first gives the pixels of the linear reconstruction, (f a b 3 p q). The second gives the
    head's features of these pixels, with the bias of `up` added: a weight (F, C, a b d) and a bias
    (F, 1, a b d).
    """
    cells = rearrange(decoder.linear.weight, "k (c f) (a p) (b q) -> f a b (c p q) k", c=3, **SIDES)
    colours = rearrange(_bias(decoder.linear), "(c f) -> f 1 1 c", c=3).repeat_interleave(PIXELS, 3)
    to_head, to_head_bias = _per_cell(decoder.sketch_in)
    up_bias = rearrange(_bias(decoder.up), "(d a b) -> a b d", **SIDES)
    head = rearrange(to_head @ cells, "f a b d k -> f k (a b d)").contiguous()
    head_bias = colours @ to_head.t() + to_head_bias + up_bias
    pixels_bias = colours.expand(-1, CELLS, CELLS, -1)
    reconstruct = _Linear(cells.flatten(0, 3), pixels_bias.flatten())
    return reconstruct, (head, head_bias.flatten(1).unsqueeze(1))


def _interpolation_kernels() -> Tensor:
    """Kernels that interpolate a cell's pixels bilinearly from 3 x 3 cells: (p q, 1, 3, 3)."""
    offsets = (torch.arange(PATCH) + 0.5) / PATCH - 0.5  # in cells
    weights = torch.stack([(-offsets).relu(), 1 - offsets.abs(), offsets.relu()], dim=1)
    kernels = torch.einsum("py,qx->pqyx", weights, weights).view(PIXELS, 1, 3, 3)
    return kernels.contiguous(memory_format=torch.channels_last)


def _positions(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Centres of the cells and of a border of one cell, as `F.grid_sample` counts them.

    The image spans -1 to 1: x and y (2, 1, H/4 + 2, W/4 + 2), and the size of a pixel on that scale
    (2, 1, 1, 1).
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
    """A constant plus frames (F, ...), contiguous."""
    return torch.add(constant, frames, out=frames.new_empty(frames.shape))


def _to_frames(cells: Tensor, rows: int, columns: int) -> Tensor:
    """Cells (3, F y x, p q) as frames (1, 3, F, H, W)."""
    frames = cells.new_empty(1, 3, FRAMES_PER_LATENT, rows * PATCH, columns * PATCH)
    runs = cells.view(torch.complex128)  # four pixels of a row, copied as one number
    runs = runs.view(3 * FRAMES_PER_LATENT * rows, columns, PATCH).transpose(1, 2)
    frames.view(torch.complex128).view(runs.shape).copy_(runs)
    return frames


def _channels_last(x: Tensor) -> Tensor:
    """(N, 1, H, W) with channels-last strides, which torch does not infer for one channel."""
    return x.squeeze(1).unsqueeze(3).permute(0, 3, 1, 2)


def _per_cell(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (O, I) and bias of a 1 x 1 convolution."""
    return convolution.get_parameter("weight").flatten(1), _bias(convolution)


def _bias(module: nn.Module) -> Tensor:
    return module.get_parameter("bias")
