"""Latents to frames by compositing: the reference image, warped, under an overlay.

The decoder has three parts. The *linear reconstruction* maps a latent frame's change from the still
one to pixels, with the principal components (PCA) of what changes in drawn people. The *backbone*
reads a latent frame, the one before it and features of the reference image, and gives features for
each of the four video frames. The *compositing head* (shared by the four frames) predicts a flow
that warps the reference image, and an overlay: opacity, a share of reference image plus
reconstruction, and a free colour for what no warp can produce (teeth, tongue, eyelids). If the
opacity is zero the reference's own pixels remain: identity is kept there, and noise of the
reconstruction is not visible.

The modules keep the names that they have in the weights' file: `anchor` makes the reference
features, `linear` the reconstruction, `trunk` is the backbone, `sketch_in` feeds the reconstruction
to the head, and `paint` is the head's overlay.

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
FLOW_GAIN = 0.05  # one step of the optimiser then moves pixels by hundredths, not by whole pixels
OVERLAY = 5  # numbers per pixel: opacity, share of reference plus reconstruction, free colour
REFERENCE_WIDTHS = (48, 64)  # channels of the reference's own features, made once per character


class ReferenceFeatures(NamedTuple):
    """The reference image for the decoder: its pixels, its latent frame, features at two scales.

    Exported decoders have inputs of these names.
    """

    picture: Tensor  # (B, 3, H, W): the reference image
    still: Tensor  # (B, C, h, w), not scaled: the decoder sees changes from this latent frame
    quarter: Tensor  # features at 1/4 of the resolution
    eighth: Tensor  # features at 1/8 of the resolution


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = x + self.conv2(F.relu(self.conv1(F.relu(x))))
        return refined


class ReferenceEncoder(nn.Module):
    """The reference image to features at 1/4 and 1/8 of its resolution; runs once per character."""

    def __init__(self, head: int, backbone: int) -> None:
        super().__init__()
        fine, middle = REFERENCE_WIDTHS
        self.patch_in = nn.Conv2d(3 * PATCH**2, fine, 3, padding=1)
        self.fine = ResidualBlock(fine)
        self.down = nn.Conv2d(fine, middle, 4, stride=2, padding=1)
        self.middle = nn.Sequential(ResidualBlock(middle), ResidualBlock(middle))
        self.to_trunk = nn.Conv2d(middle, backbone, 1)
        self.up = nn.Conv2d(middle, 4 * fine, 1)
        self.to_brush = nn.Conv2d(fine, head, 3, padding=1)

    def forward(self, picture: Tensor, still: Tensor) -> ReferenceFeatures:
        quarter = self.fine(self.patch_in(F.pixel_unshuffle(picture, PATCH)))
        eighth = F.relu(self.middle(self.down(F.relu(quarter))))
        quarter = F.relu(quarter + F.pixel_shuffle(self.up(eighth), 2))
        return ReferenceFeatures(picture, still, self.to_brush(quarter), self.to_trunk(eighth))


class CompositingDecoder(nn.Module):
    """A latent frame, the one before it and the reference features to four video frames."""

    def __init__(self, channels: int, widths: tuple[int, int], max_flow_px: float) -> None:
        """`widths`: channels of the compositing head and of the backbone."""
        super().__init__()
        head, backbone = widths
        self.max_flow_px = max_flow_px
        self.anchor = ReferenceEncoder(head, backbone)
        self.linear = nn.ConvTranspose2d(
            channels, 3 * FRAMES_PER_LATENT, SPATIAL_STRIDE, SPATIAL_STRIDE
        )
        self.latent_in = nn.Conv2d(2 * channels, backbone, 3, padding=1)
        self.trunk = nn.Sequential(*[ResidualBlock(backbone) for _ in range(3)])
        self.split = nn.Conv2d(backbone, FRAMES_PER_LATENT * head, 1)
        self.settle = ResidualBlock(head)
        self.up = nn.Conv2d(head, 4 * head, 1)
        self.sketch_in = nn.Conv2d(3 * PATCH**2, head, 1)
        self.edge = nn.Conv2d(head, head, 3, padding=1)
        self.flow = nn.Conv2d(head, 2, 3, padding=1)
        self.paint = nn.Sequential(
            nn.Conv2d(head, 64, 1), nn.ReLU(), nn.Conv2d(64, OVERLAY * PATCH**2, 1)
        )

    def forward(self, latent: Tensor, previous: Tensor, reference: ReferenceFeatures) -> Tensor:
        """Latents (B, C, h, w) -> frames (B, 3, 4, H, W), about [-1, 1]."""
        changes = torch.cat([previous - reference.still, latent - reference.still], dim=1)
        x = self.trunk(self.latent_in(changes) + reference.eighth)
        x = rearrange(self.split(F.relu(x)), "b (f c) h w -> (b f) c h w", f=FRAMES_PER_LATENT)
        x = F.pixel_shuffle(self.up(F.relu(self.settle(x))), 2)
        reconstruction = self._reconstruct(latent - reference.still)
        x = x + self.sketch_in(F.pixel_unshuffle(reconstruction, PATCH))
        x = F.relu(_to_each_frame(x, reference.quarter))
        x = F.relu(x + self.edge(x))
        flow_px = self.max_flow_px * torch.tanh(self.flow(x) * FLOW_GAIN)
        overlay = self._overlay(x)
        opacity, share = torch.split(torch.sigmoid(overlay[:, :2]), 1, dim=1)
        warped = self._warp(reference.picture, flow_px)
        beneath = _to_each_frame(reconstruction, reference.picture)
        covered = torch.addcmul(overlay[:, 2:], share, beneath)
        frames = torch.addcmul(warped, opacity, covered - warped)
        return rearrange(frames, "(b f) c h w -> b c f h w", f=FRAMES_PER_LATENT)

    def _reconstruct(self, change: Tensor) -> Tensor:
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

    def _overlay(self, x: Tensor) -> Tensor:
        """`paint` of (N, D, H/4, W/4) as matrix products: (N, 5, H, W)."""
        first, _, last = self.paint
        inner = F.relu(_per_cell(first, x.flatten(2).transpose(1, 2)))
        cells = _per_cell(last, inner)
        pattern = "n (h w) (c p q) -> n c (h p) (w q)"
        return rearrange(cells, pattern, h=x.shape[2], p=PATCH, q=PATCH)

    @staticmethod
    def _warp(image: Tensor, flow_px: Tensor) -> Tensor:
        """Samples images (B, 3, H, W) along flows (B * 4, 2, H/4, W/4): (B * 4, 3, H, W)."""
        height, width = image.shape[-2:]
        flow = F.interpolate(flow_px, size=(height, width), mode="bilinear", align_corners=False)
        flow = rearrange(flow, "n c h w -> n h w c")
        ys = torch.linspace(-1.0, 1.0, height, device=image.device, dtype=image.dtype)
        xs = torch.linspace(-1.0, 1.0, width, device=image.device, dtype=image.dtype)
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)
        sides = (width, height)
        scale = torch.stack([flow.new_full((), 2.0 / (side - 1)) for side in sides])
        source = image.unsqueeze(1).expand(-1, FRAMES_PER_LATENT, -1, -1, -1).flatten(0, 1)
        positions = torch.addcmul(grid, flow, scale)
        return F.grid_sample(
            source, positions, mode="bilinear", padding_mode="border", align_corners=True
        )


def _per_cell(convolution: nn.Module, cells: Tensor) -> Tensor:
    """A 1 x 1 convolution of cells (N, P, D)."""
    weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
    return F.linear(cells, weight.flatten(1), bias)


def _to_each_frame(frames: Tensor, constant: Tensor) -> Tensor:
    """Frames (B * 4, C, H, W) plus (B, C, H, W), the same for each group of four."""
    added = torch.unflatten(frames, 0, (-1, FRAMES_PER_LATENT)) + constant.unsqueeze(1)
    return added.flatten(0, 1)
