"""The released video autoencoder: pictures to latents and back, 4x in time, 8x in space.

Latent frame 0 stands for video frame 0, latent frame n >= 1 for frames 4n-3 .. 4n. The layers are
diffusers' HunyuanVideo autoencoder; attention and tiles are the release's own, because the library
always attends causally, while the release's config.json decides, and cannot stream.

Axes: B batch, C latent channels, T latent frames, F video frames, H W px, h w latents.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import BadInput, Unsupported
from runtime.released.vae_checkpoint import (
    SPATIAL_STRIDE,
    VaeConfig,
    check_tensors,
    read_tensors,
)
from runtime.released.vae_tiling import Tiles, TileState, flush_tiles, push_tiles, run_tiled
from runtime.timing import FRAMES_PER_LATENT
from runtime.values import Pixels

if TYPE_CHECKING:
    from diffusers import AutoencoderKLHunyuanVideo
    from diffusers.models.attention_processor import Attention
    from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import HunyuanVideoMidBlock3D

RELEASED_DTYPE = torch.float16  # `vae-precision` of the official command line
LOGVAR_RANGE = (-30.0, 20.0)  # of the official posterior
PICTURE_CHANNELS = 3


class MidBlock(nn.Module):
    """The library's middle block with attention over whole frames, without its mask.

    A causal frame attends to itself and to earlier frames. Frame by frame that needs no mask, whose
    size would be the square of all tokens of a tile. The tensors' names stay the library's.
    """

    def __init__(self, block: "HunyuanVideoMidBlock3D", is_causal: bool) -> None:
        super().__init__()
        self.attentions = block.attentions
        self.resnets = block.resnets
        self.is_causal = is_causal

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> same shape."""
        x = self.resnets[0](x)
        for attention, resnet in zip(self.attentions, self.resnets[1:], strict=True):
            if attention is not None:
                x = x + self._attend(attention, x)
            x = resnet(x)
        return x

    def _attend(self, attention: "Attention", x: Tensor) -> Tensor:
        frames, height, width = x.shape[2:]
        tokens = rearrange(attention.group_norm(x), "b c t h w -> b 1 (t h w) c")
        queries = attention.to_q(tokens).chunk(frames, dim=2)
        keys, values = attention.to_k(tokens), attention.to_v(tokens)
        seen = [
            (frame + 1 if self.is_causal else frames) * height * width for frame in range(frames)
        ]
        heard = [
            functional.scaled_dot_product_attention(query, keys[:, :, :n], values[:, :, :n])
            for query, n in zip(queries, seen, strict=True)
        ]
        out = attention.to_out[0](torch.cat(heard, dim=2))
        return rearrange(out, "b 1 (t h w) c -> b c t h w", t=frames, h=height)


@dataclass(frozen=True, slots=True)
class Moments:
    """A normal distribution of latents, not scaled: mean and log variance, (1, C, T, h, w)."""

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
    """Weights, and how a video is cut into tiles; nothing is remembered between calls."""

    module: "AutoencoderKLHunyuanVideo"
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

        With a generator they are sampled, as the release does for its reference picture (from
        noise without a seed); without one they are the distribution's mean.
        """
        moments = self.moments(video)
        latents = moments.mean if generator is None else moments.sample(generator)
        return latents * self.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """The video (1, 3, 4(T-1)+1, 8h, 8w) in [-1, 1] of scaled latents (1, C, T, h, w)."""
        return self.decode_raw(self._unscale(latents)).clamp(-1.0, 1.0)

    def decode_stream(self, latents: Iterable[Tensor]) -> Iterator[Pixels]:
        """Video frames (H, W, 3) uint8, each as soon as no later latent can change it.

        `latents` are pieces (1, C, n, h, w) of one clip in order, scaled, n >= 1; their cuts change
        no pixel. In the release's tiles a clip of up to 16 latent frames comes at its end; of a
        longer one 49 frames come when 17 latent frames are there, then 48 for every 12 more.
        """
        state = TileState()
        for piece in latents:
            state, final = push_tiles(self._decode_tile, self.decoding, state, self._unscale(piece))
            yield from _frames_of(final)
        yield from _frames_of(flush_tiles(self._decode_tile, self.decoding, state))

    def moments(self, video: Tensor) -> Moments:
        """The distribution of a video's latents; shapes as in `encode`. Raises BadInput."""
        _check_video(video)
        moments = run_tiled(self._encode_tile, video.to(self.device, self.dtype), self.encoding)
        mean, logvar = moments.chunk(2, dim=1)
        return Moments(mean, logvar.clamp(*LOGVAR_RANGE))

    def decode_raw(self, latents: Tensor) -> Tensor:
        """The video, not clamped, of latents that are not scaled; shapes as in `decode`."""
        _check_latents(latents, self.module.post_quant_conv.in_channels)
        return run_tiled(self._decode_tile, latents.to(self.device, self.dtype), self.decoding)

    def _unscale(self, latents: Tensor) -> Tensor:
        _check_latents(latents, self.module.post_quant_conv.in_channels)
        return latents.to(self.device, self.dtype) / self.scaling_factor

    def _encode_tile(self, video: Tensor) -> Tensor:
        moments: Tensor = self.module.quant_conv(self.module.encoder(video))
        return moments

    def _decode_tile(self, latents: Tensor) -> Tensor:
        video: Tensor = self.module.decoder(self.module.post_quant_conv(latents))
        return video


def load_vae(
    folder: Path, device: str | torch.device, dtype: torch.dtype = RELEASED_DTYPE
) -> ReleasedVae:
    """The autoencoder in the release's folder `vae`.

    Raises CheckpointError for files that are missing, damaged or do not fit each other, and
    Unsupported without diffusers.
    """
    config = VaeConfig.read(folder)
    mapped = read_tensors(folder)
    tensors = {name: t.to(device, dtype, copy=True) for name, t in mapped.items()}
    module = build_module(config)
    check_tensors(tensors, module.state_dict(), folder)
    module.load_state_dict(tensors, assign=True)
    return ReleasedVae(
        module.eval().requires_grad_(False),
        config.scaling_factor,
        config.encoding,
        config.decoding,
    )


def build_module(config: VaeConfig) -> "AutoencoderKLHunyuanVideo":
    """The layers on the meta device: names and shapes, no memory. Unsupported without diffusers."""
    try:
        from diffusers import AutoencoderKLHunyuanVideo
    except ImportError as error:
        raise Unsupported(
            f"The released autoencoder needs diffusers ({error}). "
            "Install it: pip install 'avatar-server[hunyuan]'."
        ) from error
    with torch.device("meta"):
        module = AutoencoderKLHunyuanVideo(
            latent_channels=config.latent_channels,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            norm_num_groups=config.norm_num_groups,
            scaling_factor=config.scaling_factor,
            mid_block_add_attention=config.mid_block_add_attention,
        )
    for half in (module.encoder, module.decoder):
        half.mid_block = MidBlock(half.mid_block, config.mid_block_causal_attn)
    return module


def to_frames(video: Tensor) -> Pixels:
    """Pictures (F, H, W, 3) uint8 of a video (1, 3, F, H, W) in [-1, 1], which is clamped.

    Rounded as the release does: x / 2 + 0.5 in the video's own precision, then 255 times that in
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
            f"The video is {tuple(video.shape)}; (1, 3, frames, height, width) is expected: "
            "encode one RGB video at a time."
        )
    if (frames - 1) % FRAMES_PER_LATENT or height % SPATIAL_STRIDE or width % SPATIAL_STRIDE:
        raise BadInput(
            f"The video has {frames} frames of {width}x{height} px; 4n + 1 frames are expected, "
            f"and sides of multiples of {SPATIAL_STRIDE} px. Resize it, or repeat its last frame."
        )


def _check_latents(latents: Tensor, channels: int) -> None:
    batch, found, frames, _, _ = _five_axes(latents)
    if (batch, found) != (1, channels) or frames == 0:
        raise BadInput(
            f"The latents are {tuple(latents.shape)}; (1, {channels}, T, h, w) with T >= 1 is "
            "expected: decode one clip at a time."
        )


def _five_axes(tensor: Tensor) -> torch.Size:
    if tensor.ndim != 5:
        raise BadInput(f"{tuple(tensor.shape)} has {tensor.ndim} axes, 5 are expected.")
    return tensor.shape
