"""Latents to pictures by compositing: the character's picture, moved, with paint over it.

Three parts. The *sketch* is linear: the principal components of what changes in drawn people. The
*trunk* reads a latent frame, the one before it and the picture, and says for each of the four video
frames what state every place is in. The *brush*, one and the same for all four, moves the picture
by a flow and covers what a moved picture cannot show: with a corrected sketch, or with a colour of
its own where nothing of the picture is to shine through (teeth, a tongue, an eyelid). Where it
covers nothing the character's own pixels are left: identity is kept there, and grain of a sketch is
not seen.

Axes: B batch, C latent channels, F video frames, H W pixels, h w latents (8 pixels).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from runtime.timing import FRAMES_PER_LATENT

SPATIAL_STRIDE = 8  # pixels per side of a latent
PATCH = 4  # pixels per side of the finest feature cell
FLOW_GAIN = 0.05  # a step of the optimiser then moves pixels by hundredths, not by whole ones
PAINT = 5  # numbers a pixel: how opaque, how much of picture and sketch shines through, a colour
PICTURE_WIDTHS = (48, 64)  # of the picture's own features: they are made once per character


class Anchor(NamedTuple):
    """A picture as the decoder sees it: pixels, its own latent frame, features at three scales."""

    picture: Tensor  # (B, 3, H, W)
    still: Tensor  # (B, C, h, w), not scaled: latents count relative to it
    quarter: Tensor  # features at 1/4 of the resolution
    eighth: Tensor


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = x + self.conv2(F.relu(self.conv1(F.relu(x))))
        return refined


class AnchorEncoder(nn.Module):
    """The character's picture to features at 1/4 and 1/8; runs once per character."""

    def __init__(self, brush: int, trunk: int) -> None:
        super().__init__()
        fine, middle = PICTURE_WIDTHS
        self.patch_in = nn.Conv2d(3 * PATCH**2, fine, 3, padding=1)
        self.fine = ResidualBlock(fine)
        self.down = nn.Conv2d(fine, middle, 4, stride=2, padding=1)
        self.middle = nn.Sequential(ResidualBlock(middle), ResidualBlock(middle))
        self.to_trunk = nn.Conv2d(middle, trunk, 1)
        self.up = nn.Conv2d(middle, 4 * fine, 1)
        self.to_brush = nn.Conv2d(fine, brush, 3, padding=1)

    def forward(self, picture: Tensor, still: Tensor) -> Anchor:
        quarter = self.fine(self.patch_in(F.pixel_unshuffle(picture, PATCH)))
        eighth = F.relu(self.middle(self.down(F.relu(quarter))))
        quarter = F.relu(quarter + F.pixel_shuffle(self.up(eighth), 2))
        return Anchor(picture, still, self.to_brush(quarter), self.to_trunk(eighth))


class Decoder(nn.Module):
    """A latent frame, the one before it and the anchor to four pictures."""

    def __init__(self, channels: int, widths: tuple[int, int], max_flow_px: float) -> None:
        super().__init__()
        brush, trunk = widths
        self.max_flow_px = max_flow_px
        self.anchor = AnchorEncoder(brush, trunk)
        self.linear = nn.ConvTranspose2d(
            channels, 3 * FRAMES_PER_LATENT, SPATIAL_STRIDE, SPATIAL_STRIDE
        )
        self.latent_in = nn.Conv2d(2 * channels, trunk, 3, padding=1)
        self.trunk = nn.Sequential(*[ResidualBlock(trunk) for _ in range(3)])
        self.split = nn.Conv2d(trunk, FRAMES_PER_LATENT * brush, 1)
        self.settle = ResidualBlock(brush)
        self.up = nn.Conv2d(brush, 4 * brush, 1)
        self.sketch_in = nn.Conv2d(3 * PATCH**2, brush, 1)
        self.edge = nn.Conv2d(brush, brush, 3, padding=1)
        self.flow = nn.Conv2d(brush, 2, 3, padding=1)
        self.paint = nn.Sequential(
            nn.Conv2d(brush, 64, 1), nn.ReLU(), nn.Conv2d(64, PAINT * PATCH**2, 1)
        )

    def forward(self, latent: Tensor, previous: Tensor, anchor: Anchor) -> Tensor:
        """Latents (B, C, h, w) -> pictures (B, 3, 4, H, W), about [-1, 1]."""
        changes = torch.cat([previous - anchor.still, latent - anchor.still], dim=1)
        x = self.trunk(self.latent_in(changes) + anchor.eighth)
        x = rearrange(self.split(F.relu(x)), "b (f c) h w -> (b f) c h w", f=FRAMES_PER_LATENT)
        x = F.pixel_shuffle(self.up(F.relu(self.settle(x))), 2)
        sketch = self._sketch(latent - anchor.still)
        x = x + self.sketch_in(F.pixel_unshuffle(sketch, PATCH))
        x = F.relu(_to_each_frame(x, anchor.quarter))
        x = F.relu(x + self.edge(x))
        flow_px = self.max_flow_px * torch.tanh(self.flow(x) * FLOW_GAIN)
        painted = self._paint(x)
        opacity, through = torch.split(torch.sigmoid(painted[:, :2]), 1, dim=1)
        moved = self._move(anchor.picture, flow_px)
        covered = torch.addcmul(painted[:, 2:], through, _to_each_frame(sketch, anchor.picture))
        pictures = torch.addcmul(moved, opacity, covered - moved)
        return rearrange(pictures, "(b f) c h w -> b c f h w", f=FRAMES_PER_LATENT)

    def _sketch(self, change: Tensor) -> Tensor:
        """`linear` of (B, C, h, w) as one matrix product, faster on a CPU: (B * 4, 3, H, W)."""
        weight, bias = self.linear.weight.flatten(1), self.linear.bias
        assert bias is not None
        cells = F.linear(
            change.flatten(2).transpose(1, 2), weight.t(), bias.repeat_interleave(SPATIAL_STRIDE**2)
        )
        return rearrange(
            cells,
            "b (h w) (c f p q) -> (b f) c (h p) (w q)",
            h=change.shape[2],
            f=FRAMES_PER_LATENT,
            p=SPATIAL_STRIDE,
            q=SPATIAL_STRIDE,
        )

    def _paint(self, x: Tensor) -> Tensor:
        """`paint` of (N, D, H/4, W/4), spread over its pixels, as matrix products: (N, 5, H, W)."""
        first, _, last = self.paint
        inner = F.relu(_per_place(first, x.flatten(2).transpose(1, 2)))
        cells = _per_place(last, inner)
        pattern = "n (h w) (c p q) -> n c (h p) (w q)"
        return rearrange(cells, pattern, h=x.shape[2], p=PATCH, q=PATCH)

    @staticmethod
    def _move(picture: Tensor, flow_px: Tensor) -> Tensor:
        """Sample pictures (B, 3, H, W) along flows (B * 4, 2, H/4, W/4)."""
        height, width = picture.shape[-2:]
        flow = F.interpolate(flow_px, size=(height, width), mode="bilinear", align_corners=False)
        flow = rearrange(flow, "n c h w -> n h w c")
        ys = torch.linspace(-1.0, 1.0, height, device=picture.device, dtype=picture.dtype)
        xs = torch.linspace(-1.0, 1.0, width, device=picture.device, dtype=picture.dtype)
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)
        sides = (width, height)
        scale = torch.stack([flow.new_full((), 2.0 / (side - 1)) for side in sides])
        still = picture.unsqueeze(1).expand(-1, FRAMES_PER_LATENT, -1, -1, -1).flatten(0, 1)
        places = torch.addcmul(grid, flow, scale)
        return F.grid_sample(
            still, places, mode="bilinear", padding_mode="border", align_corners=True
        )


def _per_place(convolution: nn.Module, places: Tensor) -> Tensor:
    """A 1 x 1 convolution of places (N, P, D)."""
    weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
    return F.linear(places, weight.flatten(1), bias)


def _to_each_frame(frames: Tensor, constant: Tensor) -> Tensor:
    """Frames (B * 4, C, H, W) plus what is the same in all four of them, (B, C, H, W)."""
    added = torch.unflatten(frames, 0, (-1, FRAMES_PER_LATENT)) + constant.unsqueeze(1)
    return added.flatten(0, 1)
