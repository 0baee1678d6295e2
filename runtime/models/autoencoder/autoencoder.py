"""The built-in model's video autoencoder: causal, 4x in time, 8x in space, anchored to a picture.

Latent frame 0 stands for video frame 0 and latent frame n >= 1 for frames 4n-3 .. 4n, the rule of
HunyuanVideo's autoencoder (arXiv 2412.03603, section 4.1). An encoder group never sees another
group, and the decoder sees one latent frame of the past: so encoding and decoding are exact
however a video is cut.

What is ours: the decoder is *anchored* (picture_decoder.py). It knows the character's picture, so
latents need to say what changes rather than what everything looks like. Encoder and decoder both
contain a linear map, the principal components of what changes in drawn people, and convolutions
that refine it.

Axes: B batch, C latent channels, T latent frames, F video frames, H W pixels, h w latents.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from runtime.models.autoencoder.picture_decoder import (
    PATCH,
    SPATIAL_STRIDE,
    Anchor,
    Decoder,
    ResidualBlock,
)
from runtime.timing import FRAMES_PER_LATENT


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Sizes of the autoencoder; widths are channels at 1/4 and 1/8 of the resolution."""

    latent_channels: int = 48
    widths: tuple[int, int] = (48, 64)
    decoder_widths: tuple[int, int] = (32, 64)
    max_flow_px: float = 16.0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AutoencoderConfig:
        pairs = {k: tuple(values[k]) for k in ("widths", "decoder_widths")}
        return cls(**(values | pairs))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class DecoderState(NamedTuple):
    """All that a decoder remembers: the anchor and the latent frame before, (B, C, h, w)."""

    anchor: Anchor
    previous: Tensor


class Encoder(nn.Module):
    """Four pictures to one latent frame."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        fine, middle = config.widths
        channels = 3 * FRAMES_PER_LATENT
        self.linear = nn.Conv2d(channels, config.latent_channels, SPATIAL_STRIDE, SPATIAL_STRIDE)
        self.patch_in = nn.Conv2d(channels * PATCH**2, fine, 1)
        self.fine = ResidualBlock(fine)
        self.down1 = nn.Conv2d(fine, middle, 4, stride=2, padding=1)
        self.middle = nn.Sequential(ResidualBlock(middle), ResidualBlock(middle))
        self.out = nn.Conv2d(middle, config.latent_channels, 3, padding=1)

    def forward(self, groups: Tensor) -> Tensor:
        """(B, 3, 4, H, W) in [-1, 1] -> (B, C, H/8, W/8), not scaled."""
        pictures = rearrange(groups, "b c f h w -> b (c f) h w")
        x = self.fine(self.patch_in(F.pixel_unshuffle(pictures, PATCH)))
        x = self.middle(self.down1(x))
        refined: Tensor = self.linear(pictures) + self.out(F.relu(x))
        return refined


def _bias(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> Tensor:
    assert module.bias is not None
    return module.bias


class Autoencoder(nn.Module):
    """Encoder, decoder and the scaling of latents that a denoiser sees.

    `latent_mean` (C,) is that of the training pictures, `latent_std` (C,) is one number: how far
    latents of moving faces are from those of the same face at rest.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config.latent_channels, config.decoder_widths, config.max_flow_px)
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_std", torch.ones(config.latent_channels))
        self._initialize()

    def _initialize(self) -> None:
        """Signals of unit size inside; the refinements start at almost nothing."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(_bias(module))
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                module.conv2.weight.data.mul_(0.2)
        heads = (self.encoder.out, self.decoder.flow, self.decoder.paint[-1])
        for head in heads:
            head.get_parameter("weight").data.mul_(0.02)
        through = slice(PATCH**2, 2 * PATCH**2)
        self.decoder.paint[-1].get_parameter("bias").data[through] = 3.0  # nearly all of it
        self.decoder.latent_in.weight.data.mul_(0.3)

    @torch.no_grad()
    def start_from(self, components: Tensor) -> None:
        """Begin as the linear code of orthonormal rows (C, 3 * 4 * 8 * 8), ordered (c f p q)."""
        kernels = components.reshape(self.encoder.linear.weight.shape)
        for linear in (self.encoder.linear, self.decoder.linear):
            linear.weight.copy_(kernels)
            _bias(linear).zero_()
            linear.requires_grad_(False)  # only the convolutions learn

    def encode(self, video: Tensor) -> Tensor:
        """Encode (B, 3, 4(T-1)+1, H, W) in [-1, 1] to scaled latents (B, C, T, H/8, W/8)."""
        assert (video.shape[2] - 1) % FRAMES_PER_LATENT == 0, f"4n+1 frames, got {video.shape[2]}"
        first = video[:, :, :1].expand(-1, -1, FRAMES_PER_LATENT, -1, -1)
        groups = torch.cat([first, video[:, :, 1:]], dim=2)
        return self.encode_groups(
            rearrange(groups, "b c (t f) h w -> b t c f h w", f=FRAMES_PER_LATENT)
        )

    def encode_groups(self, groups: Tensor) -> Tensor:
        """Encode whole groups (B, T, 3, 4, H, W) to scaled latents (B, C, T, H/8, W/8)."""
        batch = groups.shape[0]
        latents = self.encoder(rearrange(groups, "b t c f h w -> (b t) c f h w"))
        return rearrange(self.scale(latents), "(b t) c h w -> b c t h w", b=batch)

    def still(self, picture: Tensor) -> Tensor:
        """The latent frame (B, C, h, w) of an unmoving picture (B, 3, H, W) in [-1, 1]."""
        return self.scale(self._still(picture))

    def reference(self, picture: Tensor, latent_frames: int) -> Tensor:
        """The picture as a still video, (B, C, T, h, w): a latent frame stands for itself."""
        return self.still(picture)[:, :, None].expand(-1, -1, latent_frames, -1, -1)

    def anchor(self, picture: Tensor) -> Anchor:
        """The decoder's view of a picture (B, 3, H, W)."""
        anchor: Anchor = self.decoder.anchor(picture, self._still(picture))
        return anchor

    def _still(self, picture: Tensor) -> Tensor:
        group = repeat(picture, "b c h w -> b c f h w", f=FRAMES_PER_LATENT)
        still: Tensor = self.encoder(group)
        return still

    def start(self, picture: Tensor) -> DecoderState:
        """The decoder's state before the first latent frame: the picture (B, 3, H, W), unmoved."""
        anchor = self.anchor(picture)
        return DecoderState(anchor, self.scale(anchor.still))

    def decode(self, latent: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Decode the next latent frame (B, C, h, w) to four pictures (B, 3, 4, H, W) in [-1, 1].

        Of the very first latent frame of a stream only the last picture is a video frame.
        """
        pictures = self.decoder(self.unscale(latent), self.unscale(state.previous), state.anchor)
        return pictures.clamp(-1.0, 1.0), DecoderState(state.anchor, latent)

    def scale(self, latent: Tensor) -> Tensor:
        return (latent - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def unscale(self, latent: Tensor) -> Tensor:
        return latent * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
