"""The built-in model's video autoencoder: causal, 4x in time, 8x in space, with a reference image.

Latent frame 0 stands for video frame 0 and latent frame n >= 1 for frames 4n-3 .. 4n, the rule of
HunyuanVideo's autoencoder (arXiv 2412.03603, section 4.1). The encoder sees one group of four
frames at a time and the decoder one latent frame of the past, so encoding and decoding give the
same result for any cut of a video.

Unlike HunyuanVideo's, the decoder has the reference image (compositing_decoder.py): latents need
only describe changes from it. Encoder and decoder both contain a linear map, the principal
components (PCA) of what changes in drawn people, and convolutions that refine it.

Axes: B batch, C latent channels, T latent frames, F video frames, H W pixels, h w latents.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from runtime.models.autoencoder.compositing_decoder import (
    PATCH,
    SPATIAL_STRIDE,
    CompositingDecoder,
    ReferenceFeatures,
    ResidualBlock,
)
from runtime.timing import FRAMES_PER_LATENT


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Sizes of the autoencoder. Widths are channels at 1/4 and 1/8 of the resolution."""

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
    """A decoder between two latent frames."""

    reference: ReferenceFeatures
    previous: Tensor  # the last latent frame, scaled, (B, C, h, w)


class FrameEncoder(nn.Module):
    """Four video frames to one latent frame."""

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
        frames = rearrange(groups, "b c f h w -> b (c f) h w")
        x = self.fine(self.patch_in(F.pixel_unshuffle(frames, PATCH)))
        x = self.middle(self.down1(x))
        refined: Tensor = self.linear(frames) + self.out(F.relu(x))
        return refined


def _bias(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> Tensor:
    assert module.bias is not None
    return module.bias


class Autoencoder(nn.Module):
    """Encoder, decoder, and the scaling of latents for the denoiser.

    `latent_mean` (C,) is the mean over the training frames. `latent_std` (C,) repeats one number:
    the typical distance between latents of a moving face and of the same face at rest.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = FrameEncoder(config)
        self.decoder = CompositingDecoder(
            config.latent_channels, config.decoder_widths, config.max_flow_px
        )
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_std", torch.ones(config.latent_channels))
        self._initialize()

    def _initialize(self) -> None:
        """Signals of unit size inside; the refinements start close to zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(_bias(module))
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                module.conv2.weight.data.mul_(0.2)
        outputs = (self.encoder.out, self.decoder.flow, self.decoder.paint[-1])
        for output in outputs:
            output.get_parameter("weight").data.mul_(0.02)
        share = slice(PATCH**2, 2 * PATCH**2)
        self.decoder.paint[-1].get_parameter("bias").data[share] = 3.0  # sigmoid: 95 %
        self.decoder.latent_in.weight.data.mul_(0.3)

    @torch.no_grad()
    def start_from(self, components: Tensor) -> None:
        """Start as the linear code of orthonormal components (C, 3 * 4 * 8 * 8), ordered (c f p q).

        The linear maps are fixed from then on.
        """
        kernels = components.reshape(self.encoder.linear.weight.shape)
        for linear in (self.encoder.linear, self.decoder.linear):
            linear.weight.copy_(kernels)
            _bias(linear).zero_()
            linear.requires_grad_(False)

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
        """The latent frame (B, C, h, w) of a still image (B, 3, H, W) in [-1, 1]."""
        return self.scale(self._still(picture))

    def reference(self, picture: Tensor, latent_frames: int) -> Tensor:
        """The image as a still video of T latent frames, (B, C, T, h, w)."""
        return self.still(picture)[:, :, None].expand(-1, -1, latent_frames, -1, -1)

    def reference_features(self, picture: Tensor) -> ReferenceFeatures:
        """The decoder's features of a reference image (B, 3, H, W)."""
        features: ReferenceFeatures = self.decoder.anchor(picture, self._still(picture))
        return features

    def _still(self, picture: Tensor) -> Tensor:
        group = repeat(picture, "b c h w -> b c f h w", f=FRAMES_PER_LATENT)
        still: Tensor = self.encoder(group)
        return still

    def start(self, picture: Tensor) -> DecoderState:
        """The decoder's state before the first latent frame: the reference image (B, 3, H, W)."""
        features = self.reference_features(picture)
        return DecoderState(features, self.scale(features.still))

    def decode(self, latent: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Decode the next latent frame (B, C, h, w) to four frames (B, 3, 4, H, W) in [-1, 1].

        Of a stream's first latent frame only the last of the four is a video frame.
        """
        frames = self.decoder(self.unscale(latent), self.unscale(state.previous), state.reference)
        return frames.clamp(-1.0, 1.0), DecoderState(state.reference, latent)

    def scale(self, latent: Tensor) -> Tensor:
        """Latents (B, C, h, w) of the encoder as the denoiser sees them."""
        return (latent - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def unscale(self, latent: Tensor) -> Tensor:
        """The inverse of `scale`."""
        return latent * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
