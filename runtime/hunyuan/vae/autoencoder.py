"""The released video autoencoder: pictures to latents and back, 4x in time, 8x in space.

Latent frame 0 encodes video frame 0, latent frame n >= 1 frames 4n-3 .. 4n. A long or large video
is cut into the release's tiles, and decoding streams them.

Axes: B batch, C latent channels, T latent frames, F video frames, H W px, h w latents.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from runtime.errors import BadInput
from runtime.hunyuan.vae.checkpoint import (
    SPATIAL_STRIDE,
    VaeConfig,
    check_tensors,
    read_tensors,
)
from runtime.hunyuan.vae.layers import VaeLayers, build_layers
from runtime.hunyuan.vae.tiling import Tiles, TileState, flush_tiles, push_tiles, run_tiled
from runtime.timing import FRAMES_PER_LATENT
from runtime.values import Pixels

RELEASED_DTYPE = torch.float16  # `vae-precision` of the official command line
LOGVAR_RANGE = (-30.0, 20.0)  # of the official posterior
PICTURE_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Moments:
    """A normal distribution of unscaled latents: mean and log variance, (1, C, T, h, w)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """Latents (1, C, T, h, w); the noise is drawn on the generator's own device."""
        noise = torch.randn(
            self.mean.shape, generator=generator, device=generator.device, dtype=self.mean.dtype
        )
        return self.mean + (0.5 * self.logvar).exp() * noise.to(self.mean.device)


@dataclass(frozen=True, slots=True)
class ReleasedVae:
    """Weights, and the tiles that a video is cut into; no state between calls."""

    module: VaeLayers
    scaling_factor: float
    encoding: Tiles
    decoding: Tiles

    @property
    def device(self) -> torch.device:
        return self.module.quant_conv.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.module.quant_conv.weight.dtype

    def encode(self, video: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents (1, C, T, H/8, W/8) of a video (1, 3, 4(T-1)+1, H, W) in [-1, 1], scaled.

        With a generator they are sampled, as the release does for its reference image (without a
        seed); without one they are the distribution's mean.
        """
        moments = self.moments(video)
        latents = moments.mean if generator is None else moments.sample(generator)
        return latents * self.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """The video (1, 3, 4(T-1)+1, 8h, 8w) in [-1, 1] of scaled latents (1, C, T, h, w)."""
        return self.decode_raw(self._unscale(latents)).clamp(-1.0, 1.0)

    def decode_stream(self, latents: Iterable[Tensor]) -> Iterator[Pixels]:
        """Video frames (H, W, 3) uint8, each as soon as no later latent can change it.

        `latents` are scaled pieces (1, C, n, h, w) of one clip in order, n >= 1; the cuts change no
        pixel. With the release's tiles, a clip of up to 16 latent frames is decoded at its end; a
        longer one gives 49 frames after 17 latent frames, then 48 after every 12 more.
        """
        state = TileState()
        for piece in latents:
            raw = self._unscale(piece)
            state, final = push_tiles(self.module.decode, self.decoding, state, raw)
            yield from _frames_of(final)
        yield from _frames_of(flush_tiles(self.module.decode, self.decoding, state))

    def moments(self, video: Tensor) -> Moments:
        """The distribution of a video's latents; shapes as in `encode`. Raises BadInput."""
        _check_video(video)
        moments = run_tiled(self.module.encode, video.to(self.device, self.dtype), self.encoding)
        mean, logvar = moments.chunk(2, dim=1)
        return Moments(mean, logvar.clamp(*LOGVAR_RANGE))

    def decode_raw(self, latents: Tensor) -> Tensor:
        """The unclamped video of unscaled latents; shapes as in `decode`."""
        _check_latents(latents, self.module.post_quant_conv.in_channels)
        return run_tiled(self.module.decode, latents.to(self.device, self.dtype), self.decoding)

    def _unscale(self, latents: Tensor) -> Tensor:
        _check_latents(latents, self.module.post_quant_conv.in_channels)
        return latents.to(self.device, self.dtype) / self.scaling_factor


def load_vae(
    folder: Path, device: str | torch.device, dtype: torch.dtype = RELEASED_DTYPE
) -> ReleasedVae:
    """The autoencoder in the release's folder `vae`.

    Raises CheckpointError if files are missing, damaged or do not fit each other, and Unsupported
    without diffusers.
    """
    config = VaeConfig.read(folder)
    mapped = read_tensors(folder)
    tensors = {name: t.to(device, dtype, copy=True) for name, t in mapped.items()}
    module = build_layers(config)
    check_tensors(tensors, module.state_dict(), folder)
    module.load_state_dict(tensors, assign=True)
    return ReleasedVae(
        module.eval().requires_grad_(False),
        config.scaling_factor,
        config.encoding,
        config.decoding,
    )


def to_frames(video: Tensor) -> Pixels:
    """Frames (F, H, W, 3) uint8 of a video (1, 3, F, H, W); values outside [-1, 1] are clamped.

    Rounded as in the release: x / 2 + 0.5 in the video's own precision, then 255 times that in
    float32 with the fraction cut off.
    """
    shares = (video / 2 + 0.5).clamp(0.0, 1.0)
    levels = (shares.float() * 255.0).to(torch.uint8)
    pixels: Pixels = rearrange(levels, "1 c f h w -> f h w c").contiguous().cpu().numpy()
    return pixels


def _frames_of(videos: list[Tensor]) -> Iterator[Pixels]:
    for video in videos:
        yield from to_frames(video)


def _check_video(video: Tensor) -> None:
    batch, channels, frames, height, width = _five_axes(video)
    if (batch, channels) != (1, PICTURE_CHANNELS):
        raise BadInput(
            f"The video is {tuple(video.shape)} instead of (1, 3, frames, height, width). Encode "
            "one RGB video at a time."
        )
    if (frames - 1) % FRAMES_PER_LATENT or height % SPATIAL_STRIDE or width % SPATIAL_STRIDE:
        raise BadInput(
            f"The video has {frames} frames of {width}x{height} px; it needs 4n + 1 frames and "
            f"sides that are multiples of {SPATIAL_STRIDE} px. Resize it, or repeat its last frame."
        )


def _check_latents(latents: Tensor, channels: int) -> None:
    batch, found, frames, _, _ = _five_axes(latents)
    if (batch, found) != (1, channels) or frames == 0:
        raise BadInput(
            f"The latents are {tuple(latents.shape)} instead of (1, {channels}, T, h, w) with "
            "T >= 1. Decode one clip at a time."
        )


def _five_axes(tensor: Tensor) -> torch.Size:
    if tensor.ndim != 5:
        raise BadInput(
            f"{tuple(tensor.shape)} has {tensor.ndim} axes instead of 5: (1, channels, time, "
            "height, width). Add the missing ones."
        )
    return tensor.shape
